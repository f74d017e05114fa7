"""What the checks after an administrator's reset have in common: when they look, and how.

A check stands beside the work on its resource (`store/operations.py`, CHECK): no call is refused
because of it. It looks late enough that the administrator sees the status that he asked for, and
that a worker whose operation was cut short has come to the end of what it was doing.
"""

from __future__ import annotations

import msgspec
import structlog

from breezeblock.drivers.base import Driver, TemporaryError
from breezeblock.model.errors import Failure
from breezeblock.model.inventory import Item
from breezeblock.model.operation import Operation
from breezeblock.operations.submit import Caller, submit
from breezeblock.operations.workflow import Run, Workflow
from breezeblock.store import operations
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.doors import SCHEDULER, queue_of

log = structlog.get_logger()

SOON = 5.0
"""Seconds after a reset that interrupted nothing."""
AFTER_CALLS = Driver.BLOCKS_AT_MOST + 15.0
"""Seconds after which a driver call that was under way at the reset has ended, and any lease."""
PATIENCE = 600.0
"""Seconds for which a status that passes (`creating`, `attaching`, …) stays as it was asked for."""
LOOK_AGAIN = 60.0
"""Seconds until the next look when work is under way, or the backend does not answer."""
LOOKS = 60
"""How often a backend that does not answer is asked."""


class Data(msgspec.Struct, frozen=True):
    """What there is to compare is read anew each time. `cut_short`: the reset has interrupted work,
    which may have left something at the backend."""

    cut_short: bool = False


def open_check(
    tx: WriteTx,
    workflow: Workflow,
    caller: Caller,
    resource_id: str,
    host: str | None,
    *,
    patient: bool,
    cut_short: bool,
) -> None:
    """Have a resource looked at that was reset; an earlier check gives way. `patient`: it was reset
    to a status that passes, which shall be seen for a while."""
    earlier = operations.check_on(tx, resource_id)
    if earlier is not None:
        cut_short |= msgspec.convert(earlier.data, Data).cut_short
        operations.finish(tx, earlier.id, "a later check takes its place")
    delay = PATIENCE if patient else AFTER_CALLS if cut_short else SOON
    queue = queue_of(host) if host else SCHEDULER
    submit(tx, workflow, caller, resource_id, Data(cut_short), queue, delay=delay)


def caller_of(operation: Operation) -> Caller:
    """On whose behalf a check goes on."""
    return Caller(operation.project_id, operation.user_id, operation.request_id)


def is_busy(tx: ReadTx, resource_id: str) -> bool:
    """Whether work is under way on the resource or its exports: that settles the status itself."""
    return bool(operations.open_touching(tx, resource_id))


async def find_on_backend(run: Run[Data], backend: str) -> list[Item]:
    """What the backend holds under the resource's id. Raises TemporaryError, PermanentError."""
    held: list[Item] = await run.doors.call(backend, lambda driver: driver.inventory)
    return [item for item in held if item.id == run.operation.resource_id]


def may_look_again(run: Run[Data], error: TemporaryError) -> bool:
    """Whether the backend is asked once more; false when it has been asked for long enough."""
    log.warning("backend cannot be looked at", queue=run.operation.queue, error=str(error))
    return run.operation.attempts < LOOKS


def sweep_up(tx: WriteTx, backend: str | None, data: Data, *, needed: bool = False) -> None:
    """Have the rest of what interrupted work has left behind found, too: it may be on exports.

    `needed`: something was seen that should not be there, a host that nobody shut out.
    """
    if backend is not None and (data.cut_short or needed):
        sweep_backend.request(tx, backend)


def missing(kind: str) -> Failure:
    """Why a resource is in `error` after a reset."""
    return Failure(
        code="missing",
        message=f"The {kind}'s status was reset, but its backend does not hold it.",
        cause=f"The work that made or removed the {kind} was interrupted, or its data is lost.",
        remedy=f"Delete the {kind}; if its data should be there, tell the operator.",
    )
