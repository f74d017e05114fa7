"""Put a volume back to its latest snapshot.

api        submit   checks; the volume `reverting`, the snapshot `restoring`
backend    revert   the driver gives the volume the snapshot's content

One operation, on the volume, covers both: the statuses change together when it begins and when it
ends, and whatever cuts it short (`workflows/cancel.py`) settles both.
"""

from __future__ import annotations

import msgspec

from breezeblock.drivers.base import StillWorking
from breezeblock.model import messages as events
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Outcome, Run, Workflow
from breezeblock.store import messages, operations, snapshots, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.work import snapshot_and_volume
from breezeblock.workflows.doors import as_driver_snapshot, as_driver_volume, queue_of


class Data(msgspec.Struct, frozen=True):
    """Where the volume goes back to."""

    snapshot_id: str


def submit(tx: WriteTx, caller: Caller, volume: Volume, snapshot: Snapshot) -> str:
    """Put both to their statuses and open the operation; returns its id.

    The caller has checked and locked both in this transaction. Raises InvalidState, Conflict.
    """
    volumes.transition(tx, volume.id, {volume.status}, "reverting", previous_status=volume.status)
    snapshots.update(tx, snapshot.id, status="restoring")
    data = Data(snapshot.id)
    return submit_operation(tx, WORKFLOW, caller, volume.id, data, queue_of(volume.host or ""))


async def revert(run: Run[Data]) -> Outcome:
    """Let the driver do it, as the turn of this operation: it does nothing a second time."""
    found = await run.doors.store.read(lambda tx: _to_revert(tx, run.operation, run.data))
    if found is None:
        return Done(note="was cut short")
    snapshot, volume = found
    try:
        await run.doors.call(
            volume.backend,
            lambda driver: driver.revert,
            as_driver_volume(volume),
            as_driver_snapshot(snapshot, volume),
            turn=run.operation.id,
        )
    except StillWorking as error:
        return Again(error.retry_after, data=run.data, note=str(error), progress=error.progress)
    return Done(settle=lambda tx: _settle(tx, volume.id, snapshot.id, "available"))


def _to_revert(tx: ReadTx, held: Operation, data: Data) -> tuple[Snapshot, Volume] | None:
    """Nothing when the work was cut short while its worker was frozen: somebody may be writing to
    the volume again (what the worker records is refused)."""
    return snapshot_and_volume(tx, data.snapshot_id) if operations.is_held(tx, held) else None


def _settle(tx: WriteTx, volume_id: str, snapshot_id: str, status: str) -> None:
    """The volume's status; the snapshot is as good as before in any case."""
    volumes.update(tx, volume_id, status=status)
    snapshots.update(tx, snapshot_id, status="available")


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    _settle(tx, operation.resource_id, data.snapshot_id, "error")
    messages.tell(tx, events.REVERT_FAILED, operation, failure.text)


def reverts_to(operation: Operation | None, snapshot_id: str) -> bool:
    """Whether this is the work that puts a volume back to that snapshot."""
    return (
        operation is not None
        and operation.workflow == WORKFLOW.name
        and msgspec.convert(operation.data, Data).snapshot_id == snapshot_id
    )


WORKFLOW = Workflow("revert_volume", "volume", Data, (revert,), _settle_failure)
