"""What an exception of a door means for the operation: try again, or why it ends."""

from __future__ import annotations

from breezeblock.drivers.base import DriverError, TemporaryError
from breezeblock.model.errors import (
    BreezeblockError,
    Conflict,
    Failure,
    InvalidState,
    NotFound,
    OperationFailed,
    OverQuota,
    Unavailable,
)

_MEANWHILE: tuple[tuple[type[BreezeblockError], str, str], ...] = (
    (
        NotFound,
        "It was deleted after the request was accepted.",
        "Nothing needs to be done if that was intended; otherwise make it again and repeat the "
        "request.",
    ),
    (
        InvalidState,
        "Its status has changed since the request was accepted.",
        "Look at the status, and repeat the request if it is still wanted.",
    ),
    (
        Conflict,
        "Another request was quicker.",
        "Repeat the request when the other one has been done.",
    ),
    (
        OverQuota,
        "The project uses more than when the request was accepted, or its quota was lowered.",
        "Delete what is not needed any more, or ask the operator for a higher quota.",
    ),
    (
        Unavailable,
        "A service that the work needs did not answer.",
        "Repeat the request later.",
    ),
)
"""What it means when a rule that held when the request was accepted is broken by the time of the
work: cause and remedy."""


def explain(error: Exception) -> Failure | float | None:
    """Seconds to wait before the step is repeated, a Failure that ends the operation, or None for
    an error that no door should raise (a bug: it ends the operation, too, and is logged)."""
    if isinstance(error, OperationFailed):
        return error.failure
    if isinstance(error, TemporaryError):
        return float(error.retry_after)
    if isinstance(error, DriverError):
        return of_driver(error)
    if isinstance(error, BreezeblockError):
        return _of_rule(error)
    return None


def _of_rule(error: BreezeblockError) -> Failure:
    for kind, cause, remedy in _MEANWHILE:
        if isinstance(error, kind):
            retryable = isinstance(error, Conflict | Unavailable)
            return Failure(type(error).__name__, str(error), cause, remedy, retryable)
    return Failure(
        code=type(error).__name__,
        message="The service does not allow what the work came to.",
        cause=str(error),
        remedy="Change the request, or tell the operator the request id.",
    )


def of_driver(error: Exception) -> Failure:
    """Why a backend refused, for its user."""
    if not isinstance(error, DriverError):
        return Failure(
            code="driver-bug",
            message="The backend's driver failed unexpectedly.",
            cause=f"{type(error).__name__}: {error}",
            remedy="Tell the operator the request id.",
            private=True,
        )
    return Failure(
        code="backend",
        message="The backend refused.",
        cause=str(error) or "It gave no reason.",
        remedy=error.remedy or "Tell the operator the request id.",
        retryable=isinstance(error, TemporaryError),
        private=True,
    )
