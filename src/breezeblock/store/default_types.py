"""The volume type of a project's new volumes that name none, where it is not the configured one."""

from __future__ import annotations

import sqlalchemy as sa

from breezeblock.model.errors import NotFound
from breezeblock.model.volume_types import VolumeType
from breezeblock.store import volume_types
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import default_volume_types as defaults
from breezeblock.store.tables import encryptions
from breezeblock.store.tables import volume_types as types


def assign(tx: WriteTx, project_id: str, name_or_id: str) -> str:
    """Give the project a default type of its own; returns the type's id. Raises NotFound."""
    type_id = volume_types.resolve(tx, name_or_id).id
    row = {"project_id": project_id, "volume_type_id": type_id, "created_at": tx.now}
    if not tx.insert_once(defaults, row):
        mine = defaults.c.project_id == project_id
        values = {"volume_type_id": type_id, "updated_at": tx.now}
        tx.run(defaults.update().where(mine).values(values))
    return type_id


def forget(tx: WriteTx, project_id: str) -> None:
    """Let the configured default hold for the project again; it may have none of its own."""
    tx.run(defaults.delete().where(defaults.c.project_id == project_id))


def get(tx: ReadTx, project_id: str) -> str:
    """The id of the project's own default type. Raises NotFound."""
    found = _of(tx, project_id)
    if found is None:
        raise NotFound("Default volume type of project", project_id)
    return found


def of_project(tx: ReadTx, project_id: str, seen_by: str | None) -> VolumeType | None:
    """The project's own default type, if it has one.

    Raises NotFound when it is private and the project may not use it (`seen_by` None: an
    administrator, who may).
    """
    type_id = _of(tx, project_id)
    return None if type_id is None else volume_types.get(tx, type_id, seen_by)


_TYPE = tuple(column.name for column in types.c)
_USUAL = (
    sa.select(
        types,
        encryptions.c.encryption_id.is_not(None).label("encrypted"),
        defaults.c.project_id.is_not(None).label("own"),
    )
    .select_from(
        types.outerjoin(
            defaults,
            sa.and_(
                defaults.c.volume_type_id == types.c.id,
                defaults.c.project_id == sa.bindparam("the_project"),
            ),
        ).outerjoin(encryptions, encryptions.c.volume_type_id == types.c.id)
    )
    .where(
        sa.or_(
            defaults.c.project_id.is_not(None),
            types.c.id == sa.bindparam("configured"),
            types.c.name == sa.bindparam("configured"),
        )
    )
    .order_by(defaults.c.project_id.is_(None), types.c.id != sa.bindparam("configured"))
)
_USUAL_HELD = volume_types.holding(_USUAL)


def usual(
    tx: ReadTx, project_id: str, seen_by: str | None, configured: str
) -> tuple[VolumeType, bool] | None:
    """The project's own default type, if it has one, or the configured one, by id or by name; and
    whether volumes of it are to be encrypted. None when there is neither.

    Raises NotFound when the project's own is private and the project may not use it (`seen_by`
    None: an administrator, who may).
    """
    statement = _USUAL_HELD if isinstance(tx, WriteTx) else _USUAL
    row = tx.first(statement, the_project=project_id, configured=configured)
    if row is None:
        return None
    usual = VolumeType(**dict(zip(_TYPE, row, strict=False)))
    if row.own and not usual.is_public:
        volume_types.get(tx, usual.id, seen_by)
    return usual, bool(row.encrypted)


_OF_PROJECT = sa.select(defaults.c.volume_type_id).where(
    defaults.c.project_id == sa.bindparam("the_project")
)


def _of(tx: ReadTx, project_id: str) -> str | None:
    row = tx.first(_OF_PROJECT, the_project=project_id)
    return None if row is None else str(row.volume_type_id)


def every(tx: ReadTx) -> dict[str, str]:
    """Project → id of its own default type."""
    statement = sa.select(defaults.c.project_id, defaults.c.volume_type_id)
    return {row.project_id: row.volume_type_id for row in tx.rows(statement.order_by("project_id"))}
