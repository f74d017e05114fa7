"""How snapshots look on the wire."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from breezeblock.api.application import ApiCall
from breezeblock.api.shown import Opened, as_shown, raw
from breezeblock.model.snapshots import Snapshot
from breezeblock.store.shown_snapshots import ShownSnapshot

_RULE = "volume_extension:extended_snapshot_attributes"


class SnapshotView(Struct, frozen=True, kw_only=True, gc=False):
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


class Views:
    """Snapshots as the caller of one call sees them.

    The plain list is not `detailed`, replies to create and update are not `extended`.
    """

    def __init__(self, call: ApiCall, *, detailed: bool = True, extended: bool = True) -> None:
        self._minor = call.version.minor if detailed else -1
        self._opened = Opened(call) if detailed and extended else None

    def __call__(self, snapshot: ShownSnapshot) -> SnapshotView:
        minor = self._minor
        opened = self._opened is not None and self._opened(_RULE, snapshot)
        return SnapshotView(
            id=snapshot.id,
            created_at=snapshot.created_at,
            updated_at=snapshot.updated_at,
            name=snapshot.name,
            description=snapshot.description,
            volume_id=snapshot.volume_id,
            status=snapshot.status,
            size=snapshot.size,
            metadata=raw(snapshot.metadata),
            group_snapshot_id=snapshot.group_snapshot_id if minor >= 14 else UNSET,
            user_id=snapshot.user_id if minor >= 41 else UNSET,
            consumes_quota=snapshot.consumes_quota if minor >= 65 else UNSET,
            project=snapshot.project_id if opened else UNSET,
            progress=snapshot.progress if opened else UNSET,
        )


def made(snapshot: Snapshot) -> ShownSnapshot:
    """A snapshot that has just been made or changed, as it will be read."""
    return as_shown(ShownSnapshot, snapshot)
