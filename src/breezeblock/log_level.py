"""How much this process logs: set at its start, and by administrators while it runs (set-log).

All log lines of ours go through one logger, `breezeblock`; those of libraries are left as they are,
some of them would log what passes through them in full.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog

LOGGER = "breezeblock"
LEVELS = ("critical", "error", "warning", "info", "debug")
_logger = logging.getLogger(LOGGER)


def change(level: str) -> None:
    """Log what is at least this grave from now on; `level` is one of LEVELS, in any case."""
    _logger.setLevel(logging.getLevelNamesMapping()[level.upper()])


def current() -> str:
    """The level in force, in lower case."""
    return logging.getLevelName(_logger.getEffectiveLevel()).lower()


def only_grave_enough(
    _to: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A step of structlog's: what is below the level in force goes no further."""
    number = logging.getLevelNamesMapping().get(method.upper(), logging.ERROR)
    if not _logger.isEnabledFor(number):
        raise structlog.DropEvent
    return event
