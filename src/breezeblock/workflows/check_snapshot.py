"""Check a snapshot after an administrator has reset it: does its backend really hold it?

    api        submit  os-reset_status has written the status that was asked for
    backend    look    the status becomes what the backend bears out

As `check_volume`, for snapshots.
"""

from __future__ import annotations

from breezeblock.drivers.base import TemporaryError
from breezeblock.model import messages as events
from breezeblock.model import truth
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.workflow import Again, Done, Outcome, Run, Workflow
from breezeblock.store import messages, operations, snapshots, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import checks, delete_volume, revert_volume
from breezeblock.workflows.checks import Data


def submit(tx: WriteTx, caller: Caller, snapshot: Snapshot, *, cut_short: bool) -> None:
    """Have the snapshot looked at, as it stands after the reset.

    `cut_short`: the reset has interrupted work, which may be at the backend still.
    """
    volume = volumes.get(tx, snapshot.volume_id)
    patient = truth.passes(snapshot.status)
    checks.open_check(
        tx, WORKFLOW, caller, snapshot.id, volume.host, patient=patient, cut_short=cut_short
    )


async def look(run: Run[Data]) -> Outcome:
    """Compare the row with what the backend holds."""
    found = await run.doors.store.read(lambda tx: _to_look(tx, run.operation.resource_id))
    if found is None:
        return Done(note="the snapshot is gone")
    snapshot, volume, busy = found
    if busy:
        return Again(after=checks.LOOK_AGAIN, note="work is under way on the snapshot")
    try:
        held = await checks.find_on_backend(run, volume.backend or "")
    except TemporaryError as error:
        if not checks.may_look_again(run, error):
            raise
        return Again(after=checks.LOOK_AGAIN, note=f"will look again: {error}")
    there = any(item.kind == "snapshot" for item in held)
    return Done(
        settle=lambda tx: _settle(tx, run.operation, snapshot, there=there),
        note="the backend holds it" if there else "the backend does not hold it",
    )


def _to_look(tx: ReadTx, snapshot_id: str) -> tuple[Snapshot, Volume, bool] | None:
    snapshot = snapshots.find(tx, snapshot_id)
    if snapshot is None:
        return None
    return snapshot, volumes.get(tx, snapshot.volume_id), is_busy(tx, snapshot)


def is_busy(tx: ReadTx, snapshot: Snapshot) -> bool:
    """With work of its own, or with work on its volume that settles its status, too."""
    above = operations.open_on(tx, snapshot.volume_id)
    deleted = above is not None and above.workflow == delete_volume.WORKFLOW.name
    along = deleted or revert_volume.reverts_to(above, snapshot.id)
    return along or checks.is_busy(tx, snapshot.id)


def _settle(tx: WriteTx, operation: Operation, seen: Snapshot, *, there: bool) -> None:
    snapshot = snapshots.find_locked(tx, seen.id)
    if snapshot is None:
        return
    if snapshot.status != seen.status or is_busy(tx, snapshot):
        submit(tx, checks.caller_of(operation), snapshot, cut_short=True)
        return
    status = truth.snapshot_status(snapshot.status, there=there)
    if status == snapshot.status:
        return
    snapshots.update(tx, snapshot.id, status=status)
    if not there:
        messages.tell(tx, events.SNAPSHOT_CHECKED, operation, checks.missing("snapshot").text)


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    """The backend could not be asked. A status that passes ends all the same."""
    snapshot = snapshots.find_locked(tx, operation.resource_id)
    if snapshot is not None and truth.passes(snapshot.status) and not is_busy(tx, snapshot):
        snapshots.update(tx, snapshot.id, status="error")
    messages.tell(tx, events.SNAPSHOT_CHECKED, operation, failure.text)


WORKFLOW = Workflow("check_snapshot", operations.CHECK, Data, (look,), _settle_failure)
