"""Log output: one line an event, with request, operation and epoch where there are any."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

from breezeblock import log_level


def set_up(level: str) -> None:
    """Send everything to standard error: readable on a terminal, JSON elsewhere."""
    log_level.change(level)
    number = logging.getLevelNamesMapping()[level.upper()]
    told: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    rendered: Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[log_level.only_grave_enough, *told, rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
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
