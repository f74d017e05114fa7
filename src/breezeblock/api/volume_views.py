"""How volumes look on the wire: one Struct a view, its fields in the wire's order.

A field that a version or a caller does not know stays UNSET and is not written. What depends on the
call alone is worked out once for a whole list (`Details`); texts that the database has made go into
the answer as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from breezeblock.api.application import ApiCall
from breezeblock.api.shown import Opened, as_shown, raw
from breezeblock.model.volumes import SHOWN_AS, Volume
from breezeblock.store.shown_volumes import ShownVolume
from breezeblock.store.shown_volumes import Use as Used

Links = list[dict[str, str]]


class VolumeSummary(Struct, frozen=True, gc=False):
    """An element of the plain list."""

    id: str
    name: str | None
    links: Links


class Use(Struct, frozen=True, gc=False):
    """An element of a volume's `attachments`; `id` is the volume's, as the wire has it."""

    id: str
    attachment_id: str
    volume_id: str
    server_id: str | None
    host_name: str | None
    device: str | None
    attached_at: str | None


class VolumeDetail(Struct, frozen=True, kw_only=True, gc=False):
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


class Summaries:
    """Elements of the plain list, for one call."""

    def __init__(self, call: ApiCall) -> None:
        self._links = _Links(call)

    def __call__(self, volume_id: str, name: str | None) -> VolumeSummary:
        return VolumeSummary(volume_id, name, self._links(volume_id))


class Details:
    """Volumes in full, as the caller of one call sees them.

    Replies to create and update are not `extended`. `oldest`: as of the first version, whatever the
    request's is.
    """

    def __init__(self, call: ApiCall, *, extended: bool = True, oldest: bool = False) -> None:
        self._call = call
        self._links = _Links(call)
        self._minor = 0 if oldest else call.version.minor
        self._admin = call.identity.is_admin
        self._sees_hosts = call.identity.is_admin or call.identity.is_service
        self._opened = Opened(call) if extended else _nothing

    def __call__(self, volume: ShownVolume) -> VolumeDetail:
        minor, admin, is_open = self._minor, self._admin, self._opened
        uses = volume.uses
        migration = is_open("volume_extension:volume_mig_status_attribute", volume)
        return VolumeDetail(
            id=volume.id,
            status=SHOWN_AS.get(volume.status, volume.status),
            size=volume.size,
            availability_zone=volume.availability_zone,
            created_at=volume.created_at,
            updated_at=volume.updated_at,
            name=volume.name,
            description=volume.description,
            volume_type=volume.type_name,
            snapshot_id=volume.snapshot_id,
            source_volid=volume.source_volid,
            metadata=_metadata(volume, uses),
            links=self._links(volume.id),
            user_id=volume.user_id,
            bootable="true" if volume.bootable else "false",
            encrypted=volume.encryption_key_id is not None,
            replication_status=volume.replication_status,
            consistencygroup_id=None,
            multiattach=volume.multiattach,
            attachments=[self._use(volume.id, one) for one in uses],
            migration_status=volume.migration_status if admin else UNSET,
            group_id=volume.group_id if minor >= 13 else UNSET,
            provider_id=volume.provider_id if minor >= 21 and admin else UNSET,
            shared_targets=volume.shared_targets if minor >= 48 else UNSET,
            service_uuid=volume.service_uuid if minor >= 48 else UNSET,
            cluster_name=None if minor >= 61 and admin else UNSET,
            volume_type_id=volume.volume_type_id if minor >= 63 else UNSET,
            encryption_key_id=(volume.encryption_key_id or UNSET) if minor >= 64 else UNSET,
            consumes_quota=volume.consumes_quota if minor >= 65 else UNSET,
            tenant=(
                volume.project_id
                if is_open("volume_extension:volume_tenant_attribute", volume)
                else UNSET
            ),
            host=(
                volume.host if is_open("volume_extension:volume_host_attribute", volume) else UNSET
            ),
            migstat=volume.migration_status if migration else UNSET,
            name_id=None if migration else UNSET,
            volume_image_metadata=(
                raw(volume.image_metadata)
                if volume.image_metadata != "{}"
                and is_open("volume_extension:volume_image_metadata:show", volume)
                else UNSET
            ),
        )

    def _use(self, volume_id: str, use: Used) -> Use:
        return Use(
            id=volume_id,
            attachment_id=use.id,
            volume_id=volume_id,
            server_id=use.server_id,
            host_name=use.host_name if self._sees_hosts else None,
            device=use.device,
            attached_at=use.attached_at,
        )


class _Links:
    """The `links` of volumes, of which only the id differs (`Call.link`)."""

    def __init__(self, call: ApiCall) -> None:
        self._before, self._between, self._after = (
            msgspec.json.encode(call.link("volumes", "\n")).decode().split("\\n")
        )

    def __call__(self, volume_id: str) -> Any:
        return raw(f"{self._before}{volume_id}{self._between}{volume_id}{self._after}")


def _nothing(_rule: str, _volume: ShownVolume) -> bool:
    """Replies to create and update leave out what rules open."""
    return False


def _metadata(volume: ShownVolume, uses: Sequence[Used]) -> Any:
    """The user's metadata and what the wire mixes in: the flag, a legacy attachment's mode.

    Filters find what is mixed in, too (`store/volumes.py`).
    """
    mixed = {} if volume.readonly is None else {"readonly": str(volume.readonly)}
    for use in uses:
        if use.legacy and use.mode:
            mixed["attached_mode"] = use.mode
    return msgspec.json.decode(volume.metadata) | mixed if mixed else raw(volume.metadata)


def made(volume: Volume, type_name: str) -> ShownVolume:
    """A volume that has just been made, as it will be read: nothing uses it yet."""
    return as_shown(ShownVolume, volume, type_name=type_name, used=None)
