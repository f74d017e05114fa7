"""Delete a snapshot.

api        submit   checks, `deleting`
backend    remove   the driver removes it; then the row and its usage go together
"""

from __future__ import annotations

from typing import Any

import msgspec

from breezeblock.model import messages as events
from breezeblock.model import snapshots as rules
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.usage import of_snapshot
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Looking, Outcome, Run, Workflow
from breezeblock.store import (
    messages,
    operations,
    quotas,
    snapshots,
    volume_types,
    volumes,
)
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import adopted, create_snapshot
from breezeblock.workflows.doors import as_driver_snapshot, queue_of


class Data(msgspec.Struct, frozen=True):
    """Nothing to remember."""


def submit(tx: WriteTx, caller: Caller, snapshot: Snapshot, *, force: bool = False) -> str:
    """Put the snapshot to `deleting` and open the operation; returns its id.

    With force (an administrator's) the status does not matter; the caller has cancelled what was
    under way (`workflows/cancel.py`). Raises InvalidState, Conflict.
    """
    rules.check_delete(snapshot, force=force)
    volume = volumes.get(tx, snapshot.volume_id)
    snapshots.update(tx, snapshot.id, status="deleting")
    return submit_operation(tx, WORKFLOW, caller, snapshot.id, Data(), queue_of(volume.host or ""))


async def remove(run: Run[Data], found: tuple[Snapshot, Volume, bool]) -> Outcome:
    """Remove the snapshot from the backend; what is gone already is fine."""
    snapshot, volume, keep = found
    await take_away(run, snapshot, volume, keep=keep)
    return Done(settle=lambda tx: forget(tx, snapshot))


async def take_away(run: Run[Any], snapshot: Snapshot, volume: Volume, *, keep: bool) -> None:
    """Have the backend remove it, or let go of it: `keep` is `stays_the_operators`."""
    await run.doors.call(
        volume.backend,
        lambda driver: driver.release_snapshot if keep else driver.delete_snapshot,
        as_driver_snapshot(snapshot, volume),
    )


def _to_remove(tx: ReadTx, run: Run[Data]) -> tuple[Snapshot, Volume, bool]:
    snapshot, volume = create_snapshot.look(tx, run)
    return snapshot, volume, stays_the_operators(tx, snapshot.id)


def stays_the_operators(tx: ReadTx, snapshot_id: str) -> bool:
    """Whether it was not adopted to the end: it is none of ours to remove then."""
    known = operations.of_resource(tx, snapshot_id, adopted.ADOPTIONS)
    return adopted.was_begun(known) and not adopted.was_finished(known)


def forget(tx: WriteTx, snapshot: Snapshot) -> None:
    """Remove the row and give back what it used, in one."""
    type_name = volume_types.get(tx, snapshot.volume_type_id).name
    used = of_snapshot(snapshot.size, type_name, count=-1, consumes=snapshot.consumes_quota)
    quotas.charge(tx, snapshot.project_id, used, {})
    snapshots.delete(tx, snapshot.id)


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    snapshots.update(tx, operation.resource_id, status="error_deleting")
    messages.tell(tx, events.SNAPSHOT_DELETE_FAILED, operation, failure.text)


WORKFLOW = Workflow(
    "delete_snapshot", "snapshot", Data, (Looking(_to_remove, remove),), _settle_failure
)
