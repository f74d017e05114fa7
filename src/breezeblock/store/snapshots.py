"""Snapshots in the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import NotFound
from breezeblock.model.snapshots import Snapshot
from breezeblock.store import listing
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import snapshots, volumes
from breezeblock.store.volumes import on_host


def _volume_is(test: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return snapshots.c.volume_id.in_(sa.select(volumes.c.id).where(test))


ALIASES = {
    "display_name": snapshots.c.name,
    "display_description": snapshots.c.description,
    "volume_size": snapshots.c.size,
}
"""Further names of columns in list queries."""
TESTS: Mapping[str, listing.Test] = {
    "host": lambda host: _volume_is(on_host(str(host))),
    "availability_zone": lambda zone: _volume_is(volumes.c.availability_zone == str(zone)),
}


def _snapshot(row: sa.Row[Any]) -> Snapshot:
    return Snapshot(**row._mapping)


def insert(tx: WriteTx, snapshot: Snapshot) -> None:
    tx.insert(snapshots, msgspec.structs.asdict(snapshot))


_IS_IT = snapshots.c.id == sa.bindparam("the_id")
_FIND = sa.select(snapshots).where(_IS_IT)
_LOCK = _FIND.with_for_update()
_UPDATE = snapshots.update().where(_IS_IT)
_DELETE = snapshots.delete().where(_IS_IT)
_OF_VOLUME = (
    sa.select(snapshots)
    .where(snapshots.c.volume_id == sa.bindparam("the_volume"))
    .order_by(snapshots.c.created_at)
)


def find(tx: ReadTx, snapshot_id: str) -> Snapshot | None:
    row = tx.first(_FIND, the_id=snapshot_id)
    return _snapshot(row) if row else None


def get(tx: ReadTx, snapshot_id: str, project_id: str | None = None) -> Snapshot:
    """The snapshot, if it is the project's (None: anybody's). Raises NotFound."""
    snapshot = find(tx, snapshot_id)
    if snapshot is None or (project_id is not None and snapshot.project_id != project_id):
        raise NotFound("Snapshot", snapshot_id)
    return snapshot


def lock(tx: WriteTx, snapshot_id: str, project_id: str | None = None) -> Snapshot:
    """As `get`, and nobody else changes the snapshot until this transaction ends."""
    snapshot = find_locked(tx, snapshot_id)
    if snapshot is None or (project_id is not None and snapshot.project_id != project_id):
        raise NotFound("Snapshot", snapshot_id)
    return snapshot


def find_locked(tx: WriteTx, snapshot_id: str) -> Snapshot | None:
    """As `find`, and nobody else changes the snapshot until this transaction ends."""
    row = tx.first(_LOCK, the_id=snapshot_id)
    return _snapshot(row) if row else None


def of_volume(tx: ReadTx, volume_id: str) -> list[Snapshot]:
    return [_snapshot(row) for row in tx.rows(_OF_VOLUME, the_volume=volume_id)]


def latest_locked(tx: WriteTx, volume_id: str) -> Snapshot | None:
    """The volume's youngest snapshot, as `find_locked`."""
    statement = sa.select(snapshots).where(snapshots.c.volume_id == volume_id)
    newest = statement.order_by(snapshots.c.created_at.desc(), snapshots.c.id.desc())
    row = tx.first(newest.limit(1).with_for_update())
    return _snapshot(row) if row else None


def update(tx: WriteTx, snapshot_id: str, **values: Any) -> bool:
    values.setdefault("updated_at", tx.now)
    return bool(tx.update(_UPDATE, {"the_id": snapshot_id}, values))


def delete(tx: WriteTx, snapshot_id: str) -> None:
    tx.run(_DELETE, the_id=snapshot_id)
