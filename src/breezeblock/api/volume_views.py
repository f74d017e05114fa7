"""How volumes look on the wire: one Struct a view, its fields in the wire's order.

A field that a version or a caller does not know stays UNSET and is not written. What a view shows
besides the volume's own row (`Beside`) is read once for a whole list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from breezeblock.api.access import owner_of
from breezeblock.api.application import ApiCall
from breezeblock.model.attachments import Attachment
from breezeblock.model.volumes import Volume
from breezeblock.store import attachments, volume_types
from breezeblock.store.store import ReadTx
from breezeblock.web.types import timestamp

Links = list[dict[str, str]]


class VolumeSummary(Struct, frozen=True):
    """An element of the plain list."""

    id: str
    name: str | None
    links: Links


class Use(Struct, frozen=True):
    """An element of a volume's `attachments`; `id` is the volume's, as the wire has it."""

    id: str
    attachment_id: str
    volume_id: str
    server_id: str | None
    host_name: str | None
    device: str | None
    attached_at: str | None


class VolumeDetail(Struct, frozen=True, kw_only=True):
    """A volume in full."""

    id: str
    status: str
    size: int
    availability_zone: str | None
    created_at: str | None
    updated_at: str | None
    name: str | None
    description: str | None
    volume_type: str | None
    snapshot_id: str | None
    source_volid: str | None
    metadata: dict[str, str]
    links: Links
    user_id: str
    bootable: str
    encrypted: bool
    replication_status: str | None
    consistencygroup_id: str | None
    multiattach: bool
    attachments: list[Use]
    migration_status: str | UnsetType | None = UNSET
    group_id: str | UnsetType | None = UNSET
    provider_id: str | UnsetType | None = UNSET
    shared_targets: bool | UnsetType = UNSET
    service_uuid: str | UnsetType | None = UNSET
    cluster_name: str | UnsetType | None = UNSET
    volume_type_id: str | UnsetType = UNSET
    encryption_key_id: str | UnsetType = UNSET
    consumes_quota: bool | UnsetType = UNSET
    tenant: str | UnsetType = field(default=UNSET, name="os-vol-tenant-attr:tenant_id")
    host: str | UnsetType | None = field(default=UNSET, name="os-vol-host-attr:host")
    migstat: str | UnsetType | None = field(default=UNSET, name="os-vol-mig-status-attr:migstat")
    name_id: str | UnsetType | None = field(default=UNSET, name="os-vol-mig-status-attr:name_id")
    volume_image_metadata: dict[str, str] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Beside:
    """Names of the types, and the complete attachments, of the volumes to be shown."""

    types: Mapping[str, str]
    attached: Mapping[str, list[Attachment]]


def beside(tx: ReadTx, volumes: Iterable[Volume]) -> Beside:
    """What the views of these volumes need: two queries, however many there are."""
    attached = attachments.attached_to(tx, (volume.id for volume in volumes))
    return Beside(volume_types.names(tx), attached)


def summary(call: ApiCall, volume: Volume) -> VolumeSummary:
    return VolumeSummary(volume.id, volume.name, call.link("volumes", volume.id))


def detail(
    call: ApiCall, volume: Volume, known: Beside, *, extended: bool = True, oldest: bool = False
) -> VolumeDetail:
    """The volume as the caller sees it; replies to create and update are not `extended`.

    `oldest`: as of the first version, whatever the request's is.
    """
    admin = call.identity.is_admin
    uses = known.attached.get(volume.id, [])
    return VolumeDetail(
        id=volume.id,
        status=volume.shown_status,
        size=volume.size,
        availability_zone=volume.availability_zone,
        created_at=timestamp(volume.created_at),
        updated_at=timestamp(volume.updated_at),
        name=volume.name,
        description=volume.description,
        volume_type=known.types.get(volume.volume_type_id),
        snapshot_id=volume.snapshot_id,
        source_volid=volume.source_volid,
        metadata=_metadata(volume, uses),
        links=call.link("volumes", volume.id),
        user_id=volume.user_id,
        bootable="true" if volume.bootable else "false",
        encrypted=volume.encryption_key_id is not None,
        replication_status=volume.replication_status,
        consistencygroup_id=None,
        multiattach=volume.multiattach,
        attachments=[_use(call, one) for one in uses],
        migration_status=volume.migration_status if admin else UNSET,
        **({} if oldest else _by_version(call, volume)),
        **(_extended(call, volume) if extended else {}),
    )


def _by_version(call: ApiCall, volume: Volume) -> dict[str, Any]:
    """The fields that came with a microversion."""
    admin = call.identity.is_admin
    key = volume.encryption_key_id
    fields: tuple[tuple[int, str, Any], ...] = (
        (13, "group_id", volume.group_id),
        (21, "provider_id", volume.provider_id if admin else UNSET),
        (48, "shared_targets", volume.shared_targets),
        (48, "service_uuid", volume.service_uuid),
        (61, "cluster_name", None if admin else UNSET),
        (63, "volume_type_id", volume.volume_type_id),
        (64, "encryption_key_id", UNSET if key is None else key),
        (65, "consumes_quota", volume.consumes_quota),
    )
    minor = call.version.minor
    return {name: value for since, name, value in fields if minor >= since}


def _extended(call: ApiCall, volume: Volume) -> dict[str, Any]:
    """The fields that a policy rule opens."""
    owner = owner_of(volume)
    fields: dict[str, Any] = {}
    if call.allowed("volume_extension:volume_tenant_attribute", owner):
        fields["tenant"] = volume.project_id
    if call.allowed("volume_extension:volume_host_attribute", owner):
        fields["host"] = volume.host
    if call.allowed("volume_extension:volume_mig_status_attribute", owner):
        fields |= {"migstat": volume.migration_status, "name_id": None}
    if volume.image_metadata and call.allowed("volume_extension:volume_image_metadata:show", owner):
        fields["volume_image_metadata"] = volume.image_metadata
    return fields


def _metadata(volume: Volume, uses: Iterable[Attachment]) -> dict[str, str]:
    """The user's metadata and what the wire mixes in: the flag, a legacy attachment's mode.

    Filters find what is mixed in, too (`store/volumes.py`).
    """
    shown = dict(volume.metadata)
    if volume.readonly is not None:
        shown["readonly"] = str(volume.readonly)
    for use in uses:
        if use.legacy and use.attach_mode:
            shown["attached_mode"] = use.attach_mode
    return shown


def _use(call: ApiCall, attachment: Attachment) -> Use:
    may_see_host = call.identity.is_admin or call.identity.is_service
    return Use(
        id=attachment.volume_id,
        attachment_id=attachment.id,
        volume_id=attachment.volume_id,
        server_id=attachment.instance_uuid,
        host_name=attachment.host_name if may_see_host else None,
        device=attachment.mountpoint,
        attached_at=timestamp(attachment.attached_at),
    )
