"""Attaching by actions on the volume: the way before attachments (3.27), still taken by Ironic.

    os-reserve, os-initialize_connection, os-attach
    os-begin_detaching, os-terminate_connection, os-detach

Underneath there is one attachment a host, marked `legacy`, and the same two workflows as for the
newer calls: connecting keeps the volume's status, disconnecting keeps the attachment until
os-detach removes it. The statuses that a client is given between its calls (`attaching`,
`detaching`) are a hold, which the next call or time ends (`workflows/hold_volume.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from breezeblock.api.access import allowed_volume, locked_volume
from breezeblock.api.application import ApiCall
from breezeblock.api.connectors import checked_connector, nested
from breezeblock.api.server_use import check_not_used
from breezeblock.api.volume_actions import ADMIN, volume_action
from breezeblock.model import attachments as rules
from breezeblock.model.attachments import Attachment
from breezeblock.model.errors import InvalidInput, InvalidState
from breezeblock.model.ids import new_id
from breezeblock.model.volumes import FREE_TO_MIGRATE, Volume
from breezeblock.store import attachments, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Text, Text1, Uuid
from breezeblock.workflows import attach_volume, detach_volume, hold_volume
from breezeblock.workflows.attach_volume import export_id
from breezeblock.workflows.holds import release

MEMBER = "volume_extension:volume_actions"
FORCE = f"{ADMIN}:force_detach"


class Attach(Body, frozen=True):
    mountpoint: Text1
    instance_uuid: Uuid | UnsetType = UNSET
    host_name: Text | UnsetType = UNSET
    mode: Literal["rw", "ro"] = "rw"


class Detach(Body, frozen=True):
    attachment_id: Uuid | None = None


class ForceDetach(Body, frozen=True):
    attachment_id: str | None = None
    connector: dict[str, Any] | str | None = None


class InitializeConnection(Body, frozen=True):
    connector: dict[str, Any] | str


class TerminateConnection(Body, frozen=True):
    connector: dict[str, Any] | str | None


# -- reserving, and the statuses around detaching --------------------------------------------------


async def reserve(call: ApiCall) -> None:
    def write(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, f"{MEMBER}:reserve")
        rules.check_action_reserve(volume)
        hold_volume.submit(tx, call.app.caller(call), volume, {volume.status}, "attaching")

    await call.app.store.write(write)


async def unreserve(call: ApiCall) -> None:
    """Back to what the attachments say; nothing when the volume is not reserved.

    Hosts that were let in for the attachment that is given up here are shut out again.
    """

    def write(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, f"{MEMBER}:unreserve")
        if volume.status != "attaching":
            return
        release(tx, volume.id)
        detach_volume.give_back(tx, call.app.caller(call), volume)

    await call.app.store.write(write)


def _give_back(tx: WriteTx, volume: Volume) -> None:
    if volume.status == "attaching":
        release(tx, volume.id)
        left = attachments.of_volume(tx, volume.id)
        attachments.follow(tx, volume.id, *rules.status_without_reservation(left))


async def begin_detaching(call: ApiCall) -> None:
    def write(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, f"{MEMBER}:begin_detaching")
        if volume.migration_status not in FREE_TO_MIGRATE:
            return  # a migration swaps the volume under its server: that detaching is its own
        rules.check_begin_detaching(volume)
        hold_volume.submit(tx, call.app.caller(call), volume, {volume.status}, "detaching")

    await call.app.store.write(write)


async def roll_detaching(call: ApiCall) -> None:
    def write(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, f"{MEMBER}:roll_detaching")
        if volume.status == "detaching":
            release(tx, volume.id)
            volumes.transition(tx, volume.id, {"detaching"}, "in-use")

    await call.app.store.write(write)


# -- connecting ------------------------------------------------------------------------------------


async def initialize_connection(call: ApiCall) -> dict[str, Any]:
    """Let the host in and say how it gets there; the same again for a host that is in already."""
    connector = checked_connector(call.body.connector)
    turn = export_id(call.params["volume_id"], connector["host"])
    attachment_id, operation_id = await call.app.write_in_turn(
        turn, lambda tx: _connect(tx, call, connector)
    )
    done = await call.app.wait(operation_id)
    made = await call.app.store.read(lambda tx: attachments.get(tx, attachment_id))
    if made.connection_info is None:
        raise InvalidState("The connection was taken away again meanwhile.")
    return {"connection_info": nested(made.connection_info, done.result["top_level"])}


def _connect(tx: WriteTx, call: ApiCall, connector: dict[str, Any]) -> tuple[str, str]:
    volume = locked_volume(tx, call, f"{MEMBER}:initialize_connection")
    rules.check_action_connection(volume)
    known = _legacy_on(tx, volume.id, connector["host"])
    if known:
        attachment = known[0]
        if attachment.attach_status == "error_attaching":
            attachments.update(tx, attachment.id, attach_status="attaching")
    else:
        attachment = _new(tx, call, volume, attach_status="attaching")
    mode = rules.mode_of(volume, attachment.attach_mode, connector.get("mode"))
    operation_id = attach_volume.submit(
        tx,
        call.app.caller(call, waits=True),
        volume,
        attachment,
        connector,
        mode,
        keep_status=True,
    )
    return attachment.id, operation_id


def _legacy_on(tx: ReadTx, volume_id: str, host: str | None) -> list[Attachment]:
    """The attachments made here for a host (None: for any that is or was let in)."""
    return [
        one
        for one in attachments.of_volume(tx, volume_id)
        if one.legacy and one.host is not None and host in (None, one.host)
    ]


def _new(tx: WriteTx, call: ApiCall, volume: Volume, **values: Any) -> Attachment:
    attachment = Attachment(
        id=new_id(),
        project_id=volume.project_id,
        user_id=call.identity.user_id,
        volume_id=volume.id,
        created_at=tx.now,
        legacy=True,
        **values,
    )
    attachments.insert(tx, attachment)
    return attachment


async def terminate_connection(call: ApiCall) -> None:
    """Shut the host out (every host when none is named); a mere reservation is given back."""
    told = call.body.connector
    host = checked_connector(told)["host"] if told is not None else None
    rule = f"{MEMBER}:terminate_connection"

    def find(tx: ReadTx) -> tuple[list[Attachment], list[Attachment]]:
        return _to_terminate(tx, allowed_volume(tx, call, rule).id, host)

    connected, others = await call.app.store.read(find)
    for attachment in others:
        await check_not_used(call, attachment)
    for attachment in connected:
        await _leave(call, rule, attachment, keep_row=True)
    await call.app.store.write(lambda tx: _give_back(tx, locked_volume(tx, call, rule)))


def _to_terminate(
    tx: ReadTx, volume_id: str, host: str | None
) -> tuple[list[Attachment], list[Attachment]]:
    """What a host was connected by here; and the volume's other attachments, which stay."""
    connected = _legacy_on(tx, volume_id, host)
    gone = {one.id for one in connected}
    return connected, [one for one in attachments.of_volume(tx, volume_id) if one.id not in gone]


async def _leave(call: ApiCall, rule: str, found: Attachment, *, keep_row: bool = False) -> None:
    """Disconnect an attachment, and remove it unless it is complete and to be kept."""

    if rule != FORCE:
        await check_not_used(call, found)

    def submit(tx: WriteTx) -> str | None:
        volume = locked_volume(tx, call, rule, found.volume_id)
        rules.check_action_connection(volume)
        attachment = attachments.find(tx, found.id)
        if attachment is None:
            return None
        keep = keep_row and attachment.attach_status in ("attached", "error_detaching")
        caller = call.app.caller(call, waits=True)
        return detach_volume.submit(tx, caller, volume, attachment, keep_row=keep)

    operation_id = await call.app.write_in_turn(
        export_id(found.volume_id, found.host or ""), submit
    )
    if operation_id is not None:
        await call.app.wait(operation_id)


# -- completing and removing -----------------------------------------------------------------------


async def attach(call: ApiCall) -> None:
    """The guest has the volume: it is `in-use`."""
    wanted: Attach = call.body
    if wanted.instance_uuid is UNSET and wanted.host_name is UNSET:
        raise InvalidInput("os-attach: instance_uuid or host_name is needed.")
    await call.app.store.write(lambda tx: _attach(tx, call, wanted))


def _attach(tx: WriteTx, call: ApiCall, wanted: Attach) -> None:
    volume = locked_volume(tx, call, f"{MEMBER}:attach")
    host = wanted.host_name or None
    present = [one for one in attachments.of_volume(tx, volume.id) if one.legacy]
    if any(_is_done(one, wanted) for one in present):
        return
    rules.check_action_attach(volume)
    rules.mode_of(volume, wanted.mode)
    connected = [
        one for one in present if one.attach_status == "attaching" and host in (None, one.host_name)
    ]
    attachment = connected[0] if connected else _new(tx, call, volume, attach_status="attaching")
    attachments.update(
        tx,
        attachment.id,
        attach_status="attached",
        attached_at=tx.now,
        attach_mode=wanted.mode,
        mountpoint=wanted.mountpoint,
        instance_uuid=None if wanted.instance_uuid is UNSET else wanted.instance_uuid,
        host_name=host or attachment.host_name,
    )
    if volume.readonly is None:
        volumes.update(tx, volume.id, readonly=False)
    release(tx, volume.id)
    attachments.follow(tx, volume.id, "in-use", "attached")


def _is_done(attachment: Attachment, wanted: Attach) -> bool:
    """Whether the same server, or host, was told to have the volume before."""
    if attachment.attach_status != "attached":
        return False
    if wanted.instance_uuid is not UNSET:
        return attachment.instance_uuid == wanted.instance_uuid
    return attachment.instance_uuid is None and attachment.host_name == wanted.host_name


async def detach(call: ApiCall) -> None:
    body: Detach | None = call.body
    await _detach(call, f"{MEMBER}:detach", body.attachment_id if body else None)


async def force_detach(call: ApiCall) -> None:
    """As os-terminate_connection and os-detach in one, for administrators."""
    await _detach(call, FORCE, call.body.attachment_id)


async def _detach(call: ApiCall, rule: str, attachment_id: str | None) -> None:
    def find(tx: ReadTx) -> Attachment | None:
        volume = allowed_volume(tx, call, rule)
        return _to_detach(attachments.of_volume(tx, volume.id), attachment_id)

    found = await call.app.store.read(find)
    if found is not None:
        await _leave(call, rule, found)
    else:
        await call.app.store.write(lambda tx: _settle(tx, call, rule))


def _to_detach(present: list[Attachment], attachment_id: str | None) -> Attachment | None:
    """The one that is named, or the only one. Raises InvalidState when it is not clear which."""
    if attachment_id is not None:
        return next((one for one in present if one.id == attachment_id), None)
    complete = [one for one in present if one.attach_status in ("attached", "error_detaching")]
    present = complete or present
    if len(present) > 1:
        raise InvalidState(
            "The volume has several attachments: say in attachment_id which one is meant."
        )
    return present[0] if present else None


def _settle(tx: WriteTx, call: ApiCall, rule: str) -> None:
    """The attachment is gone already: see to it that the volume's status says so."""
    volume = locked_volume(tx, call, rule)
    rules.check_action_connection(volume)
    if volume.status in ("in-use", "detaching", "attaching"):
        release(tx, volume.id)
        attachments.settle_volume(tx, volume.id)


_action = partial(volume_action, tag="volume actions (legacy attach)")

ROUTES: tuple[Route, ...] = (
    _action("os-reserve", reserve, "Reserve a volume"),
    _action("os-unreserve", unreserve, "Give a reservation back"),
    _action("os-begin_detaching", begin_detaching, "Announce that a volume is being detached"),
    _action("os-roll_detaching", roll_detaching, "Take that announcement back"),
    _action(
        "os-initialize_connection",
        initialize_connection,
        "Connect a host",
        InitializeConnection,
        success=200,
        secret=True,
    ),
    _action(
        "os-terminate_connection", terminate_connection, "Disconnect a host", TerminateConnection
    ),
    _action("os-attach", attach, "Say that the guest has the volume", Attach),
    _action("os-detach", detach, "Remove an attachment", Detach | None),
    _action("os-force_detach", force_detach, "Disconnect and remove an attachment", ForceDetach),
)
