"""Log output: one line an event, with request, operation and epoch where there are any."""

from __future__ import annotations

import logging
import sys

import structlog

from breezeblock import log_level


def set_up(level: str) -> None:
    """Send everything to standard error: readable on a terminal, JSON elsewhere."""
    log_level.change(level)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            log_level.only_grave_enough,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer()
            if sys.stderr.isatty()
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr)
