"""Actions on volumes: grow, flags, image metadata, and what administrators may force.

The older way to attach by actions is in `volume_attach_actions.py`.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from breezeblock.api.access import locked_volume, owner_of
from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.api.volume_create import check_volume_limit
from breezeblock.api.volumes import delete_now
from breezeblock.model import volumes as rules
from breezeblock.model.errors import InvalidInput, InvalidState, NotFound
from breezeblock.model.volumes import (
    AWAITING_TRANSFER,
    FREE_TO_MIGRATE,
    RESETTABLE,
    Volume,
)
from breezeblock.store import attachments, transfers, volumes
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Bool, MetadataKey, Size, Text1
from breezeblock.workflows import check_volume, detach_volume, extend_volume
from breezeblock.workflows.cancel import Reason, cancel_exports, cancel_on

ADMIN = "volume_extension:volume_admin_actions"
IMAGE_METADATA = "volume_extension:volume_image_metadata"
MIGRATION_STATUSES = ("migrating", "error", "success", "completing", "none", "starting")
LONGEST_IMAGE_VALUE = 65_535


class Extend(Body, frozen=True):
    new_size: Size


class CompleteExtension(Body, frozen=True):
    error: Bool | None = None


class SetBootable(Body, frozen=True):
    bootable: Bool


class UpdateReadonlyFlag(Body, frozen=True):
    readonly: Bool


class ResetStatus(Body, frozen=True):
    status: str | None = None
    attach_status: str | None = None
    migration_status: str | None = None

    def lowered(self) -> ResetStatus:
        """With all values in lower case, as they are compared and stored."""
        return ResetStatus(
            status=self.status and self.status.lower(),
            attach_status=self.attach_status and self.attach_status.lower(),
            migration_status=self.migration_status and self.migration_status.lower(),
        )


class SetImageMetadata(Body, frozen=True):
    metadata: dict[MetadataKey, Annotated[str, Meta(max_length=LONGEST_IMAGE_VALUE)]]


class UnsetImageMetadata(Body, frozen=True):
    key: Text1


async def extend(call: ApiCall) -> None:
    new_size = call.body.new_size
    in_use_allowed = call.at_least(3, 42)

    def submit(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume:extend")
        if volume.status == "in-use" and in_use_allowed:
            call.require("volume:extend_attached_volume", owner_of(volume))
        check_volume_limit(tx, call.app, volume.project_id, new_size)
        extend_volume.submit(
            tx,
            call.app.caller(call),
            volume,
            new_size,
            call.app.quota_defaults,
            in_use_allowed=in_use_allowed,
        )

    await call.app.store.write(submit)


async def complete_extension(call: ApiCall) -> None:
    """The compute service says what became of a growth on its host."""
    failed = bool(call.body.error)

    def write(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, f"{ADMIN}:extend_volume_completion")
        extend_volume.complete(tx, volume, failed=failed)

    await call.app.store.write(write)


async def set_bootable(call: ApiCall) -> None:
    def write(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume:update")
        rules.check_update(volume)
        volumes.update(tx, volume.id, bootable=call.body.bootable)

    await call.app.store.write(write)


async def update_readonly_flag(call: ApiCall) -> None:
    def write(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume:update_readonly_flag")
        rules.check_readonly_flag(volume)
        volumes.update(tx, volume.id, readonly=call.body.readonly)

    await call.app.store.write(write)


async def force_delete(call: ApiCall) -> None:
    """Delete whatever the status; what is under way is cut short."""

    def remove(tx: WriteTx) -> None:
        delete_now(tx, call, locked_volume(tx, call, f"{ADMIN}:force_delete"), force=True)

    await call.app.store.write(remove)


# -- os-reset_status -----------------------------------------------------------------------------


async def reset_status(call: ApiCall) -> None:
    wanted: ResetStatus = call.body.lowered()
    _check_reset(wanted)
    await call.app.store.write(lambda tx: _reset(tx, call, wanted))


def _check_reset(wanted: ResetStatus) -> None:
    known = {
        "status": (wanted.status, RESETTABLE - {"deleting"}),
        "attach_status": (wanted.attach_status, {"attached", "detached"}),
        "migration_status": (wanted.migration_status, set(MIGRATION_STATUSES)),
    }
    if not any(value for value, _ in known.values()):
        raise InvalidInput(f"os-reset_status: give at least one of {', '.join(known)}.")
    for name, (value, allowed) in known.items():
        if value and value not in allowed:
            raise InvalidInput(
                f"os-reset_status.{name}: it must be one of {', '.join(sorted(allowed))}."
            )


def _reset(tx: WriteTx, call: ApiCall, wanted: ResetStatus) -> None:
    """Cut short what is under way, write what was asked for, and have the backend looked at: in
    the end the volume shows what is true there (`workflows/check_volume.py`)."""
    volume = locked_volume(tx, call, f"{ADMIN}:reset_status")
    if wanted.status == "in-use" and not attachments.of_volume(tx, volume.id):
        raise InvalidState(f"Volume {volume.id} cannot be in-use: it has no attachments.")
    detached = wanted.attach_status == "detached"
    changes: dict[str, Any] = {}
    cut_short = False
    if wanted.status:
        cut_short |= cancel_on(tx, volume.id, Reason.RESET)
        changes["status"] = wanted.status
        if wanted.status != AWAITING_TRANSFER:
            transfers.withdraw(tx, volume.id)
    if wanted.attach_status:
        changes["attach_status"] = wanted.attach_status
    if detached:
        cut_short |= cancel_exports(tx, volume.id, Reason.RESET)
        detach_volume.forget(tx, call.app.caller(call), volume)
    if wanted.migration_status:
        if volume.migration_status not in FREE_TO_MIGRATE:
            cut_short |= cancel_on(tx, volume.id, Reason.RESET)
        none = wanted.migration_status == "none"
        changes["migration_status"] = None if none else wanted.migration_status
    volumes.update(tx, volume.id, **changes)
    if wanted.status or detached or wanted.migration_status:
        now = volumes.get(tx, volume.id)
        check_volume.submit(tx, call.app.caller(call), now, cut_short=cut_short)


# -- image metadata ------------------------------------------------------------------------------


async def set_image_metadata(call: ApiCall) -> dict[str, Any]:
    given: dict[str, str] = call.body.metadata
    for key, value in given.items():
        if len(value.encode()) > LONGEST_IMAGE_VALUE:
            raise InvalidInput(f"metadata: the value of {key} is longer than 65535 bytes.")

    def write(tx: WriteTx) -> dict[str, str]:
        volume = locked_volume(tx, call, f"{IMAGE_METADATA}:set")
        rules.check_metadata(volume)
        merged = {**volume.image_metadata, **given}
        volumes.update(tx, volume.id, image_metadata=merged)
        return merged

    return {"metadata": await call.app.store.write(write)}


async def show_image_metadata(call: ApiCall) -> dict[str, Any]:
    volume_id, project = call.params["volume_id"], seen_by(call)
    volume: Volume = await call.app.store.read(lambda tx: volumes.get(tx, volume_id, project))
    call.require("volume:get_volume_metadata", owner_of(volume))
    if not volume.image_metadata:
        raise NotFound("Image metadata of volume", volume.id)
    return {"metadata": volume.image_metadata}


async def unset_image_metadata(call: ApiCall) -> None:
    key = call.body.key

    def write(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, f"{IMAGE_METADATA}:remove")
        rules.check_metadata(volume)
        if key not in volume.image_metadata:
            raise NotFound("Image metadata item", key)
        left = {name: value for name, value in volume.image_metadata.items() if name != key}
        volumes.update(tx, volume.id, image_metadata=left)

    await call.app.store.write(write)


def volume_action(
    name: str,
    handler: Any,
    summary: str,
    body: Any = None,
    *,
    success: int = 202,
    since: str | None = None,
    secret: bool = False,
    tag: str = "volume actions",
) -> Route:
    """The route of one action on a volume."""
    return Route(
        "POST",
        "/volumes/{volume_id}/action",
        handler,
        action=name,
        body=body,
        success=success,
        since=since,
        secret=secret,
        summary=summary,
        tags=(tag,),
    )


ROUTES: tuple[Route, ...] = (
    volume_action("os-extend", extend, "Grow a volume", Extend),
    volume_action(
        "os-extend_volume_completion",
        complete_extension,
        "Say what became of a growth on the host",
        CompleteExtension,
    ),
    volume_action(
        "os-set_bootable", set_bootable, "Set the bootable flag", SetBootable, success=200
    ),
    volume_action(
        "os-update_readonly_flag",
        update_readonly_flag,
        "Make a volume read-only, or writable",
        UpdateReadonlyFlag,
    ),
    volume_action("os-force_delete", force_delete, "Delete a volume whatever its status"),
    volume_action("os-reset_status", reset_status, "Set the status of a volume", ResetStatus),
    volume_action(
        "os-set_image_metadata",
        set_image_metadata,
        "Add image metadata",
        SetImageMetadata,
        success=200,
    ),
    volume_action(
        "os-show_image_metadata", show_image_metadata, "Show the image metadata", success=200
    ),
    volume_action(
        "os-unset_image_metadata",
        unset_image_metadata,
        "Remove one key of the image metadata",
        UnsetImageMetadata,
        success=200,
    ),
)
