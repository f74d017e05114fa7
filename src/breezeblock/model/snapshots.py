"""Snapshots: the data, and the rules of which call is allowed when."""

from __future__ import annotations

from datetime import datetime

import msgspec

from breezeblock.model.errors import Conflict, InvalidState
from breezeblock.model.volumes import FREE_TO_MIGRATE, Volume

RESETTABLE = frozenset(
    {
        "available",
        "backing-up",
        "creating",
        "deleted",
        "deleting",
        "error",
        "error_deleting",
        "restoring",
        "unmanaging",
        "updating",
    }
)
"""Statuses that an administrator may name to os-reset_status."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot as it stands in the database; `size` is the volume's in GiB when it was taken."""

    id: str
    project_id: str
    user_id: str
    volume_id: str
    size: int
    status: str
    volume_type_id: str
    created_at: datetime
    name: str | None = None
    description: str | None = None
    progress: str = "0%"
    group_snapshot_id: str | None = None
    consumes_quota: bool = True
    metadata: dict[str, str] = {}
    updated_at: datetime | None = None


def check_delete(snapshot: Snapshot, *, force: bool = False) -> None:
    """Whether a snapshot may be deleted."""
    _check_removal("deleted", snapshot, force=force)


def check_unmanage(snapshot: Snapshot) -> None:
    """Whether we may let go of a snapshot."""
    _check_removal("unmanaged", snapshot, force=False)


def _check_removal(what: str, snapshot: Snapshot, *, force: bool) -> None:
    if snapshot.group_snapshot_id:
        raise InvalidState(f"Snapshot {snapshot.id} belongs to a group snapshot.")
    if not force and snapshot.status not in ("available", "error"):
        raise InvalidState(
            f"Snapshot {snapshot.id} cannot be {what}: its status is {snapshot.status}, "
            "it must be available or error."
        )


def check_source(snapshot: Snapshot) -> None:
    """Whether a volume may be made from it."""
    if snapshot.status != "available":
        raise InvalidState(
            f"Snapshot {snapshot.id} cannot be a source: its status is {snapshot.status}."
        )


def check_revert(
    volume: Volume, latest: Snapshot | None, asked: str | None, *, connected: bool
) -> Snapshot:
    """The snapshot that the volume may be put back to: its latest one, while nobody has the volume.

    Raises InvalidState when another one was asked for, Conflict when it cannot be done now.
    """
    if latest is None:
        raise InvalidState(f"Volume {volume.id} has no snapshots.")
    if asked != latest.id:
        raise InvalidState(f"snapshot_id: it must be the latest snapshot of volume {volume.id}.")
    if latest.size != volume.size:
        raise InvalidState(
            f"Volume {volume.id} has {volume.size} GiB, and had {latest.size} when snapshot "
            f"{latest.id} was taken."
        )
    refused = f"Volume {volume.id} cannot be put back to snapshot {latest.id}"
    if volume.status != "available":
        raise Conflict(f"{refused}: its status is {volume.shown_status}, it must be available.")
    if volume.migration_status not in FREE_TO_MIGRATE:
        raise Conflict(f"{refused}: it is being migrated.")
    if latest.status != "available":
        raise Conflict(f"{refused}: the snapshot's status is {latest.status}.")
    if connected:
        raise Conflict(f"{refused}: a host is connected with it.")
    return latest


REPORTABLE = {
    "creating": ("creating", "available", "error"),
    "deleting": ("deleting", "error_deleting"),
}
"""What may be said of a snapshot's progress, by its present status."""


def check_report(snapshot: Snapshot, status: str) -> None:
    """Whether whoever freezes the volume, or gives the snapshot up, may say that it is so far."""
    allowed = REPORTABLE.get(snapshot.status, ())
    if status not in allowed:
        wanted = f"it must be one of {', '.join(allowed)}" if allowed else "nothing is under way"
        raise InvalidState(
            f"Snapshot {snapshot.id} is {snapshot.status}, its status cannot become "
            f"{status[:255]}: {wanted}."
        )
