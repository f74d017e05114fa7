"""Detach a volume: take it away from one host.

    api        submit    a reserved attachment goes at once; a connected one opens the operation
    backend    unexport  when it was the host's last, the driver shuts the host out; then the row

Which attachment is a host's last is counted here and not in drivers (design, section 5). Work on
one export takes turns, so two that leave at once cannot leave the door open for each other.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from breezeblock.model import attachments as rules
from breezeblock.model import messages as events
from breezeblock.model.attachments import Attachment
from breezeblock.model.errors import Conflict, Failure
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller, nobody
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Looking, Outcome, Run, Workflow
from breezeblock.store import attachments, messages, operations, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows.attach_volume import export_id
from breezeblock.workflows.doors import as_driver_volume, queue_of
from breezeblock.workflows.holds import release


class Data(msgspec.Struct, frozen=True):
    """Which attachment leaves.

    `keep_row`: os-terminate_connection shuts the host out, os-detach removes the attachment later.
    `keep_hold`: a reservation that was given back; who has the volume on hold now keeps it.
    """

    attachment_id: str
    volume_id: str
    host: str
    keep_row: bool = False
    keep_hold: bool = False


def submit(
    tx: WriteTx,
    caller: Caller,
    volume: Volume,
    attachment: Attachment,
    *,
    keep_row: bool = False,
    keep_hold: bool = False,
) -> str | None:
    """Remove a reserved attachment at once (None), or open the operation that disconnects it.

    One whose connecting failed has a host, too, which may have been let in half-way. Raises
    Conflict while work on the same export is under way.
    """
    if attachment.host is None or volume.host is None:
        if not keep_row:
            _remove(tx, attachment.id, volume.id, keep_hold=keep_hold)
        return None
    data = Data(attachment.id, volume.id, attachment.host, keep_row, keep_hold)
    resource = export_id(volume.id, attachment.host)
    return submit_operation(tx, WORKFLOW, caller, resource, data, queue_of(volume.host))


def give_back(tx: WriteTx, caller: Caller, volume: Volume) -> None:
    """End a reservation of the volume actions: the volume is what its attachments say, and hosts
    that were let in for what is given up are shut out."""
    left = attachments.of_volume(tx, volume.id)
    attachments.follow(tx, volume.id, *rules.status_without_reservation(left))
    for one in left:
        if one.legacy and one.attach_status not in ("attached", "error_detaching"):
            with suppress(Conflict):  # work on that export is under way: it settles by itself
                submit(tx, caller, volume, one, keep_hold=True)


def forget(tx: WriteTx, caller: Caller, volume: Volume) -> None:
    """Remove all attachments at once, because an administrator says that there are none.

    Their hosts are shut out in the background. The volume's status is the administrator's.
    """
    gone = attachments.of_volume(tx, volume.id)
    for one in gone:
        attachments.delete(tx, one.id)
    if volume.host is not None:
        for host in sorted({one.host for one in gone if one.host is not None}):
            close_export(tx, caller, volume, host)


def close_export(tx: WriteTx, caller: Caller, volume: Volume, host: str) -> None:
    """Shut out a host that no attachment of the volume names. Raises Conflict."""
    data = Data("", volume.id, host, keep_row=True)
    resource = export_id(volume.id, host)
    submit_operation(tx, WORKFLOW, caller, resource, data, queue_of(volume.host or ""))


def leave_refused(
    tx: WriteTx, caller: Caller, volume: Volume, attachment: Attachment, host: str
) -> None:
    """An attachment whose host the backend refused is being connected to `host` now: the refused
    one, which may have been let in half-way, is shut out in the background.

    Raises Conflict while that one is still being connected, or disconnected, for this attachment.
    """
    refused = attachment.host
    if refused in (None, host) or volume.host is None:
        return
    under_way = operations.open_on(tx, export_id(volume.id, refused))
    if under_way is None:
        close_export(tx, nobody(caller.request_id), volume, refused)
    elif under_way.data.get("attachment_id") == attachment.id:
        raise Conflict(
            f"Attachment {attachment.id} cannot be connected to another host now: work for host "
            f"{refused} is under way."
        )
    # Otherwise somebody else's work decides whether that host stays in, and cleans up after it.


async def unexport(run: Run[Data], found: tuple[Volume | None, bool]) -> Outcome:
    """Shut the host out unless another attachment still needs its export."""
    data, (volume, shared) = run.data, found
    if volume is not None and not shared:
        gone = as_driver_volume(volume)
        await run.doors.call(volume.backend, lambda driver: driver.unexport, gone, data.host)
    return Done(
        settle=lambda tx: _disconnected(tx, data),
        note=f"{data.host} still uses it" if shared else f"{data.host} shut out",
    )


def _to_unexport(tx: ReadTx, run: Run[Data]) -> tuple[Volume | None, bool]:
    """The volume, if it is there, and whether another attachment needs the export."""
    data = run.data
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
        _remove(tx, data.attachment_id, data.volume_id, keep_hold=data.keep_hold)


def _remove(tx: WriteTx, attachment_id: str, volume_id: str, *, keep_hold: bool) -> None:
    """The end of what os-begin_detaching announced, too."""
    if not keep_hold:
        release(tx, volume_id)
    attachments.delete(tx, attachment_id)
    attachments.settle_volume(tx, volume_id)


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """The attachment stays and says so; the volume's status follows from the others."""
    if not operation.has_owner:
        return  # nobody asked for it; the next sweep tries again
    # Without a row (an administrator's reset) there is nothing that the volume could follow.
    if attachments.update(tx, data.attachment_id, attach_status="error_detaching"):
        attachments.settle_volume(tx, data.volume_id)
    messages.tell(tx, events.DETACH_FAILED, operation, failure.text)


WORKFLOW = Workflow(
    "detach_volume", "export", Data, (Looking(_to_unexport, unexport),), _settle_failure
)
