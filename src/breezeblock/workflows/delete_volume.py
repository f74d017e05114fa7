"""Delete a volume, with its snapshots when asked to cascade.

api        submit   checks, `deleting`; a volume that was never placed is gone at once
backend    remove   snapshots, then the volume; then the row and its usage go together

What was not adopted to the end is the operator's: its row goes, and the backend lets go of it.
"""

from __future__ import annotations

import msgspec

from breezeblock.model import messages as events
from breezeblock.model import snapshots as snapshot_rules
from breezeblock.model import volumes as rules
from breezeblock.model.errors import Failure, InvalidState
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.usage import of_snapshot, of_volume
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Looking, Outcome, Run, Workflow
from breezeblock.store import (
    attachments,
    messages,
    quotas,
    snapshots,
    transfers,
    volume_types,
    volumes,
)
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import delete_snapshot
from breezeblock.workflows.doors import as_driver_volume, queue_of


class Data(msgspec.Struct, frozen=True):
    """Nothing to remember: what there is to remove is read anew each time."""


def submit(
    tx: WriteTx, caller: Caller, volume: Volume, *, cascade: bool = False, force: bool = False
) -> str | None:
    """Put the volume to `deleting` and open the operation; its id, or None when it is gone already.

    With force (an administrator's) the status does not matter; the caller has cancelled what was
    under way (`workflows/cancel.py`). Raises InvalidState, Conflict.
    """
    owned = snapshots.of_volume(tx, volume.id)
    attached = any(one.attach_status == "attached" for one in attachments.of_volume(tx, volume.id))
    remaining = 0 if cascade else len(owned)
    nowhere = volume.host is None
    rules.check_delete(volume, snapshots=remaining, attached=attached, force=force or nowhere)
    for snapshot in owned:
        _check_cascade(snapshot, volume, force=force)
    if volume.host is None:
        forget(tx, volume)
        return None
    status = "error_managing_deleting" if volume.status == "error_managing" else "deleting"
    volumes.update(tx, volume.id, status=status, previous_status=volume.status)
    transfers.withdraw(tx, volume.id)
    for snapshot in owned:
        snapshots.update(tx, snapshot.id, status="deleting")
    return submit_operation(tx, WORKFLOW, caller, volume.id, Data(), queue_of(volume.host))


def _check_cascade(snapshot: Snapshot, volume: Volume, *, force: bool) -> None:
    if snapshot.project_id != volume.project_id and not force:
        raise InvalidState(f"Snapshot {snapshot.id} belongs to another project.")
    snapshot_rules.check_delete(snapshot, force=force)


async def remove(run: Run[Data], found: _Found | None) -> Outcome:
    """Remove snapshots and volume from the backend; what is gone already is fine."""
    if found is None:
        return Done(note="was gone already")
    volume, owned = found
    backend = volume.backend or ""
    for snapshot, keep in owned:
        await delete_snapshot.take_away(run, snapshot, volume, keep=keep)
    await run.doors.call(
        backend,
        lambda driver: driver.release if volume.unadopted else driver.delete,
        as_driver_volume(volume),
    )
    return Done(settle=lambda tx: forget(tx, volume))


_Found = tuple[Volume, list[tuple[Snapshot, bool]]]
"""The volume, and its snapshots with whether each stays the operator's."""


def _to_remove(tx: ReadTx, run: Run[Data]) -> _Found | None:
    volume = volumes.find(tx, run.operation.resource_id)
    if volume is None:
        return None
    owned = snapshots.of_volume(tx, volume.id)
    return volume, [(one, delete_snapshot.stays_the_operators(tx, one.id)) for one in owned]


def forget(tx: WriteTx, volume: Volume) -> None:
    """Remove the rows and give back what they used, in one."""
    type_name = volume_types.get(tx, volume.volume_type_id).name
    for snapshot in snapshots.of_volume(tx, volume.id):
        used = of_snapshot(snapshot.size, type_name, count=-1, consumes=snapshot.consumes_quota)
        quotas.charge(tx, snapshot.project_id, used, {})
    used = of_volume(volume.size, type_name, count=-1, consumes=volume.consumes_quota)
    quotas.charge(tx, volume.project_id, used, {})
    volumes.delete(tx, volume.id)


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    volumes.update(tx, operation.resource_id, status="error_deleting")
    for snapshot in snapshots.of_volume(tx, operation.resource_id):
        if snapshot.status == "deleting":
            snapshots.update(tx, snapshot.id, status="error_deleting")
    messages.tell(tx, events.DELETE_FAILED, operation, failure.text)


WORKFLOW = Workflow(
    "delete_volume", "volume", Data, (Looking(_to_remove, remove),), _settle_failure
)
