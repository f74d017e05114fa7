"""What an exception of a door means for the operation: try again, or why it ends."""

from __future__ import annotations

from breezeblock.drivers.base import DriverError, TemporaryError
from breezeblock.model.errors import BreezeblockError, Failure, OperationFailed


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
        return Failure(code=type(error).__name__, message=str(error))
    return None


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
        cause=str(error),
        remedy=error.remedy or "Tell the operator the request id.",
        retryable=isinstance(error, TemporaryError),
        private=True,
    )
