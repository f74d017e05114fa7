"""How snapshots look on the wire."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from breezeblock.api.access import owner_of
from breezeblock.api.application import ApiCall
from breezeblock.model.snapshots import Snapshot
from breezeblock.web.types import timestamp


class SnapshotView(Struct, frozen=True, kw_only=True):
    """A snapshot on the wire. The plain list leaves out all that came after 3.0."""

    id: str
    created_at: str | None
    updated_at: str | None
    name: str | None
    description: str | None
    volume_id: str
    status: str
    size: int
    metadata: dict[str, str]
    group_snapshot_id: str | UnsetType | None = UNSET
    user_id: str | UnsetType = UNSET
    consumes_quota: bool | UnsetType = UNSET
    project: str | UnsetType = field(
        default=UNSET, name="os-extended-snapshot-attributes:project_id"
    )
    progress: str | UnsetType = field(
        default=UNSET, name="os-extended-snapshot-attributes:progress"
    )


def view(
    call: ApiCall, snapshot: Snapshot, *, detailed: bool = True, extended: bool = True
) -> SnapshotView:
    """The snapshot as the caller sees it; replies to create and update are not `extended`."""
    minor = call.version.minor if detailed else -1
    rule = "volume_extension:extended_snapshot_attributes"
    opened = detailed and extended and call.allowed(rule, owner_of(snapshot))
    return SnapshotView(
        id=snapshot.id,
        created_at=timestamp(snapshot.created_at),
        updated_at=timestamp(snapshot.updated_at),
        name=snapshot.name,
        description=snapshot.description,
        volume_id=snapshot.volume_id,
        status=snapshot.status,
        size=snapshot.size,
        metadata=snapshot.metadata,
        group_snapshot_id=snapshot.group_snapshot_id if minor >= 14 else UNSET,
        user_id=snapshot.user_id if minor >= 41 else UNSET,
        consumes_quota=snapshot.consumes_quota if minor >= 65 else UNSET,
        project=snapshot.project_id if opened else UNSET,
        progress=snapshot.progress if opened else UNSET,
    )
