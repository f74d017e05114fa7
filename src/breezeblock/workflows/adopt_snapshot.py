"""Adopt a snapshot: make one that the backend holds of a volume of ours ours, too.

    api        submit     checks, quota as for a new snapshot, its row in `creating`
    scheduler  check      whether its volume's pool takes changes
    backend    adopt      the driver makes it ours; its own size is known then, and counts
    backend    give_back  only when that did not go well: the driver lets go of it

`adoption` has what volumes share. Until it is known, the volume's size stands for the snapshot's.
"""

from __future__ import annotations

from breezeblock.model import messages as events
from breezeblock.model.errors import Failure, OverQuota
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.usage import of_snapshot
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Looking, Outcome, Run, Workflow
from breezeblock.store import messages, quotas, snapshots, volume_types, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import adoption
from breezeblock.workflows.adoption import Data
from breezeblock.workflows.create_snapshot import look
from breezeblock.workflows.doors import SCHEDULER, as_driver_snapshot


def submit(tx: WriteTx, caller: Caller, snapshot: Snapshot, type_name: str, data: Data) -> str:
    """Write the snapshot in `creating`, charge it, open the operation; returns its id.

    The caller has checked the volume in this transaction. Raises OverQuota.
    """
    used = of_snapshot(snapshot.size, type_name)
    quotas.charge(tx, snapshot.project_id, used, data.limits)
    snapshots.insert(tx, snapshot)
    return submit_operation(tx, WORKFLOW, caller, snapshot.id, data, SCHEDULER)


async def check(run: Run[Data], found: tuple[Snapshot, Volume]) -> Outcome:
    """Ask the filters whether the volume's pool takes changes."""
    _, volume = found
    names = {"id": volume.id, "size": volume.size, "display_name": volume.name}
    return await adoption.ask_filters(run, volume.host or "", names)


async def adopt(run: Run[Data], found: tuple[Snapshot, Volume]) -> Outcome:
    """Let the driver make it ours."""
    snapshot, volume = found
    backend, wanted = volume.backend or "", as_driver_snapshot(snapshot, volume)
    size = await adoption.call_driver(run, backend, lambda driver: driver.adopt_snapshot, wanted)
    if not isinstance(size, int):
        return size
    if why := await run.doors.store.read(lambda tx: _too_much(tx, snapshot, size, run.data)):
        return adoption.refuse(run, backend, why)
    return Done(
        result={"size": size},
        settle=lambda tx: _adopted(tx, snapshot, size, run.data),
        note=f"{size} GiB",
    )


async def give_back(run: Run[Data], found: tuple[Snapshot, Volume]) -> Outcome:
    """Let the driver forget it again; the bytes stay as they were."""
    snapshot, volume = found
    gone = as_driver_snapshot(snapshot, volume)
    backend = volume.backend or ""
    return await adoption.let_go(run, backend, lambda driver: driver.release_snapshot, gone)


# -- transactions -----------------------------------------------------------------------------


def _too_much(tx: ReadTx, snapshot: Snapshot, size: int, data: Data) -> Failure | None:
    try:
        quotas.check(tx, snapshot.project_id, _growth(tx, snapshot, size), data.limits)
    except OverQuota as error:
        return adoption.over_quota(error, size)
    return None


def _growth(tx: ReadTx, snapshot: Snapshot, size: int) -> dict[str, int]:
    name = volume_types.get(tx, snapshot.volume_type_id).name
    more = size - snapshot.size
    return {"gigabytes": more, f"gigabytes_{name}": more}


def _adopted(tx: WriteTx, snapshot: Snapshot, size: int, data: Data) -> None:
    quotas.charge(tx, snapshot.project_id, _growth(tx, snapshot, size), data.limits)
    snapshots.update(tx, snapshot.id, status="available", size=size, progress="100%")


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    snapshots.update(tx, operation.resource_id, status="error")
    messages.tell(tx, events.SNAPSHOT_ADOPT_FAILED, operation, failure.text)
    snapshot = snapshots.find(tx, operation.resource_id)
    volume = volumes.find(tx, snapshot.volume_id) if snapshot else None
    adoption.sweep_up(tx, operation, data, volume.backend if volume else None)


WORKFLOW = Workflow(
    "adopt_snapshot",
    "snapshot",
    Data,
    (Looking(look, check), Looking(look, adopt), Looking(look, give_back)),
    _settle_failure,
)
