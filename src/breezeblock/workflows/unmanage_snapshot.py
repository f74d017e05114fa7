"""Unmanage a snapshot: forget it, and leave its bytes with the backend.

api        submit    checks as for a deletion, `unmanaging`
backend    release   the driver lets go of it; then the row and its usage go together
"""

from __future__ import annotations

import msgspec

from breezeblock.model import messages as events
from breezeblock.model import snapshots as rules
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Looking, Outcome, Run, Workflow
from breezeblock.store import messages, snapshots, volumes
from breezeblock.store.store import WriteTx
from breezeblock.workflows import delete_snapshot
from breezeblock.workflows.create_snapshot import look
from breezeblock.workflows.doors import as_driver_snapshot, queue_of


class Data(msgspec.Struct, frozen=True):
    """Nothing to remember."""


def submit(tx: WriteTx, caller: Caller, snapshot: Snapshot) -> str:
    """Put the snapshot to `unmanaging` and open the operation; returns its id.

    The caller has locked the snapshot. Raises InvalidState, Conflict.
    """
    rules.check_unmanage(snapshot)
    volume = volumes.get(tx, snapshot.volume_id)
    snapshots.update(tx, snapshot.id, status="unmanaging")
    return submit_operation(tx, WORKFLOW, caller, snapshot.id, Data(), queue_of(volume.host or ""))


async def release(run: Run[Data], found: tuple[Snapshot, Volume]) -> Outcome:
    """Let the driver forget the snapshot; one that it does not know any more is fine."""
    snapshot, volume = found
    frozen = as_driver_snapshot(snapshot, volume)
    await run.doors.call(volume.backend, lambda driver: driver.release_snapshot, frozen)
    return Done(settle=lambda tx: delete_snapshot.forget(tx, snapshot))


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    snapshots.update(tx, operation.resource_id, status="error")
    messages.tell(tx, events.SNAPSHOT_UNMANAGE_FAILED, operation, failure.text)


WORKFLOW = Workflow(
    "unmanage_snapshot", "snapshot", Data, (Looking(look, release),), _settle_failure
)
