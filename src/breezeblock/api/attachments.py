"""Attachments over HTTP (3.27): how a server or a host comes to use a volume, and leaves it.

Reserve, connect and complete are the three steps of the wire. Connecting and disconnecting are work
for the volume's backend, so those calls wait for the operation's end and answer with what then
stands in the database.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from breezeblock.api.access import allowed_volume, locked_volume, owner_of
from breezeblock.api.application import ApiCall
from breezeblock.api.attachment_views import detail, summary
from breezeblock.api.connectors import checked_connector
from breezeblock.api.resource_filters import FILTERS
from breezeblock.api.scope import seen_by
from breezeblock.api.server_use import check_not_used, comes_from_compute
from breezeblock.model import attachments as rules
from breezeblock.model.attachments import Attachment
from breezeblock.model.errors import NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.volumes import Volume
from breezeblock.store import attachments
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.microversion import Version
from breezeblock.web.query import Column, Listing, page, parse_list
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Uuid
from breezeblock.workflows import attach_volume, detach_volume
from breezeblock.workflows.attach_volume import export_id

_COLUMNS = (
    "id",
    "project_id",
    "user_id",
    "volume_id",
    "instance_id",
    "instance_uuid",
    "attach_status",
    "attach_mode",
    "mountpoint",
    "attached_host",
)

# `status` is among the public filters but no column, so that it finds nothing: the wire's oddity.
ATTACHMENTS = Listing(
    resource="attachment",
    collection="attachments",
    columns=dict.fromkeys(_COLUMNS, Column()),
    public=FILTERS["attachment"],
    sortable=dict.fromkeys((*_COLUMNS, "attached_at", "created_at", "updated_at"), "3.27"),
    all_tenants="presence",
    ignored=("with_count",),
)


class NewAttachment(Body, frozen=True):
    volume_uuid: Uuid
    instance_uuid: Uuid | UnsetType = UNSET
    connector: dict[str, Any] | None = None
    mode: Literal["rw", "ro"] | None = None


class NewAttachmentBefore354(Body, frozen=True):
    volume_uuid: Uuid
    instance_uuid: Uuid | UnsetType = UNSET
    connector: dict[str, Any] | None = None


class CreateAttachment(Body, frozen=True):
    attachment: NewAttachment


class CreateAttachmentBefore354(Body, frozen=True):
    attachment: NewAttachmentBefore354


def create_body(version: Version) -> type:
    return CreateAttachment if version >= (3, 54) else CreateAttachmentBefore354


class Connect(Body, frozen=True):
    connector: Annotated[dict[str, Any], Meta(min_length=1)]


class UpdateAttachment(Body, frozen=True):
    attachment: Connect


async def list_attachments(call: ApiCall) -> dict[str, Any]:
    return await _list(call, summary)


async def list_detailed(call: ApiCall) -> dict[str, Any]:
    return await _list(call, detail)


async def _list(call: ApiCall, view: Any) -> dict[str, Any]:
    query = parse_list(call, ATTACHMENTS)
    project = None if query.all_tenants else call.identity.project_id
    found = await call.app.store.read(lambda tx: attachments.page(tx, query, project))
    shown = [view(one) for one in found.items]
    return page(call, ATTACHMENTS, query, shown, shown[-1].id if shown else None)


async def show(call: ApiCall) -> dict[str, Any]:
    return {"attachment": detail(await _find(call, call.params["attachment_id"]))}


async def create(call: ApiCall) -> dict[str, Any]:
    """Reserve the volume; with a connector, connect the host at once."""
    wanted: NewAttachment = call.body.attachment
    if not wanted.connector:
        attachment = await call.app.store.write(lambda tx: _reserve(tx, call, wanted)[1])
        return {"attachment": detail(attachment)}
    connector = checked_connector(wanted.connector)

    def reserve_and_connect(tx: WriteTx) -> tuple[str, str]:
        volume, attachment = _reserve(tx, call, wanted)
        return attachment.id, _connect(tx, call, volume, attachment, connector)

    turn = export_id(wanted.volume_uuid, connector["host"])
    attachment_id, operation_id = await call.app.write_in_turn(turn, reserve_and_connect)
    return await _connected(call, attachment_id, operation_id)


async def _connected(call: ApiCall, attachment_id: str, operation_id: str) -> dict[str, Any]:
    """What the connecting has come to. Raises OperationFailed, StillRunning."""
    project = seen_by(call)
    attachment = await call.app.wait_and_read(
        operation_id, lambda tx: attachments.get(tx, attachment_id, project)
    )
    return {"attachment": detail(attachment)}


def _reserve(tx: WriteTx, call: ApiCall, wanted: NewAttachment) -> tuple[Volume, Attachment]:
    volume = locked_volume(tx, call, "volume:attachment_create", wanted.volume_uuid)
    if volume.multiattach and volume.bootable and volume.status == "in-use":
        call.require("volume:multiattach_bootable_volume", owner_of(volume))
    attachment = Attachment(
        id=new_id(),
        project_id=volume.project_id,
        user_id=call.identity.user_id,
        volume_id=volume.id,
        attach_status="reserved",
        created_at=tx.now,
        instance_uuid=None if wanted.instance_uuid is UNSET else wanted.instance_uuid,
        attach_mode=getattr(wanted, "mode", None),
    )
    attach_volume.reserve(tx, volume, attachment)
    return volume, attachment


def _connect(
    tx: WriteTx,
    call: ApiCall,
    volume: Volume,
    attachment: Attachment,
    connector: dict[str, Any],
    others: list[Attachment] | None = None,
) -> str:
    mode = rules.mode_of(volume, attachment.attach_mode, connector.get("mode"))
    caller = call.app.caller(call, waits=True)
    operation_id = attach_volume.submit(
        tx, caller, volume, attachment, connector, mode, others=others
    )
    detach_volume.leave_refused(tx, caller, volume, attachment, connector["host"])
    return operation_id


async def update(call: ApiCall) -> dict[str, Any]:
    """Connect the host, and say how it reaches the volume."""
    connector = checked_connector(call.body.attachment.connector)
    attachment_id = call.params["attachment_id"]

    def connect(tx: WriteTx) -> str:
        volume, attachment, others = _locked(tx, call, "volume:attachment_update", attachment_id)
        return _connect(tx, call, volume, attachment, connector, others)

    def turn(tx: ReadTx) -> str:
        return export_id(attachments.get(tx, attachment_id).volume_id, connector["host"])

    return await _connected(call, attachment_id, await call.app.write_in_turn(turn, connect))


def _locked(
    tx: WriteTx, call: ApiCall, rule: str, attachment_id: str
) -> tuple[Volume, Attachment, list[Attachment]]:
    """The attachment with its volume, which nobody else changes until the transaction ends, and
    all attachments of that. Raises NotFound, Forbidden."""
    volume, project = attachments.lock_volume(tx, attachment_id), seen_by(call)
    present = attachments.of_volume(tx, volume.id) if volume else []
    found = next((one for one in present if one.id == attachment_id), None)
    if volume is None or found is None or project not in (None, found.project_id):
        raise NotFound("Attachment", attachment_id)
    if project not in (None, volume.project_id):
        raise NotFound("Volume", volume.id)
    call.require(rule, owner_of(volume))
    return volume, found, present


async def delete(call: ApiCall) -> dict[str, Any]:
    """Disconnect the host if there is one; the reply lists what is left on the volume."""
    attachment_id, rule = call.params["attachment_id"], "volume:attachment_delete"

    def find(tx: ReadTx) -> Attachment:
        attachment = attachments.get(tx, attachment_id, seen_by(call))
        allowed_volume(tx, call, rule, attachment.volume_id)
        return attachment

    if not comes_from_compute(call):
        await check_not_used(call, await call.app.store.read(find))

    def disconnect(tx: WriteTx) -> tuple[str, str | None]:
        volume, attachment, _ = _locked(tx, call, rule, attachment_id)
        caller = call.app.caller(call, waits=True)
        return volume.id, detach_volume.submit(tx, caller, volume, attachment)

    def turn(tx: ReadTx) -> str:
        attachment = attachments.get(tx, attachment_id)
        return export_id(attachment.volume_id, attachment.host or "")

    volume_id, operation_id = await call.app.write_in_turn(turn, disconnect)

    def left(tx: ReadTx) -> list[Attachment]:
        return attachments.of_volume(tx, volume_id)

    if operation_id is None:
        present = await call.app.store.read(left)
    else:
        present = await call.app.wait_and_read(operation_id, left)
    return {"attachments": [summary(one) for one in present]}


async def complete(call: ApiCall) -> None:
    """The guest has the volume: attachment `attached`, volume `in-use`."""
    attachment_id = call.params["attachment_id"]

    def finish(tx: WriteTx) -> None:
        volume, found, _ = _locked(tx, call, "volume:attachment_complete", attachment_id)
        since = found.attached_at or tx.now
        attachments.update(tx, found.id, attach_status="attached", attached_at=since)
        attachments.follow(tx, volume.id, "in-use", "attached")

    await call.app.store.write(finish)


async def _find(call: ApiCall, attachment_id: str) -> Attachment:
    project = seen_by(call)
    return await call.app.store.read(lambda tx: attachments.get(tx, attachment_id, project))


_TAGS = ("attachments",)

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/attachments",
        list_attachments,
        since="3.27",
        query=ATTACHMENTS.names(),
        summary="List attachments",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/attachments",
        create,
        since="3.27",
        body=create_body,
        secret=True,
        summary="Reserve a volume, or connect a host with it",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/attachments/detail",
        list_detailed,
        since="3.27",
        query=ATTACHMENTS.names(),
        summary="List attachments with their connection_info",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/attachments/{attachment_id}",
        show,
        since="3.27",
        summary="Show an attachment",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        "/attachments/{attachment_id}",
        update,
        since="3.27",
        body=UpdateAttachment,
        summary="Connect a host",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        "/attachments/{attachment_id}",
        delete,
        since="3.27",
        summary="Disconnect and remove an attachment",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/attachments/{attachment_id}/action",
        complete,
        action="os-complete",
        since="3.44",
        success=204,
        summary="Say that the guest has the volume",
        tags=_TAGS,
    ),
)
