"""Transfers in the database. A volume has one at most: a unique index says so."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import InvalidState, NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.transfers import Transfer
from breezeblock.store import listing
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import transfers

ALIASES = {"display_name": transfers.c.name, "project_id": transfers.c.source_project_id}
"""Further names of columns in list queries."""


_LISTED = listing.Listed(
    transfers, "Transfer", owner=transfers.c.source_project_id, aliases=ALIASES
)


def insert(tx: WriteTx, transfer: Transfer) -> None:
    """Raises InvalidState when the volume is offered already."""
    if not tx.insert_once(transfers, msgspec.structs.asdict(transfer)):
        raise InvalidState(f"Volume {transfer.volume_id} is offered already.")


def get(tx: ReadTx, transfer_id: str, project_id: str | None = None) -> Transfer:
    """The transfer, if the project made it (None: anybody's). Raises NotFound."""
    seen = sa.true() if project_id is None else transfers.c.source_project_id == project_id
    row = tx.first(sa.select(transfers).where(transfers.c.id == transfer_id, seen))
    if row is None:
        raise NotFound("Transfer", transfer_id)
    return Transfer(**row._mapping)


def page(tx: ReadTx, query: ListQuery, project_id: str | None) -> Page:
    rows, total = _LISTED.page(tx, query, project_id)
    return Page([Transfer(**row._mapping) for row in rows], total)


_OF_VOLUME = transfers.c.volume_id == sa.bindparam("the_volume")
_IS_OFFERED = sa.select(transfers.c.id).where(_OF_VOLUME)
_WITHDRAW = transfers.delete().where(_OF_VOLUME)


def is_offered(tx: ReadTx, volume_id: str) -> bool:
    """Whether the volume waits for somebody to take it over."""
    return tx.first(_IS_OFFERED, the_volume=volume_id) is not None


def offered(volume_id: sa.ColumnElement[str]) -> sa.Exists:
    """As `is_offered`, within a statement."""
    return sa.exists(sa.select(transfers.c.id).where(transfers.c.volume_id == volume_id))


def withdraw(tx: WriteTx, volume_id: str) -> bool:
    """End the offer of a volume whose status says something else from now on, or that is gone:
    nobody may take it over with an old key. Whether there was one."""
    return bool(tx.run(_WITHDRAW, the_volume=volume_id))
