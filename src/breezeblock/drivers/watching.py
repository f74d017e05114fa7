"""What is seen of each call of a driver: its time, what came of it, a span.

Verbs are the names of the driver's methods. What is passed to them and what they answer may hold
secrets, and is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

from breezeblock.drivers.base import DriverError, PermanentError, StillWorking, TemporaryError
from breezeblock.telemetry import metrics, tracing

T = TypeVar("T")

_OUTCOMES: tuple[tuple[type[DriverError], str], ...] = (
    (StillWorking, "still-working"),
    (TemporaryError, "temporary-error"),
    (PermanentError, "permanent-error"),
    (DriverError, "permanent-error"),
)


def watched(backend: str, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call the method, on the thread that we are on. Raises what it raises."""
    verb = getattr(method, "__name__", "call")
    outcome, began = "done", perf_counter()
    about = {"breezeblock.backend": backend, "breezeblock.verb": verb}
    try:
        with tracing.call(f"driver {verb}", about):
            return method(*args, **kwargs)
    except BaseException as error:
        outcome = next((name for kind, name in _OUTCOMES if isinstance(error, kind)), "bug")
        raise
    finally:
        series = metrics.driver_call_seconds.labels(backend, verb, outcome)
        series.observe(perf_counter() - began)
