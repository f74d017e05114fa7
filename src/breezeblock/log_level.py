"""How much this process logs: set at its start, and by administrators while it runs (set-log).

All log lines of ours go through one logger, `breezeblock`; those of libraries are left as they are,
some of them would log what passes through them in full.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog

LOGGER = "breezeblock"
LEVELS = ("critical", "error", "warning", "info", "debug")
_logger = logging.getLogger(LOGGER)
_NUMBERS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}


def change(level: str) -> None:
    """Log what is at least this grave from now on; `level` is one of LEVELS, in any case."""
    _logger.setLevel(logging.getLevelNamesMapping()[level.upper()])


def current() -> str:
    """The level in force, in lower case."""
    return logging.getLevelName(_logger.getEffectiveLevel()).lower()


_Filtering: Any = structlog.make_filtering_bound_logger(logging.DEBUG)


class GraveEnough(_Filtering):  # type: ignore[misc]  # it is made by a function
    """structlog's logger, of which what is below the level in force goes no further, and costs
    next to nothing: there are such lines in every request."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, **told: Any) -> Any:
        if _logger.isEnabledFor(_NUMBERS.get(method_name, logging.ERROR)):
            return super()._proxy_to_logger(method_name, event, **told)
        return None
