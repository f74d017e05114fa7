"""A server's volumes over HTTP: os-volume_attachments.

In the path, a volume attachment is known by its volume's id. Attaching waits for the agent, so that
the device's name can be told; from 2.101 on clients do not want to wait.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from breezeblock.compute.api import policy
from breezeblock.compute.api.application import ApiCall, find_server
from breezeblock.compute.api.block_devices import next_device
from breezeblock.compute.api.server_views import attachment, new_attachment
from breezeblock.compute.api.volumes import MULTIATTACH, check_attachable, visible_volume
from breezeblock.compute.explain import refused_status
from breezeblock.compute.workflows import attach_server_volume, detach_server_volume
from breezeblock.model.errors import (
    Conflict,
    InvalidInput,
    InvalidState,
    NotFound,
    OperationFailed,
)
from breezeblock.model.ids import new_id
from breezeblock.model.servers import Server, ServerVolume, check_idle
from breezeblock.store import servers
from breezeblock.store.store import WriteTx
from breezeblock.web.call import Reply
from breezeblock.web.faults import Fault
from breezeblock.web.microversion import Version
from breezeblock.web.query import parse_limit, parse_offset
from breezeblock.web.routes import Route
from breezeblock.web.types import UNSET, Body, Bool, Text, UnsetType, Uuid

STATES = ("ACTIVE", "SHUTOFF")
WITHOUT_WAITING = (2, 101)
DETACHABLE = ("in-use", "detaching", "available", "error")
"""Of a volume. In the last two nothing is left to be marked, only the server's side to be ended."""
_CLIENT_ERRORS = (400, 404, 409)


class NewAttachment(Body, frozen=True):
    volume_id: Uuid = field(name="volumeId")
    device: Text | None = None


class NewAttachmentTag(NewAttachment, frozen=True):
    tag: Text | None = None


class NewAttachmentFate(NewAttachmentTag, frozen=True):
    delete_on_termination: Bool = False


class Attach(Body, frozen=True):
    attachment: NewAttachment = field(name="volumeAttachment")


class AttachWithTag(Body, frozen=True):
    attachment: NewAttachmentTag = field(name="volumeAttachment")


class AttachWithFate(Body, frozen=True):
    attachment: NewAttachmentFate = field(name="volumeAttachment")


class Swap(Body, frozen=True):
    volume_id: Uuid = field(name="volumeId")


class SwapAttachment(Body, frozen=True):
    attachment: Swap = field(name="volumeAttachment")


class Changes(Body, frozen=True):
    """What a GET shows may be sent back; only `delete_on_termination` may differ."""

    volume_id: Uuid = field(name="volumeId")
    id: str | UnsetType = UNSET
    server_id: str | UnsetType = field(default=UNSET, name="serverId")
    device: str | UnsetType | None = UNSET
    tag: str | UnsetType | None = UNSET
    delete_on_termination: Bool | UnsetType = UNSET


class UpdateAttachment(Body, frozen=True):
    attachment: Changes = field(name="volumeAttachment")


def body_of_create(version: Version) -> type[Body]:
    if version >= (2, 79):
        return AttachWithFate
    return AttachWithTag if version >= (2, 49) else Attach


def body_of_update(version: Version) -> type[Body]:
    return UpdateAttachment if version >= (2, 85) else SwapAttachment


async def list_attachments(call: ApiCall) -> dict[str, Any]:
    server = await find_server(call, policy.VOLUMES_LIST)
    if call.at_least(2, 75) and (unknown := sorted(set(call.query) - {"limit", "offset"})):
        raise InvalidInput(f"Additional query parameters are not allowed: {', '.join(unknown)}")
    limit, offset = parse_limit(call), parse_offset(call.query)
    found = await call.app.store.read(lambda tx: servers.volumes_of(tx, server.id))
    shown = [attachment(call, row) for row in found if _is_shown(call, row)]
    return {"volumeAttachments": shown[offset : offset + limit]}


async def show(call: ApiCall) -> dict[str, Any]:
    server = await find_server(call, policy.VOLUMES_SHOW)
    return {"volumeAttachment": attachment(call, await _find(call, server))}


async def _find(call: ApiCall, server: Server) -> ServerVolume:
    """Raises NotFound."""
    volume_id = call.params["volume_id"].lower()
    row = await call.app.store.read(lambda tx: servers.attachment(tx, server.id, volume_id))
    if not _is_shown(call, row):
        raise NotFound("Volume attachment", volume_id)
    return row


def _is_shown(call: ApiCall, row: ServerVolume) -> bool:
    """From 2.89 on an entry has its attachment's id, so one that has none yet is not shown."""
    return row.volume_id is not None and (row.attachment_id is not None or not call.at_least(2, 89))


async def create(call: ApiCall) -> Reply:
    server = await find_server(call, policy.VOLUMES_CREATE)
    wanted: NewAttachment = call.body.attachment
    volume = await visible_volume(call, call.app.storage_of(server), wanted.volume_id)
    check_attachable(volume, multiattach_allowed=call.at_least(*MULTIATTACH))
    row_id, operation_id = await call.app.store.write(
        lambda tx: _submit(tx, call, server.id, wanted)
    )
    if call.at_least(*WITHOUT_WAITING):
        return Reply(status=202)
    try:
        await call.app.waiter.wait(operation_id, call.app.config.compute.operation_timeout)
    except OperationFailed as error:
        status = refused_status(error.failure)
        raise Fault(status, error.failure.text) if status in _CLIENT_ERRORS else error from None
    row = await call.app.store.read(lambda tx: servers.find_volume(tx, row_id))
    if row is None:
        raise Conflict(f"Volume {volume.id} was detached as soon as it was attached.")
    return Reply({"volumeAttachment": new_attachment(call, row)})


def _submit(tx: WriteTx, call: ApiCall, server_id: str, wanted: NewAttachment) -> tuple[str, str]:
    """Reserve the device name and open the operation: ids of the row and of the operation."""
    server = servers.lock(tx, server_id)
    check_idle(server, "attach_volume", STATES)
    present = servers.volumes_of(tx, server_id)
    if any(one.volume_id == wanted.volume_id for one in present):
        raise InvalidState(
            f"Invalid volume: Volume {wanted.volume_id} is attached to instance {server_id} already"
        )
    row = ServerVolume(
        id=new_id(),
        server_id=server_id,
        volume_id=wanted.volume_id,
        device=next_device(wanted.device, (one.device for one in present)),
        tag=getattr(wanted, "tag", None),
        delete_on_termination=getattr(wanted, "delete_on_termination", False),
        state="attaching",
        created_at=tx.now,
    )
    if not servers.insert_volume(tx, row):
        raise Conflict(f"Device name {row.device} or volume {row.volume_id} has just been taken.")
    return row.id, attach_server_volume.submit(tx, call.app.caller(call), server, row)


async def delete(call: ApiCall) -> None:
    server = await find_server(call, policy.VOLUMES_DELETE)
    row = await call.app.store.read(
        lambda tx: servers.attachment(tx, server.id, call.params["volume_id"].lower())
    )
    if row.is_root:
        raise InvalidInput("Cannot detach a root device volume")
    volume = await call.app.storage_of(server).find_volume(row.volume_id or "")
    if volume is not None and volume.status not in DETACHABLE:
        raise InvalidState(
            f"Invalid volume: Volume {volume.id} status must be in-use, not {volume.status}."
        )

    def submit(tx: WriteTx) -> None:
        locked = servers.lock(tx, server.id)
        check_idle(locked, "detach_volume", STATES)
        present = servers.attachment(tx, server.id, row.volume_id or "")
        if present.state == "detaching":
            raise InvalidState(f"Invalid volume: Volume {row.volume_id} is being detached already.")
        detach_server_volume.submit(tx, call.app.caller(call), locked, present)

    await call.app.store.write(submit)


async def update(call: ApiCall) -> None:
    wanted = call.body.attachment
    swaps = isinstance(wanted, Swap) or wanted.volume_id != call.params["volume_id"].lower()
    server = await find_server(call, policy.VOLUMES_SWAP if swaps else policy.VOLUMES_UPDATE)
    row = await _find(call, server)
    if swaps:
        raise Conflict(
            f"volume {row.volume_id} is not migrating; only the block storage service may exchange "
            "a server's volume, during a migration"
        )
    _refuse_changes(wanted, row)
    if wanted.delete_on_termination is not UNSET:
        fate = wanted.delete_on_termination
        await call.app.store.write(
            lambda tx: servers.update_volume(tx, row.id, delete_on_termination=fate)
        )


def _refuse_changes(wanted: Changes, row: ServerVolume) -> None:
    fixed = {
        "id": (wanted.id, row.volume_id),
        "serverId": (wanted.server_id, row.server_id),
        "device": (wanted.device, row.device),
        "tag": (wanted.tag, row.tag),
    }
    for name, (asked, present) in fixed.items():
        if asked is not UNSET and asked != present:
            raise InvalidInput(f"The {name} property is not mutable")


_COLLECTION = "/servers/{server_id}/os-volume_attachments"
_ONE = f"{_COLLECTION}/{{volume_id}}"
_TAGS = ("volume attachments",)

ROUTES = (
    Route(
        "GET",
        _COLLECTION,
        list_attachments,
        query=("limit", "offset"),
        summary="List a server's volumes",
        tags=_TAGS,
    ),
    Route(
        "POST",
        _COLLECTION,
        create,
        body=body_of_create,
        summary="Attach a volume to a server",
        tags=_TAGS,
    ),
    Route("GET", _ONE, show, summary="Show a server's use of a volume", tags=_TAGS),
    Route(
        "PUT",
        _ONE,
        update,
        body=body_of_update,
        success=202,
        summary="Say whether the volume goes with the server",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        _ONE,
        delete,
        success=202,
        summary="Detach a volume from a server",
        tags=_TAGS,
    ),
)
