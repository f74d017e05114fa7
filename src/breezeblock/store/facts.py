"""The rows that the invariants look at: all of them, or those of one backend."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa

from breezeblock.model.attachments import Attachment
from breezeblock.model.invariants.facts import Facts
from breezeblock.model.inventory import Item
from breezeblock.model.messages import Message
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.transfers import Transfer
from breezeblock.model.volumes import Volume
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import (
    OPEN,
    attachments,
    messages,
    operations,
    quota_usages,
    snapshots,
    transfers,
    volume_types,
    volumes,
)
from breezeblock.store.volumes import on_host

AT_ONCE = 1000
"""How many ids one statement names."""


def read(tx: ReadTx) -> Facts:
    """The whole database as it stands now: for tests and the doctor, not for serving requests."""
    kinds = tx.rows(sa.select(volume_types.c.id, volume_types.c.name))
    return Facts(
        now=tx.clock(),
        volumes={row.id: Volume(**row._mapping) for row in _all(tx, volumes)},
        snapshots={row.id: Snapshot(**row._mapping) for row in _all(tx, snapshots)},
        attachments=[Attachment(**row._mapping) for row in _all(tx, attachments)],
        operations=[Operation(**row._mapping) for row in _all(tx, operations)],
        usages={(row.project_id, row.resource): row.in_use for row in _all(tx, quota_usages)},
        messages=[Message(**row._mapping) for row in _all(tx, messages)],
        type_names={row.id: row.name for row in kinds},
        transfers=[Transfer(**row._mapping) for row in _all(tx, transfers)],
    )


def of_backend(tx: ReadTx, backend: str, held: Collection[Item]) -> Facts:
    """What the rules for backends need: the rows placed on one, those of what it holds though they
    are placed elsewhere, and the work that is open. To be called before anything else is read."""
    tx.stand_still()
    mine = on_host(backend)
    placed = {row.id: row for row in _all(tx, volumes, mine)}
    of_mine = sa.select(volumes.c.id).where(mine)
    frozen = {row.id: row for row in _all(tx, snapshots, snapshots.c.volume_id.in_(of_mine))}
    elsewhere = {item.volume for item in held} - placed.keys()
    unknown = {item.id for item in held if item.kind == "snapshot"} - frozen.keys()
    volume_rows = [*placed.values(), *_by(tx, volumes, volumes.c.id, elsewhere)]
    snapshot_rows = [*frozen.values(), *_by(tx, snapshots, snapshots.c.id, unknown)]
    attachment_rows = [
        *_all(tx, attachments, attachments.c.volume_id.in_(of_mine)),
        *_by(tx, attachments, attachments.c.volume_id, elsewhere),
    ]
    return Facts(
        now=tx.clock(),
        volumes={row.id: Volume(**row._mapping) for row in volume_rows},
        snapshots={row.id: Snapshot(**row._mapping) for row in snapshot_rows},
        attachments=[Attachment(**row._mapping) for row in attachment_rows],
        operations=[
            Operation(**row._mapping) for row in _all(tx, operations, operations.c.state == OPEN)
        ],
        usages={},
        messages=(),
        type_names={},
    )


def _all(
    tx: ReadTx, table: sa.Table, where: sa.ColumnElement[bool] | None = None
) -> list[sa.Row[Any]]:
    statement = sa.select(table)
    return list(tx.rows(statement if where is None else statement.where(where)))


def _by(
    tx: ReadTx, table: sa.Table, column: sa.Column[Any], idents: Iterable[str]
) -> Iterator[sa.Row[Any]]:
    """The rows with one of these ids, a bounded number of ids a statement."""
    rest = iter(sorted(idents))
    while some := list(islice(rest, AT_ONCE)):
        yield from _all(tx, table, column.in_(some))
