"""Volumes in the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import InvalidState, NotFound
from breezeblock.model.listing import ListQuery
from breezeblock.model.volumes import Volume
from breezeblock.store import listing
from breezeblock.store.expressions import begins
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import attachments, snapshots, transfers, volumes


def on_host(host: str) -> sa.ColumnElement[bool]:
    """Volumes of a host, of one of its backends, or of one pool, as far as the name goes."""
    wider = "" if "#" in host else "#" if "@" in host else "@#"
    return sa.or_(volumes.c.host == host, *(begins(volumes.c.host, host + one) for one in wider))


def _shows_metadata(wanted: Mapping[str, str]) -> sa.ColumnElement[bool]:
    """Volumes with all these pairs, be they the user's own or mixed in when a volume is shown."""
    return sa.and_(sa.true(), *(_shows_pair(key, text) for key, text in wanted.items()))


def _shows_pair(key: str, text: str) -> sa.ColumnElement[bool]:
    own = listing.holds(volumes.c.metadata, key, text)
    match key:
        case "readonly" if text in ("True", "False"):
            return sa.or_(own, volumes.c.readonly.is_(text == "True"))
        case "attached_mode":
            attached = sa.select(attachments.c.volume_id).where(
                attachments.c.legacy.is_(True),
                attachments.c.attach_status == "attached",
                attachments.c.attach_mode == text,
            )
            return sa.or_(own, volumes.c.id.in_(attached))
    return own


ALIASES = {
    "display_name": volumes.c.name,
    "display_description": volumes.c.description,
    "glance_metadata": volumes.c.image_metadata,
}
"""Further names of columns in list queries."""
TESTS: Mapping[str, listing.Test] = {
    "host": lambda host: None if "#" in str(host) else on_host(str(host)),
    "metadata": _shows_metadata,
}


_LISTED = listing.Listed(volumes, "Volume", aliases=ALIASES, tests=TESTS)


def _volume(row: sa.Row[Any]) -> Volume:
    return Volume(**row._mapping)


def insert(tx: WriteTx, volume: Volume) -> None:
    tx.insert(volumes, msgspec.structs.asdict(volume))


_FIND = sa.select(volumes).where(volumes.c.id == sa.bindparam("the_id"))
_LOCK = _FIND.with_for_update()


def find(tx: ReadTx, volume_id: str) -> Volume | None:
    """The volume whoever owns it, or None when there is none (any more)."""
    row = tx.first(_FIND, the_id=volume_id)
    return _volume(row) if row else None


def get(tx: ReadTx, volume_id: str, project_id: str | None = None) -> Volume:
    """The volume, if it is the project's (None: anybody's). Raises NotFound."""
    volume = find(tx, volume_id)
    if volume is None or (project_id is not None and volume.project_id != project_id):
        raise NotFound("Volume", volume_id)
    return volume


def lock(tx: WriteTx, volume_id: str, project_id: str | None = None) -> Volume:
    """As `get`, and nobody else changes the volume until this transaction ends."""
    volume = find_locked(tx, volume_id)
    if volume is None or (project_id is not None and volume.project_id != project_id):
        raise NotFound("Volume", volume_id)
    return volume


def find_locked(tx: WriteTx, volume_id: str) -> Volume | None:
    """As `find`, and nobody else changes the volume until this transaction ends."""
    row = tx.first(_LOCK, the_id=volume_id)
    return _volume(row) if row else None


_ONE = volumes.update().where(volumes.c.id == sa.bindparam("the_id"))
_ONE_IN_STATUS = _ONE.where(volumes.c.status.in_(sa.bindparam("allowed", expanding=True)))


def update(tx: WriteTx, volume_id: str, **values: Any) -> bool:
    """Set columns; whether the volume was there."""
    values.setdefault("updated_at", tx.now)
    return bool(tx.update(_ONE, {"the_id": volume_id}, values))


def transition(
    tx: WriteTx, volume_id: str, allowed: Collection[str], status: str, **values: Any
) -> None:
    """Set the status if the present one is allowed: one statement, so two callers cannot both win.

    Raises InvalidState when it is not.
    """
    values |= {"status": status, "updated_at": tx.now}
    where = {"the_id": volume_id, "allowed": list(allowed)}
    if not tx.update(_ONE_IN_STATUS, where, values):
        raise InvalidState(f"Volume {volume_id} has changed its status meanwhile.")


_DELETES = (
    *(
        table.delete().where(table.c.volume_id == sa.bindparam("the_id"))
        for table in (attachments, snapshots, transfers)
    ),
    volumes.delete().where(volumes.c.id == sa.bindparam("the_id")),
)


def delete(tx: WriteTx, volume_id: str) -> None:
    """Remove the row and those that hang on it."""
    for statement in _DELETES:
        tx.run(statement, the_id=volume_id)


def locations(
    tx: ReadTx, volume_ids: Iterable[str], project_id: str | None = None
) -> dict[str, str]:
    """Volume id → full name of its pool, of those that are placed and that the project may see."""
    wanted = list(volume_ids)
    statement = sa.select(volumes.c.id, volumes.c.host).where(
        volumes.c.id.in_(wanted), volumes.c.host.is_not(None)
    )
    if project_id is not None:
        statement = statement.where(volumes.c.project_id == project_id)
    return {row.id: row.host for row in tx.rows(statement)} if wanted else {}


def placed(tx: ReadTx, backend: str | None = None) -> Mapping[str, tuple[int, int]]:
    """Pool name → (number of volumes, GiB) of what we placed there."""
    statement = _PLACED.where(volumes.c.host.is_not(None))
    if backend is not None:
        statement = statement.where(begins(volumes.c.host, f"{backend}#"))
    return _by_pool(tx, statement)


_PLACED = sa.select(
    volumes.c.host,
    sa.func.count().label("number"),
    sa.func.coalesce(sa.func.sum(volumes.c.size), 0).label("gigabytes"),
).group_by(volumes.c.host)


def _by_pool(tx: ReadTx, statement: sa.Select[Any]) -> dict[str, tuple[int, int]]:
    rows = tx.rows(statement)
    return {str(row.host): (int(row.number), int(row.gigabytes)) for row in rows}


def placed_in(tx: ReadTx, pools: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """As `placed`, of these pools only."""
    found: dict[str, tuple[int, int]] = {}
    for at in range(0, len(pools), 500):
        statement = _PLACED.where(volumes.c.host.in_(pools[at : at + 500]))
        found |= _by_pool(tx, statement)
    return found


def totals(tx: ReadTx, query: ListQuery, project_id: str | None) -> tuple[int, int]:
    """(number, GiB) of all volumes that match the query's filters."""
    row = tx.first(
        sa.select(
            sa.func.count().label("number"),
            sa.func.coalesce(sa.func.sum(volumes.c.size), 0).label("gigabytes"),
        ).where(_matching(query, project_id))
    )
    return (int(row.number), int(row.gigabytes)) if row else (0, 0)


def distinct_metadata(tx: ReadTx, query: ListQuery, project_id: str | None) -> dict[str, list[str]]:
    """Metadata keys with their distinct values, of all volumes that match the query's filters."""
    some = sa.cast(volumes.c.metadata, sa.String) != "{}"
    statement = sa.select(volumes.c.metadata).where(_matching(query, project_id), some)
    values: dict[str, dict[str, None]] = {}
    for row in tx.rows(statement.order_by(volumes.c.created_at, volumes.c.id)):
        for key, value in row[0].items():
            values.setdefault(key, {})[value] = None
    return {key: list(found) for key, found in values.items()}


def _matching(query: ListQuery, project_id: str | None) -> sa.ColumnElement[bool]:
    seen = sa.true() if project_id is None else volumes.c.project_id == project_id
    return sa.and_(seen, _LISTED.matching(query))
