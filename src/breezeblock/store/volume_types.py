"""Volume types in the database.

Quota keys hold the name of a type (`volumes_<name>`), so a transaction that reads a type in order
to charge for it must not see it renamed meanwhile: reading within a writing transaction holds the
type until the commit, and renaming moves limits and usage with it (design, law 7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import Conflict, InvalidState, NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.volume_types import ZONES_SPEC, VolumeType, check_extra_specs
from breezeblock.store import listing, quotas
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import (
    OPEN,
    default_volume_types,
    operations,
    volume_type_projects,
    volume_types,
    volumes,
)

_SPEC_KEY = re.compile(r"[a-zA-Z0-9\-_:. /]{1,255}", re.ASCII)


def _type(row: sa.Row[Any]) -> VolumeType:
    return VolumeType(**row._mapping)


def insert(tx: WriteTx, volume_type: VolumeType) -> None:
    """Raises Conflict when the name is taken, InvalidInput for extra specs that exclude another."""
    check_extra_specs(volume_type.extra_specs)
    values = msgspec.structs.asdict(volume_type)
    if not tx.insert_unless_taken(volume_types.insert().values(values)):
        raise _taken(volume_type.name)


def _taken(name: str) -> Conflict:
    return Conflict(f"A volume type named {name} exists already.")


_BY_ID = sa.select(volume_types).where(volume_types.c.id == sa.bindparam("the_type"))


def get(tx: ReadTx, type_id: str, project_id: str | None = None) -> VolumeType:
    """The type by id, if the project may see it (None: an administrator). Raises NotFound."""
    if project_id is None:
        row = tx.first(_BY_ID_HELD if isinstance(tx, WriteTx) else _BY_ID, the_type=type_id)
    else:
        row = tx.first(_held(tx, _BY_ID.where(_visible(project_id))), the_type=type_id)
    if row is None:
        raise NotFound("Volume type", type_id)
    return _type(row)


def resolve(tx: ReadTx, name_or_id: str, project_id: str | None = None) -> VolumeType:
    """The type by id or by name. Raises NotFound."""
    found = (
        sa.select(volume_types)
        .where(
            sa.or_(volume_types.c.id == name_or_id, volume_types.c.name == name_or_id),
            _visible(project_id),
        )
        .order_by((volume_types.c.id == name_or_id).desc())
    )
    row = tx.first(_held(tx, found))
    if row is None:
        raise NotFound("Volume type", name_or_id)
    return _type(row)


def _held(tx: ReadTx, statement: sa.Select[Any]) -> sa.Select[Any]:
    """The statement, keeping a reader that will write from being overtaken by a new name."""
    return holding(statement) if isinstance(tx, WriteTx) else statement


def holding(statement: sa.Select[Any]) -> sa.Select[Any]:
    """The statement, so that nobody renames the types that it reads until the commit."""
    return statement.with_for_update(read=True, key_share=True, of=volume_types)


_BY_ID_HELD = holding(_BY_ID)


def lock(tx: WriteTx, type_id: str) -> VolumeType:
    """The type; nobody else changes it, or makes a volume of it, until this transaction ends.

    Raises NotFound.
    """
    row = tx.first(sa.select(volume_types).where(volume_types.c.id == type_id).with_for_update())
    if row is None:
        raise NotFound("Volume type", type_id)
    return _type(row)


def page(tx: ReadTx, query: ListQuery, project_id: str, *, is_public: bool | None = True) -> Page:
    """One page of the types: public ones and those shared with the project, only private ones
    (False), or all (None). A filter `extra_specs` wants all its pairs."""
    rows, total = _LISTED.page(tx, query, where=_listed(project_id, is_public))
    return Page([_type(row) for row in rows], total)


def _listed(project_id: str, is_public: bool | None) -> sa.ColumnElement[bool]:
    if is_public is None:
        return sa.true()
    return _visible(project_id) if is_public else volume_types.c.is_public.is_(False)


def _has_specs(specs: Mapping[str, str]) -> sa.ColumnElement[bool]:
    return sa.and_(sa.true(), *(_has_spec(key, value) for key, value in specs.items()))


def _has_spec(key: str, value: str) -> sa.ColumnElement[bool]:
    """Of the zones that a type allows, one is enough. A key that no type can have must not reach
    the database, where it would be read as a path."""
    if not _SPEC_KEY.fullmatch(key):
        return sa.false()
    spec: sa.ColumnElement[str] = volume_types.c.extra_specs[key].as_string()
    return spec.contains(value, autoescape=True) if key == ZONES_SPEC else spec == value


_LISTED = listing.Listed(volume_types, "Volume type", tests={"extra_specs": _has_specs})


def names(tx: ReadTx, project_id: str | None = None) -> dict[str, str]:
    """Id → name of every type that the project may see (None: all)."""
    statement = sa.select(volume_types.c.id, volume_types.c.name).where(_visible(project_id))
    return {row.id: row.name for row in tx.rows(statement.order_by(volume_types.c.name))}


def update(tx: WriteTx, type_id: str, **values: Any) -> VolumeType:
    """Set columns; a new name takes limits and usage along. Returns the type as it is now.

    Raises NotFound, or Conflict when the name is taken.
    """
    before = lock(tx, type_id)
    values["updated_at"] = tx.now
    statement = volume_types.update().where(volume_types.c.id == type_id).values(values)
    if not tx.insert_unless_taken(statement):
        raise _taken(values["name"])
    after = msgspec.structs.replace(before, **values)
    if after.name != before.name:
        quotas.rename_type(tx, before.name, after.name)
    return after


def change_extra_specs(tx: WriteTx, type_id: str, changes: Mapping[str, str | None]) -> None:
    """Set keys, or take those away whose value is None.

    Raises NotFound; InvalidState while volumes have the type: they were placed by what it said.
    """
    merged = {**_changeable_specs(tx, type_id), **changes}
    specs = {key: value for key, value in merged.items() if value is not None}
    check_extra_specs(specs)
    update(tx, type_id, extra_specs=specs)


def remove_extra_spec(tx: WriteTx, type_id: str, key: str) -> None:
    """As `change_extra_specs`; NotFound also when the key is not there."""
    specs = dict(_changeable_specs(tx, type_id))
    if specs.pop(key, None) is None:
        raise NotFound(f"Volume type {type_id}: extra spec", key)
    update(tx, type_id, extra_specs=specs)


def _changeable_specs(tx: WriteTx, type_id: str) -> dict[str, str]:
    specs = lock(tx, type_id).extra_specs
    if in_use(tx, type_id):
        raise InvalidState(
            f"Volume type {type_id} is in use; its extra specs cannot be changed. "
            "Create another type and retype the volumes."
        )
    return specs


def in_use(tx: ReadTx, type_id: str) -> bool:
    """Whether any volume has the type, or is about to get it."""
    of_it = sa.select(volumes.c.id).where(volumes.c.volume_type_id == type_id).limit(1)
    wanted = operations.c.data["new_type_id"].as_string() == type_id
    coming = sa.select(operations.c.id).where(operations.c.state == OPEN, wanted)
    return tx.first(of_it) is not None or tx.first(coming) is not None


def delete(tx: WriteTx, type_id: str) -> None:
    """Remove the type.

    Raises NotFound, or InvalidState while volumes have it, it is a project's default, or the last.
    """
    name = lock(tx, type_id).name
    if in_use(tx, type_id):
        raise InvalidState(f"Volume type {type_id} is in use.")
    project = tx.scalar(_defaults_of(type_id))
    if project is not None:
        raise InvalidState(f"Volume type {type_id} is the default type of project {project}.")
    if tx.scalar(sa.select(sa.func.count()).select_from(volume_types)) <= 1:
        raise InvalidState("The last volume type cannot be deleted.")
    tx.run(volume_types.delete().where(volume_types.c.id == type_id))
    quotas.forget_type(tx, name)


def _defaults_of(type_id: str) -> sa.Select[Any]:
    return sa.select(default_volume_types.c.project_id).where(
        default_volume_types.c.volume_type_id == type_id
    )


def _visible(project_id: str | None) -> sa.ColumnElement[bool]:
    if project_id is None:
        return sa.true()
    shared = sa.select(volume_type_projects.c.volume_type_id).where(
        volume_type_projects.c.project_id == project_id
    )
    return sa.or_(volume_types.c.is_public.is_(True), volume_types.c.id.in_(shared))


def grant(tx: WriteTx, type_id: str, project_id: str) -> None:
    """Let a project use a private type.

    Raises NotFound, InvalidState for a public type, Conflict when it may already.
    """
    _require_private(get(tx, type_id))
    row = volume_type_projects.insert().values(volume_type_id=type_id, project_id=project_id)
    if not tx.insert_unless_taken(row):
        raise Conflict(f"Project {project_id} has access to volume type {type_id} already.")


def revoke(tx: WriteTx, type_id: str, project_id: str) -> None:
    """Take it back. Raises NotFound, also when it had no access; InvalidState for a public type."""
    _require_private(get(tx, type_id))
    if not tx.run(
        volume_type_projects.delete().where(
            volume_type_projects.c.volume_type_id == type_id,
            volume_type_projects.c.project_id == project_id,
        )
    ):
        raise NotFound("Volume type access", f"{type_id}/{project_id}")


def _require_private(volume_type: VolumeType) -> None:
    if volume_type.is_public:
        raise InvalidState(f"Volume type {volume_type.id} is public: every project has access.")


def projects(tx: ReadTx, type_id: str) -> list[str]:
    """The projects that may use a private type."""
    statement = sa.select(volume_type_projects.c.project_id).where(
        volume_type_projects.c.volume_type_id == type_id
    )
    return [row[0] for row in tx.rows(statement.order_by(volume_type_projects.c.project_id))]
