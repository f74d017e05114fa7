"""Unmanage a volume: forget it, and leave its bytes with the backend.

api        submit    checks as for a deletion, `unmanaging`; what was never placed is gone at once
backend    release   the driver lets go of it; then the row and its usage go together
"""

from __future__ import annotations

import msgspec

from breezeblock.model import messages as events
from breezeblock.model import volumes as rules
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import attachments, messages, operations, snapshots, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import delete_volume
from breezeblock.workflows.doors import as_driver_volume, queue_of


class Data(msgspec.Struct, frozen=True):
    """Nothing to remember."""


def submit(tx: WriteTx, caller: Caller, volume: Volume) -> str | None:
    """Put the volume to `unmanaging` and open the operation; its id, or None when it is gone
    already. The caller has locked the volume. Raises InvalidState, Conflict."""
    attached = any(one.attach_status == "attached" for one in attachments.of_volume(tx, volume.id))
    rules.check_unmanage(
        volume, snapshots=len(snapshots.of_volume(tx, volume.id)), attached=attached
    )
    if volume.host is None:
        delete_volume.forget(tx, volume)
        return None
    volumes.update(tx, volume.id, status="unmanaging", previous_status=volume.status)
    return submit_operation(tx, WORKFLOW, caller, volume.id, Data(), queue_of(volume.host))


async def release(run: Run[Data]) -> Outcome:
    """Let the driver forget the volume; one that it does not know any more is fine."""
    volume = await run.doors.store.read(lambda tx: _to_release(tx, run.operation))
    if volume is None:
        return Done(note="was gone already")
    await run.doors.call(volume.backend, lambda driver: driver.release, as_driver_volume(volume))
    return Done(settle=lambda tx: delete_volume.forget(tx, volume))


def _to_release(tx: ReadTx, held: Operation) -> Volume | None:
    """Nothing, too, when it was cut short while its worker was frozen: the volume may be in use
    (what the worker records is refused)."""
    return volumes.find(tx, held.resource_id) if operations.is_held(tx, held) else None


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    volumes.update(tx, operation.resource_id, status="error_unmanaging")
    messages.tell(tx, events.UNMANAGE_FAILED, operation, failure.text)


WORKFLOW = Workflow("unmanage_volume", "volume", Data, (release,), _settle_failure)
