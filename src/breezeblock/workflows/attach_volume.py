"""Attach a volume: make it reachable for one host.

    api        reserve  the attachment's row, the volume `reserved`; nothing else happens yet
    api        submit   a connector is known: open the operation
    backend    export   the driver lets the host in; connection_info goes onto the attachment

What a host may reach is one export, shared by all attachments of the volume to that host. The
operation is therefore one on the export, `<volume>@<host>`: connecting and disconnecting the same
volume on the same host take turns, other hosts are not held up (design, law 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from breezeblock.drivers.base import ConnectionInfo
from breezeblock.model import attachments as rules
from breezeblock.model import messages as events
from breezeblock.model.attachments import Attachment
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.qos_specs import QosSpecs, for_driver, for_host
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Failed, Looking, Outcome, Run, Workflow
from breezeblock.store import attachments, messages, volumes, work
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.work import ToExport
from breezeblock.workflows.doors import as_driver_volume, queue_of

EXPORT = "export"
"""Resource type of the work on exports."""
GONE = Failure(
    code="gone",
    message="The attachment is not there any more.",
    cause="It was deleted while its host was being connected.",
    remedy="Make another attachment if the volume is still wanted there.",
)


class Data(msgspec.Struct, frozen=True):
    """Which attachment, and for whom. `keep_status`: os-initialize_connection changes none.
    `again`: the export was lost, the attachment stays as it is."""

    attachment_id: str
    volume_id: str
    connector: dict[str, Any]
    mode: str
    keep_status: bool = False
    again: bool = False


def export_id(volume_id: str, host: str) -> str:
    """The name under which work on one export takes turns."""
    return f"{volume_id}@{host}"


def reserve(tx: WriteTx, volume: Volume, attachment: Attachment) -> None:
    """Write the attachment and put the volume to `reserved`. Raises InvalidState.

    The caller has locked the volume's row in this transaction.
    """
    others = attachments.of_volume(tx, volume.id)
    rules.check_reserve(volume, attachment.instance_uuid, others)
    attachments.insert(tx, attachment)
    if volume.status != "downloading":
        volumes.transition(tx, volume.id, {volume.status}, "reserved")


def submit(
    tx: WriteTx,
    caller: Caller,
    volume: Volume,
    attachment: Attachment,
    connector: dict[str, Any],
    mode: str,
    *,
    others: Iterable[Attachment] | None = None,
    keep_status: bool = False,
) -> str:
    """Open the operation that connects the attachment; returns its id.

    `others` are the volume's attachments, where the caller has read them since it locked the
    volume. `connector` names the host. It is kept at once: whoever deletes the attachment must know
    which host may have been let in. Raises Conflict when another server has the volume, or while
    work on the same export is under way.
    """
    host = str(connector["host"])
    present = attachments.of_volume(tx, volume.id) if others is None else others
    rules.check_connect(volume, attachment, host, present)
    attachments.update(tx, attachment.id, connector=connector)
    data = Data(attachment.id, volume.id, connector, mode, keep_status)
    resource = export_id(volume.id, host)
    return submit_operation(tx, WORKFLOW, caller, resource, data, queue_of(volume.host or ""))


def open_again(tx: WriteTx, caller: Caller, volume: Volume, attachment: Attachment) -> None:
    """Let the host of a connected attachment in once more: its export was lost. Raises Conflict."""
    connector, mode = attachment.connector or {}, attachment.attach_mode or "rw"
    data = Data(attachment.id, volume.id, connector, mode, keep_status=True, again=True)
    resource = export_id(volume.id, str(connector["host"]))
    submit_operation(tx, WORKFLOW, caller, resource, data, queue_of(volume.host or ""))


async def export(run: Run[Data], found: ToExport | None) -> Outcome:
    """Let the host in, and write down how it gets there."""
    if found is None:
        return Failed(GONE)
    data, (volume, specs, qos) = run.data, found
    info: ConnectionInfo = await run.doors.call(
        volume.backend,
        lambda driver: driver.export,
        as_driver_volume(volume, extra_specs=specs, qos=for_driver(qos)),
        data.connector,
        mode=data.mode,
    )
    flat = flat_connection_info(info, volume, qos, data)
    return Done(
        result={"attachment_id": data.attachment_id, "top_level": sorted(info.top_level)},
        settle=lambda tx: _connected(tx, data, flat),
        note=f"exported to {data.connector['host']} by {info.driver_volume_type}",
    )


def flat_connection_info(
    info: ConnectionInfo, volume: Volume, qos: QosSpecs | None, data: Data
) -> dict[str, Any]:
    """The wire's flat form: the driver's keys and those that the service adds for every driver."""
    return {
        "driver_volume_type": info.driver_volume_type,
        **info.data,
        **info.top_level,
        "access_mode": data.mode,
        "encrypted": volume.encryption_key_id is not None,
        "qos_specs": for_host(qos, volume.size),
        "cacheable": False,
        "attachment_id": data.attachment_id,
        "enforce_multipath": bool(data.connector.get("enforce_multipath", False)),
    }


def _to_export(tx: ReadTx, run: Run[Data]) -> ToExport | None:
    """Nothing when the attachment is gone."""
    return work.to_export(tx, run.data.attachment_id)


def _connected(tx: WriteTx, data: Data, info: dict[str, Any]) -> None:
    if data.again:
        attachments.update(tx, data.attachment_id, connection_info=info)
        return
    if data.keep_status:
        attachments.update(
            tx,
            data.attachment_id,
            connection_info=info,
            connector=data.connector,
            host_name=data.connector["host"],
            mountpoint=data.connector.get("mountpoint"),
            attach_mode=data.mode,
        )
        return
    volumes.lock(tx, data.volume_id)
    # A call that comes late, after the guest has the volume, shall not take back that it does.
    # Without a row (an administrator's reset) there is nothing that the volume could follow.
    if attachments.connect(tx, data.attachment_id, data.connector, data.mode, info) == "attaching":
        attachments.follow(tx, data.volume_id, "attaching", "attaching")


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """The attachment and the volume stay reserved (the wire's rule): the caller deletes it.

    One of the volume actions, which has no such status, is marked as failed unless it is complete.
    """
    if data.again:
        return  # nobody asked for it; the next sweep tries again
    if data.keep_status:
        attachment = attachments.find(tx, data.attachment_id)
        if attachment and attachment.attach_status == "attaching":
            attachments.update(tx, attachment.id, attach_status="error_attaching")
    messages.tell(tx, events.ATTACH_FAILED, operation, failure.text)


WORKFLOW = Workflow("attach_volume", EXPORT, Data, (Looking(_to_export, export),), _settle_failure)
