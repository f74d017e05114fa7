"""Snapshots: the data, and the rules of which call is allowed when."""

from __future__ import annotations

from datetime import datetime

import msgspec

from breezeblock.model.errors import InvalidState

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
    if snapshot.group_snapshot_id:
        raise InvalidState(f"Snapshot {snapshot.id} belongs to a group snapshot.")
    if not force and snapshot.status not in ("available", "error"):
        raise InvalidState(
            f"Snapshot {snapshot.id} cannot be deleted: its status is {snapshot.status}, "
            "it must be available or error."
        )


def check_source(snapshot: Snapshot) -> None:
    """Whether a volume may be made from it."""
    if snapshot.status != "available":
        raise InvalidState(
            f"Snapshot {snapshot.id} cannot be a source: its status is {snapshot.status}."
        )
