"""Log output: one line an event, with request, operation and epoch where there are any.

Two formats: `console` for people, and `json` for machines, one object a line whatever it holds:
tracebacks, and what libraries log or warn of, included.

Tracebacks tell where, never the values of variables: they may be passwords.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from structlog.typing import Processor

from breezeblock import log_level

Format = Literal["console", "json"]


def set_up(level: str, format_: Format = "console") -> None:
    """Send everything to standard error."""
    log_level.change(level)
    number = logging.getLevelNamesMapping()[level.upper()]
    told: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    rendered = _renderer(format_)
    structlog.configure(
        processors=[*told, rendered],
        wrapper_class=log_level.GraveEnough,
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Drivers and libraries log by the standard library: the same line of an event comes of it.
    handler = logging.StreamHandler(sys.stderr)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *told],
            processors=[remove, rendered],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler])


def take_what_is_printed() -> None:
    """Log what Python itself would print in its own format: warnings, and why a thread ended."""
    logging.captureWarnings(True)
    threading.excepthook = _log_death


def _renderer(format_: Format) -> Processor:
    if format_ == "json":
        return structlog.processors.JSONRenderer()
    if not sys.stderr.isatty():
        return _plain_line
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _plain_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """What the console shows, without colours, for a file; made at a fifth of the cost."""
    head = f"{event.pop('timestamp', '')} [{event.pop('level', '')}] {_word(event.pop('event'))}"
    below = [event.pop(name) for name in ("stack", "exception") if event.get(name)]
    pairs = [f"{name}={_word(value)}" for name, value in sorted(event.items())]
    return "\n".join((" ".join((head, *pairs)), *below))


def _word(value: Any) -> str:
    """Quoted where a reader, or a program, could take it for something else."""
    text = value if isinstance(value, str) else repr(value)
    plain = text.isprintable() and "=" not in text and '"' not in text
    return text if plain else repr(text)


def _log_death(ended: threading.ExceptHookArgs) -> None:
    """A thread has ended with an error: one line of it, too."""
    if ended.exc_type is not SystemExit:
        thread = ended.thread.name if ended.thread else ""
        structlog.get_logger().error("thread ended", thread=thread, exc_info=ended.exc_value)
