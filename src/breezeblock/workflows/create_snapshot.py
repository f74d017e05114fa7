"""Create a snapshot of a volume.

api        submit   checks, quota, the snapshot's row in `creating`
backend    freeze   the driver freezes the volume's content
"""

from __future__ import annotations

from typing import Any

import msgspec

from breezeblock.drivers.base import StillWorking
from breezeblock.model import messages as events
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.usage import of_snapshot
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Looking, Outcome, Run, Workflow
from breezeblock.store import messages, quotas, snapshots, work
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows.doors import as_driver_snapshot, queue_of


class Data(msgspec.Struct, frozen=True):
    """Nothing to remember."""


def submit(
    tx: WriteTx,
    caller: Caller,
    volume: Volume,
    snapshot: Snapshot,
    type_name: str,
    limits: dict[str, int],
) -> str:
    """Write the snapshot in `creating`, charge the quota, open the operation; returns its id.

    The caller has checked the volume in this transaction. Raises OverQuota.
    """
    quotas.charge(tx, snapshot.project_id, of_snapshot(snapshot.size, type_name), limits)
    snapshots.insert(tx, snapshot)
    return submit_operation(tx, WORKFLOW, caller, snapshot.id, Data(), queue_of(volume.host or ""))


async def freeze(run: Run[Data], found: tuple[Snapshot, Volume]) -> Outcome:
    """Let the driver freeze the content; a repetition finds what is frozen already."""
    snapshot, volume = found
    frozen = as_driver_snapshot(snapshot, volume)
    try:
        await run.doors.call(volume.backend, lambda driver: driver.snapshot, frozen)
    except StillWorking as error:
        progress = error.progress or 0
        return Again(
            error.retry_after,
            data=run.data,
            settle=lambda tx: _show(tx, snapshot.id, progress),
            note=str(error),
            progress=error.progress,
        )
    return Done(
        settle=lambda tx: _settle(tx, snapshot.id, "available", progress="100%"),
    )


def look(tx: ReadTx, run: Run[Any]) -> tuple[Snapshot, Volume]:
    """The snapshot that an operation is on, and its volume. Raises NotFound."""
    return work.snapshot_and_volume(tx, run.operation.resource_id)


def _show(tx: WriteTx, snapshot_id: str, progress: int) -> None:
    snapshots.update(tx, snapshot_id, progress=f"{progress}%")


def _settle(tx: WriteTx, snapshot_id: str, status: str, **values: str) -> None:
    snapshots.update(tx, snapshot_id, status=status, **values)


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    _settle(tx, operation.resource_id, "error")
    messages.tell(tx, events.SNAPSHOT_FAILED, operation, failure.text)


WORKFLOW = Workflow("create_snapshot", "snapshot", Data, (Looking(look, freeze),), _settle_failure)
