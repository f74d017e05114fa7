"""Volumes: the data, and the rules of which call is allowed when.

Rules after the shared facts, state_machines.md. They are pure: they look at rows that the caller
read in the transaction that will write, and raise InvalidState with a sentence for the client.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from breezeblock.model.errors import Conflict, InvalidState
from breezeblock.model.volume_types import VolumeType

DELETABLE = frozenset(
    {"available", "error", "error_restoring", "error_extending", "error_managing"}
)
CLONABLE = frozenset({"available", "in-use"})
AWAITING_TRANSFER = "awaiting-transfer"
"""Offered to another project (`model/transfers.py`): no work ends this, but somebody's decision."""
RESETTABLE = frozenset(
    {
        "creating",
        "available",
        "deleting",
        "error",
        "error_deleting",
        "error_managing",
        "managing",
        "attaching",
        "in-use",
        "detaching",
        "maintenance",
        "restoring-backup",
        "error_restoring",
        "reserved",
        AWAITING_TRANSFER,
        "backing-up",
        "error_backing-up",
        "error_extending",
        "downloading",
        "uploading",
        "retyping",
        "extending",
    }
)
"""Statuses that an administrator may name to os-reset_status; `deleting` is then refused."""
FREE_TO_MIGRATE = frozenset({None, "deleting", "error", "success"})
NOT_REPLICATED = frozenset({None, "disabled", "not-capable"})
SHOWN_AS = {
    "managing": "creating",
    "error_managing": "error",
    "error_managing_deleting": "deleting",
}


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume as it stands in the database. `size` is GiB, `host` is host@backend#pool."""

    id: str
    project_id: str
    user_id: str
    size: int
    status: str
    volume_type_id: str
    created_at: datetime
    name: str | None = None
    description: str | None = None
    previous_status: str | None = None
    attach_status: str = "detached"
    migration_status: str | None = None
    availability_zone: str | None = None
    host: str | None = None
    service_uuid: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    bootable: bool = False
    multiattach: bool = False
    readonly: bool | None = None
    shared_targets: bool = False
    encryption_key_id: str | None = None
    replication_status: str | None = None
    provider_id: str | None = None
    group_id: str | None = None
    consumes_quota: bool = True
    metadata: dict[str, str] = {}
    image_metadata: dict[str, str] = {}
    updated_at: datetime | None = None

    @property
    def shown_status(self) -> str:
        """The status as clients see it: internal ones have a public name."""
        return SHOWN_AS.get(self.status, self.status)

    @property
    def unadopted(self) -> bool:
        """Whether its adoption has not come to its end: the size is not known before. What the
        backend holds of it is the operator's, and none of ours."""
        return self.size == 0

    @property
    def backend(self) -> str | None:
        """host@backend, the name of the service that serves it."""
        return self.host.partition("#")[0] if self.host else None

    @property
    def pool(self) -> str:
        """The pool's own name, behind the #."""
        return self.host.partition("#")[2] if self.host else ""


def _refuse(what: str, volume: Volume, why: str) -> InvalidState:
    return InvalidState(f"Volume {volume.id} cannot be {what}: {why}.")


def check_delete(volume: Volume, *, snapshots: int, attached: bool, force: bool = False) -> None:
    """Whether a volume may be deleted (cascade: pass 0 snapshots once they were checked)."""
    _check_removal("deleted", volume, snapshots=snapshots, attached=attached, force=force)


def check_unmanage(volume: Volume, *, snapshots: int, attached: bool) -> None:
    """Whether we may let go of a volume."""
    _check_removal("unmanaged", volume, snapshots=snapshots, attached=attached)
    if volume.encryption_key_id:
        raise _refuse("unmanaged", volume, "it is encrypted, and its key would be lost")


def check_stays(what: str, volume: Volume) -> None:
    """Whether the volume is not on its way to another place: not even force removes it then."""
    if volume.migration_status not in FREE_TO_MIGRATE:
        raise _refuse(what, volume, "it is being migrated")


def _check_removal(
    what: str, volume: Volume, *, snapshots: int, attached: bool, force: bool = False
) -> None:
    if attached or volume.attach_status == "attached":
        raise _refuse(what, volume, "it is attached; detach it first")
    check_stays(what, volume)
    if volume.group_id:
        raise _refuse(what, volume, f"it belongs to group {volume.group_id}")
    if snapshots:
        raise _refuse(what, volume, f"it has {snapshots} snapshot(s)")
    if not force and volume.status not in DELETABLE:
        raise _refuse(
            what,
            volume,
            f"its status is {volume.shown_status}, "
            f"it must be one of {', '.join(sorted(DELETABLE))}",
        )


def check_extend(volume: Volume, new_size: int, *, in_use_allowed: bool) -> None:
    """Whether a volume may grow to `new_size` GiB (in use: from microversion 3.42)."""
    allowed = {"available", "in-use"} if in_use_allowed else {"available"}
    if volume.status not in allowed:
        raise _refuse(
            "extended",
            volume,
            f"its status is {volume.shown_status}, it must be {' or '.join(sorted(allowed))}",
        )
    if volume.migration_status not in FREE_TO_MIGRATE:
        raise _refuse("extended", volume, "it is being migrated")
    if new_size <= volume.size:
        raise InvalidState(
            f"new_size must be greater than the present size: {new_size} asked, {volume.size} now."
        )


def check_clone(volume: Volume) -> None:
    """Whether a new volume may be made from this one."""
    if volume.status not in CLONABLE:
        raise _refuse("cloned", volume, f"its status is {volume.shown_status}")


def check_metadata(volume: Volume) -> None:
    """Whether metadata may be changed."""
    if volume.status in ("maintenance", "uploading"):
        raise _refuse("changed", volume, f"its status is {volume.status}")


def check_upload(volume: Volume, *, connected: bool) -> None:
    """Whether the volume may be copied into an image: nobody writes to it meanwhile."""
    if volume.status == "in-use" or connected:
        raise _refuse("uploaded", volume, "a host uses it, and copying it then is not enabled")
    if volume.status != "available":
        raise _refuse("uploaded", volume, f"its status is {volume.shown_status}")
    if volume.migration_status not in FREE_TO_MIGRATE:
        raise _refuse("uploaded", volume, "it is being migrated")
    if volume.encryption_key_id:
        raise _refuse("uploaded", volume, "it is encrypted, and nobody could read the image")


def check_update(volume: Volume) -> None:
    """Whether name, description and flags may be changed."""
    if volume.status == "maintenance":
        raise _refuse("changed", volume, "its status is maintenance")


def check_readonly_flag(volume: Volume) -> None:
    """Whether the volume may be made read-only, or writable again."""
    if volume.status != "available":
        raise _refuse("made read-only or writable", volume, f"its status is {volume.shown_status}")


def check_snapshot(volume: Volume, *, in_use_allowed: bool) -> None:
    """Whether a snapshot may be taken (in use: with force, or from microversion 3.66)."""
    allowed = {"available", "in-use"} if in_use_allowed else {"available"}
    if volume.host is None or volume.status not in allowed:
        raise _refuse("snapshotted", volume, f"its status is {volume.shown_status}")
    if volume.migration_status not in FREE_TO_MIGRATE:
        raise _refuse("snapshotted", volume, "it is being migrated")


def check_reimage(
    volume: Volume, *, attachments: int, connected: bool, reserved_allowed: bool
) -> None:
    """Whether the volume's content may be replaced by an image's. Raises Conflict for one that
    several attachments share."""
    if attachments > 1:
        raise Conflict(
            f"Volume {volume.id} cannot be reimaged: it has {attachments} attachments, one at most "
            "is allowed."
        )
    allowed = {"available", "error"} | ({"reserved"} if reserved_allowed else set())
    if volume.status not in allowed:
        raise _refuse(
            "reimaged",
            volume,
            f"its status is {volume.shown_status}, it must be {' or '.join(sorted(allowed))}",
        )
    if volume.host is None:
        raise _refuse("reimaged", volume, "no backend holds it")
    if volume.migration_status not in FREE_TO_MIGRATE:
        raise _refuse("reimaged", volume, "it is being migrated")
    if connected:
        raise _refuse("reimaged", volume, "a host is connected with it")


def check_retype(
    volume: Volume, present: VolumeType, wanted: VolumeType, *, front_end_changes: bool
) -> None:
    """Whether the volume may get another type. `front_end_changes`: the types differ in what its
    hosts have to keep, which those that have it attached would not learn."""
    _check_stays("retyped", volume)
    if wanted.id == present.id:
        raise InvalidState(f"Volume {volume.id} is of type {wanted.name} already.")
    if volume.status != "available":
        if wanted.multiattach != present.multiattach:
            raise _refuse(
                "retyped", volume, "the types differ in multiattach, and it is attached; detach it"
            )
        if front_end_changes:
            raise _refuse(
                "retyped",
                volume,
                "the types differ in what its hosts have to keep, and it is attached; detach it",
            )
    check_size(volume.size, wanted.extra_specs)


def check_migrate(volume: Volume, target: str, *, snapshots: int) -> None:
    """Whether the volume may be moved to that place (host@backend, or one of its pools)."""
    _check_stays("migrated", volume)
    if volume.replication_status not in NOT_REPLICATED:
        raise _refuse("migrated", volume, "it is replicated")
    if snapshots:
        raise _refuse("migrated", volume, f"it has {snapshots} snapshot(s)")
    if target == volume.host:
        raise _refuse("migrated", volume, "it is there already")


def check_exchange(volume: Volume, new: Volume) -> None:
    """Whether a server's volume may have been exchanged for another: not in the middle of work
    that moves one of them."""
    for one in (volume, new):
        if one.migration_status not in FREE_TO_MIGRATE:
            raise _refuse("exchanged", one, "it is being migrated")


def _check_stays(what: str, volume: Volume) -> None:
    """Whether nothing else is going on with the volume, or ties it to others."""
    if volume.status not in ("available", "in-use"):
        raise _refuse(
            what,
            volume,
            f"its status is {volume.shown_status}, it must be available or in-use",
        )
    check_stays(what, volume)
    if volume.group_id:
        raise _refuse(what, volume, f"it belongs to group {volume.group_id}")


def check_size(size: int, specs: dict[str, str]) -> None:
    """The volume type's limits on the size, `provisioning:min_vol_size` and `max_vol_size`."""
    least = _whole(specs.get("provisioning:min_vol_size"))
    most = _whole(specs.get("provisioning:max_vol_size"))
    if least is not None and size < least:
        raise InvalidState(f"size: {size} is below the volume type's minimum of {least} GiB.")
    if most is not None and size > most:
        raise InvalidState(f"size: {size} is above the volume type's maximum of {most} GiB.")


def _whole(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
