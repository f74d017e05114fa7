"""Create a volume: what the request may say, and what follows from it.

`volumes.py` puts the handler into its routes. All that the request refers to (type, source, zone,
quota) is read in the transaction that writes the volume and opens the operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import field

from breezeblock.api import image_source
from breezeblock.api.application import ApiCall, Application
from breezeblock.api.scope import own_project, seen_by
from breezeblock.api.volume_views import Details, made
from breezeblock.images.base import Image
from breezeblock.images.staging import COMPARED
from breezeblock.model import snapshots as snapshot_rules
from breezeblock.model import volumes as rules
from breezeblock.model.encryptions import refuse_volumes
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.volume_types import VolumeType
from breezeblock.model.volumes import Volume
from breezeblock.scheduler.request import hinted_ids
from breezeblock.store import (
    default_types,
    encryptions,
    quotas,
    services,
    snapshots,
    volume_types,
    volumes,
)
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.faults import Fault
from breezeblock.web.microversion import Version
from breezeblock.web.types import (
    UNSET,
    Body,
    Bool,
    LooseBody,
    Metadata,
    Name,
    Size,
    Text,
    Text1,
    UnsetType,
    Uuid,
)
from breezeblock.workflows import create_volume
from breezeblock.workflows.create_volume import Data, Origin


class NewVolume(Body, frozen=True):
    """The wish. Clients send null for all that they do not ask for."""

    name: Name | UnsetType | None = UNSET
    description: Name | UnsetType | None = UNSET
    display_name: Name | UnsetType | None = UNSET
    display_description: Name | UnsetType | None = UNSET
    size: Size | None = None
    volume_type: Text | None = None
    metadata: Metadata | None = None
    snapshot_id: Uuid | None = None
    source_volid: Uuid | None = None
    consistencygroup_id: Uuid | None = None
    availability_zone: Text1 | None = None
    multiattach: Bool | None = None
    image_id: Text | None = None
    image_ref: Text | None = field(default=None, name="imageRef")
    group_id: Text | None = None
    backup_id: Uuid | None = None


class LooseNewVolume(NewVolume, frozen=True, forbid_unknown_fields=False):
    """The wish before 3.53, when unknown keys were ignored."""


class Hints(LooseBody, frozen=True):
    """Where the volume shall be, or shall not. Volumes are named by their ids."""

    local_to_instance: Uuid | None = None
    different_host: str | list[str] | UnsetType = UNSET
    same_host: str | list[str] | UnsetType = UNSET
    query: str | dict[str, Any] | UnsetType = UNSET


class CreateVolume(Body, frozen=True):
    volume: NewVolume
    hints: Hints | None = field(default=None, name="OS-SCH-HNT:scheduler_hints")


class LooseCreateVolume(Body, frozen=True):
    volume: LooseNewVolume
    hints: Hints | None = field(default=None, name="OS-SCH-HNT:scheduler_hints")


def create_body(version: Version) -> type:
    return CreateVolume if version >= (3, 53) else LooseCreateVolume


@dataclass(frozen=True, slots=True)
class Start:
    """What the volume starts from, and what it takes over from there unless told otherwise."""

    origin: Origin
    size: int
    volume_type_id: str | None
    zone: str | None
    bootable: bool
    image_metadata: dict[str, str]
    type_named: str | None = None


async def create(call: ApiCall) -> dict[str, Any]:
    body: CreateVolume = call.body
    _refuse_what_cannot_be(call, body.volume)
    hints = _checked_hints(body.hints)
    wanted, image = await _with_image(call, body.volume)
    volume, volume_type = await call.app.store.write(
        lambda tx: _create(tx, call, wanted, image, hints)
    )
    shown = made(volume, volume_type.name)
    return {"volume": Details(call, extended=False)(shown)}


def _refuse_what_cannot_be(call: ApiCall, wanted: NewVolume) -> None:
    if wanted.multiattach:
        raise InvalidInput(
            "multiattach: take a volume type with the extra spec multiattach = '<is> True'."
        )
    image = wanted.image_ref or wanted.image_id
    backup = wanted.backup_id if call.at_least(3, 47) else None
    sources = [one for one in (wanted.snapshot_id, wanted.source_volid, image, backup) if one]
    if len(sources) > 1:
        raise InvalidInput("snapshot_id, source_volid, imageRef, backup_id: only one may be given.")
    if backup:
        raise InvalidInput("backup_id: this deployment has no backup service.")
    group = wanted.group_id if call.at_least(3, 13) else None
    if group or wanted.consistencygroup_id:
        raise NotFound("Group", group or wanted.consistencygroup_id or "")


async def _with_image(call: ApiCall, wanted: NewVolume) -> tuple[NewVolume, Image | None]:
    """The image that the volume is to be made from; or the snapshot that such an image stands for.

    Raises InvalidInput, Conflict, Forbidden, Unavailable.
    """
    named = wanted.image_ref or wanted.image_id
    if not named:
        return wanted, None
    call.require("volume:create_from_image")
    key = "imageRef" if wanted.image_ref else "image_id"
    image = await image_source.find(call, named, key)
    snapshot = image_source.snapshot_meant(image) if call.at_least(3, 46) else None
    if snapshot is not None:
        return msgspec.structs.replace(wanted, snapshot_id=snapshot), None
    if wanted.size:
        image_source.check_usable(image, wanted.size, key)
    return wanted, image


def _checked_hints(hints: Hints | None) -> dict[str, Any]:
    """The hints as the scheduler reads them. Raises InvalidInput for what is no volume id."""
    if hints is None:
        return {}
    for name in ("same_host", "different_host"):
        given = getattr(hints, name)
        if given is UNSET:
            continue
        ids = hinted_ids(given)
        if ids is None or len(set(ids)) < len(ids):
            raise InvalidInput(f"OS-SCH-HNT:scheduler_hints.{name} must be ids of volumes.")
    known: dict[str, Any] = msgspec.to_builtins(hints)
    return known


def _create(
    tx: WriteTx, call: ApiCall, wanted: NewVolume, image: Image | None, hints: dict[str, Any]
) -> tuple[Volume, VolumeType]:
    start = _of_image(image) if image else _start(tx, call, wanted)
    volume_type, encrypted = _volume_type(tx, call, wanted, start)
    refuse_volumes(volume_type.name, encrypted=encrypted)
    size = wanted.size or (start.size if start else None)
    if not size:
        raise InvalidInput("size: it is needed unless the volume is made of another or a snapshot.")
    if start and size < start.size:
        raise InvalidInput(f"size: {size} is less than the source's {start.size} GiB.")
    rules.check_size(size, volume_type.extra_specs)
    if volume_type.multiattach:
        call.require("volume:multiattach")
    zones = _zones(tx, call, wanted.availability_zone, volume_type, start)
    name = wanted.display_name if wanted.name is UNSET else wanted.name
    text = wanted.display_description if wanted.description is UNSET else wanted.description
    volume = Volume(
        id=new_id(),
        project_id=own_project(call),
        user_id=call.identity.user_id,
        created_at=tx.now,
        status="creating",
        size=size,
        volume_type_id=volume_type.id,
        name=None if name is UNSET else name,
        description=None if text is UNSET else text,
        availability_zone=zones[0] if len(zones) == 1 else None,
        snapshot_id=wanted.snapshot_id,
        source_volid=wanted.source_volid,
        multiattach=volume_type.multiattach,
        metadata=wanted.metadata or {},
        bootable=start.bootable if start else False,
        image_metadata=start.image_metadata if start else {},
    )
    data = Data(
        type_name=volume_type.name,
        extra_specs=volume_type.extra_specs,
        availability_zones=zones,
        hints=hints,
        origin=start.origin if start else None,
    )
    create_volume.submit(tx, call.app.caller(call), volume, data, call.app.quota_defaults)
    return volume, volume_type


def _of_image(image: Image) -> Start:
    metadata = image_source.metadata(image)
    said = {key: metadata[key] for key in COMPARED if key in metadata}
    return Start(
        Origin("image", image.id, said=said),
        size=0,
        volume_type_id=None,
        zone=None,
        bootable=True,
        image_metadata=metadata,
        type_named=image.properties.get(image_source.VOLUME_TYPE),
    )


def _start(tx: ReadTx, call: ApiCall, wanted: NewVolume) -> Start | None:
    project = seen_by(call)
    if wanted.snapshot_id:
        snapshot = snapshots.get(tx, wanted.snapshot_id, project)
        snapshot_rules.check_source(snapshot)
        source = volumes.get(tx, snapshot.volume_id)
        origin = Origin("snapshot", snapshot.id, source.host or "")
        size, type_id = snapshot.size, snapshot.volume_type_id
    elif wanted.source_volid:
        source = volumes.get(tx, wanted.source_volid, project)
        rules.check_clone(source)
        origin = Origin("volume", source.id, source.host or "")
        size, type_id = source.size, source.volume_type_id
    else:
        return None
    return Start(
        origin, size, type_id, source.availability_zone, source.bootable, source.image_metadata
    )


def _volume_type(
    tx: ReadTx, call: ApiCall, wanted: NewVolume, start: Start | None
) -> tuple[VolumeType, bool]:
    """The type of the new volume, and whether volumes of it are to be encrypted."""
    chosen = _named_type(tx, call, wanted, start)
    if chosen is None:
        return usual_type(tx, call)
    return chosen, encryptions.find(tx, chosen.id) is not None


def _named_type(
    tx: ReadTx, call: ApiCall, wanted: NewVolume, start: Start | None
) -> VolumeType | None:
    """The type that the request names, or what the volume is made of has."""
    if wanted.volume_type:
        chosen = volume_types.resolve(tx, wanted.volume_type, seen_by(call))
        if start and start.volume_type_id and chosen.id != start.volume_type_id:
            _check_same_backend(tx, call, chosen, volume_types.get(tx, start.volume_type_id))
        return chosen
    if start and start.volume_type_id:
        return volume_types.get(tx, start.volume_type_id)
    if start and start.type_named:
        return _type_of_image(tx, call, start.type_named)
    return None


def usual_type(tx: ReadTx, call: ApiCall) -> tuple[VolumeType, bool]:
    """The type of volumes for which none is named: the project's, else the configured one; and
    whether volumes of it are to be encrypted."""
    name = call.app.config.default_volume_type
    found = default_types.usual(tx, call.identity.project_id, seen_by(call), name)
    if found is None:
        # The client did nothing wrong: the operator has to make the type or configure another.
        raise Fault(500, f"The configured default volume type {name} does not exist.")
    return found


def _type_of_image(tx: ReadTx, call: ApiCall, name: str) -> VolumeType:
    try:
        return volume_types.resolve(tx, name, seen_by(call))
    except NotFound:
        raise InvalidInput(
            f"volume_type: the image asks for {name}, which could not be found; name another."
        ) from None


def _check_same_backend(tx: ReadTx, call: ApiCall, chosen: VolumeType, before: VolumeType) -> None:
    """A copy is made where its source is, so another type must lead there, too."""
    known = services.all_services(tx, call.app.config.service_down_time)
    one_backend = sum(service.binary == services.VOLUME for service in known) <= 1
    names = {one.extra_specs.get("volume_backend_name") for one in (chosen, before)}
    if not one_backend and (len(names) > 1 or names == {None}):
        raise InvalidInput(
            f"volume_type: {chosen.name} does not lead to the backend of the source, whose type is "
            f"{before.name}."
        )


def _zones(
    tx: ReadTx, call: ApiCall, asked: str | None, volume_type: VolumeType, start: Start | None
) -> tuple[str, ...]:
    """The zones that the volume may be in; none means any. Raises InvalidInput."""
    if asked is None:
        return (start.zone,) if start and start.zone else volume_type.zones
    known = services.all_services(tx, call.app.config.service_down_time)
    zones = {one.availability_zone for one in known if one.binary == services.VOLUME}
    if asked not in zones | {call.app.config.availability_zone}:
        raise InvalidInput(f"availability_zone: there is no zone {asked}.")
    if start and start.zone and asked != start.zone:
        raise InvalidInput(f"availability_zone: the source is in zone {start.zone}.")
    if volume_type.zones and asked not in volume_type.zones:
        raise InvalidInput(f"availability_zone: volumes of this type cannot be in zone {asked}.")
    return (asked,)


def check_volume_limit(tx: ReadTx, app: Application, project_id: str, size: int) -> None:
    """The quota's limit on the size of one volume. Raises OverQuota."""
    quotas.check_volume(tx, project_id, size, app.quota_defaults)
