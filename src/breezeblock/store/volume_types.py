"""Volume types in the database."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import Conflict, InvalidState, NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.volume_types import VolumeType
from breezeblock.store import listing
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import volume_type_projects, volume_types, volumes


def _type(row: sa.Row[Any]) -> VolumeType:
    return VolumeType(**row._mapping)


def insert(tx: WriteTx, volume_type: VolumeType) -> None:
    """Raises Conflict when the name is taken."""
    values = msgspec.structs.asdict(volume_type)
    if not tx.insert_unless_taken(volume_types.insert().values(values)):
        raise Conflict(f"A volume type named {volume_type.name} exists already.")


def get(tx: ReadTx, type_id: str, project_id: str | None = None) -> VolumeType:
    """The type by id, if the project may see it (None: an administrator). Raises NotFound."""
    row = tx.first(
        sa.select(volume_types).where(volume_types.c.id == type_id, _visible(project_id))
    )
    if row is None:
        raise NotFound("Volume type", type_id)
    return _type(row)


def resolve(tx: ReadTx, name_or_id: str, project_id: str | None = None) -> VolumeType:
    """The type by id or by name. Raises NotFound."""
    row = tx.first(
        sa.select(volume_types)
        .where(
            sa.or_(volume_types.c.id == name_or_id, volume_types.c.name == name_or_id),
            _visible(project_id),
        )
        .order_by((volume_types.c.id == name_or_id).desc())
    )
    if row is None:
        raise NotFound("Volume type", name_or_id)
    return _type(row)


def page(tx: ReadTx, query: ListQuery, project_id: str | None) -> Page:
    """One page of the types that the project may see (None: all)."""
    rows, total = listing.page(tx, volume_types, query, _visible(project_id), kind="Volume type")
    return Page([_type(row) for row in rows], total)


def names(tx: ReadTx) -> dict[str, str]:
    """Id → name of every type: what a list of volumes shows."""
    statement = sa.select(volume_types.c.id, volume_types.c.name)
    return {row.id: row.name for row in tx.rows(statement)}


def update(tx: WriteTx, type_id: str, **values: Any) -> None:
    """Set columns. Raises NotFound, or Conflict when a new name is taken."""
    name = values.get("name")
    if name is not None:
        taken = sa.select(volume_types.c.id).where(
            volume_types.c.name == name, volume_types.c.id != type_id
        )
        if tx.first(taken):
            raise Conflict(f"A volume type named {name} exists already.")
    values["updated_at"] = tx.now
    if not tx.run(volume_types.update().where(volume_types.c.id == type_id).values(values)):
        raise NotFound("Volume type", type_id)


def in_use(tx: ReadTx, type_id: str) -> bool:
    """Whether any volume has the type."""
    return tx.first(sa.select(volumes.c.id).where(volumes.c.volume_type_id == type_id)) is not None


def delete(tx: WriteTx, type_id: str) -> None:
    """Remove the type. Raises NotFound, or InvalidState while volumes have it or it is the last."""
    get(tx, type_id)
    if in_use(tx, type_id):
        raise InvalidState(f"Volume type {type_id} is in use.")
    if tx.scalar(sa.select(sa.func.count()).select_from(volume_types)) <= 1:
        raise InvalidState("The last volume type cannot be deleted.")
    tx.run(volume_types.delete().where(volume_types.c.id == type_id))


def _visible(project_id: str | None) -> sa.ColumnElement[bool]:
    if project_id is None:
        return sa.true()
    shared = sa.select(volume_type_projects.c.volume_type_id).where(
        volume_type_projects.c.project_id == project_id
    )
    return sa.or_(volume_types.c.is_public.is_(True), volume_types.c.id.in_(shared))


def grant(tx: WriteTx, type_id: str, project_id: str) -> None:
    """Let a project use a private type. Raises Conflict when it may already."""
    row = volume_type_projects.insert().values(volume_type_id=type_id, project_id=project_id)
    if not tx.insert_unless_taken(row):
        raise Conflict(f"Project {project_id} has access to volume type {type_id} already.")


def revoke(tx: WriteTx, type_id: str, project_id: str) -> None:
    """Take it back. Raises NotFound when it had no access."""
    if not tx.run(
        volume_type_projects.delete().where(
            volume_type_projects.c.volume_type_id == type_id,
            volume_type_projects.c.project_id == project_id,
        )
    ):
        raise NotFound("Volume type access", f"{type_id}/{project_id}")


def projects(tx: ReadTx, type_id: str) -> list[str]:
    """The projects that may use a private type."""
    statement = sa.select(volume_type_projects.c.project_id).where(
        volume_type_projects.c.volume_type_id == type_id
    )
    return [row[0] for row in tx.rows(statement)]
