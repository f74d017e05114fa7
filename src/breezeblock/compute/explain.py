"""What an exception of a compute door means: try again, or why the operation ends.

The engine and `workflows.undoing` ask; the API turns the failure's code into an HTTP status.
"""

from __future__ import annotations

from breezeblock.compute.block_storage import BlockStorageError
from breezeblock.compute.hypervisor import HostError
from breezeblock.model.errors import Failure
from breezeblock.operations import explain as operations_explain

RETRY_SECONDS = 2.0
REFUSED = "block-storage-"
"""Beginning of the code of what block storage refused; its HTTP status follows."""


def explain(error: Exception) -> Failure | float | None:
    """Seconds until the step is repeated, a Failure, or None for what no door should raise."""
    if isinstance(error, HostError | BlockStorageError):
        return RETRY_SECONDS if error.temporary else final(error)
    return operations_explain.explain(error)


def final(error: Exception) -> Failure:
    """The failure that an error is once nothing more is tried."""
    if isinstance(error, HostError):
        return Failure(
            code="host",
            message="The compute host could not do what was asked.",
            cause=error.message,
            remedy=error.remedy
            or "Tell the operator the request id; the compute agent's log has the details.",
            retryable=error.temporary,
        )
    if isinstance(error, BlockStorageError):
        return _of_storage(error)
    verdict = operations_explain.explain(error)
    if isinstance(verdict, Failure):
        return verdict
    return Failure(
        code="internal",
        message="An unexpected error occurred.",
        cause=type(error).__name__,
        remedy="Tell the operator the request id; the service's log has the details.",
    )


def _of_storage(error: BlockStorageError) -> Failure:
    """What block storage says is for the client, word for word."""
    if error.temporary:
        cause = "Block storage did not answer, or could not serve the request now."
        remedy = "Repeat the request later, or tell the operator that block storage is away."
    else:
        cause = f"Block storage refused it with HTTP status {error.status}."
        remedy = "Put right what block storage says, and repeat the request."
    return Failure(
        code=f"{REFUSED}{error.status}",
        message=error.message,
        cause=cause,
        remedy=remedy,
        retryable=error.temporary,
    )


def refused_status(failure: Failure) -> int | None:
    """The HTTP status of a refusal: block storage's, or 409 when the server went away meanwhile;
    None when something else failed."""
    if failure.code == "gone":
        return 409
    status = failure.code.removeprefix(REFUSED)
    return int(status) if status != failure.code else None
