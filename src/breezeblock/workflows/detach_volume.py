"""Detach a volume: take it away from one host.

    api        submit    a reserved attachment goes at once; a connected one opens the operation
    backend    unexport  when it was the host's last, the driver shuts the host out; then the row

Which attachment is a host's last is counted here and not in drivers (design, section 5). Work on
one export takes turns, so two that leave at once cannot leave the door open for each other.
"""

from __future__ import annotations

import msgspec

from breezeblock.model import messages as events
from breezeblock.model.attachments import Attachment
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import attachments, messages, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import hold_volume
from breezeblock.workflows.attach_volume import export_id
from breezeblock.workflows.doors import as_driver_volume, queue_of


class Data(msgspec.Struct, frozen=True):
    """Which attachment leaves. `keep_row`: os-terminate_connection shuts the host out, os-detach
    removes the attachment later."""

    attachment_id: str
    volume_id: str
    host: str
    keep_row: bool = False


def submit(
    tx: WriteTx, caller: Caller, volume: Volume, attachment: Attachment, *, keep_row: bool = False
) -> str | None:
    """Remove a reserved attachment at once (None), or open the operation that disconnects it.

    One whose connecting failed has a host, too, which may have been let in half-way. Raises
    Conflict while work on the same export is under way.
    """
    if attachment.host is None or volume.host is None:
        if not keep_row:
            _remove(tx, attachment.id, volume.id)
        return None
    data = Data(attachment.id, volume.id, attachment.host, keep_row)
    resource = export_id(volume.id, attachment.host)
    return submit_operation(tx, WORKFLOW, caller, resource, data, queue_of(volume.host))


async def unexport(run: Run[Data]) -> Outcome:
    """Shut the host out unless another attachment still needs its export."""
    data = run.data
    volume, shared = await run.doors.store.read(lambda tx: _to_unexport(tx, data))
    if volume is not None and not shared:
        gone = as_driver_volume(volume)
        await run.doors.call(volume.backend, lambda driver: driver.unexport, gone, data.host)
    return Done(
        settle=lambda tx: _disconnected(tx, data),
        note=f"{data.host} still uses it" if shared else f"{data.host} shut out",
    )


def _to_unexport(tx: ReadTx, data: Data) -> tuple[Volume | None, bool]:
    others = [
        one
        for one in attachments.of_volume(tx, data.volume_id)
        if one.id != data.attachment_id and one.connection_info and one.host == data.host
    ]
    return volumes.find(tx, data.volume_id), bool(others)


def _disconnected(tx: WriteTx, data: Data) -> None:
    if data.keep_row:
        attachments.update(tx, data.attachment_id, connection_info=None, connector=None)
    else:
        _remove(tx, data.attachment_id, data.volume_id)


def _remove(tx: WriteTx, attachment_id: str, volume_id: str) -> None:
    """The end of what os-begin_detaching announced, too."""
    hold_volume.release(tx, volume_id)
    attachments.delete(tx, attachment_id)
    attachments.settle_volume(tx, volume_id)


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """The attachment stays and says so; the volume's status follows from the others."""
    attachments.update(tx, data.attachment_id, attach_status="error_detaching")
    attachments.settle_volume(tx, data.volume_id)
    messages.tell(
        tx,
        events.DETACH_FAILED,
        project_id=operation.project_id,
        request_id=operation.request_id,
        resource_uuid=data.volume_id,
        text=failure.text,
    )


WORKFLOW = Workflow("detach_volume", "export", Data, (unexport,), _settle_failure)
