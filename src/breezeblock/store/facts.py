"""All rows that the invariants look at, in one consistent view."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from breezeblock.model.attachments import Attachment
from breezeblock.model.invariants.facts import Facts
from breezeblock.model.messages import Message
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import Volume
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import (
    attachments,
    messages,
    operations,
    quota_usages,
    snapshots,
    volume_types,
    volumes,
)


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
    )


def _all(tx: ReadTx, table: sa.Table) -> list[sa.Row[Any]]:
    return list(tx.rows(sa.select(table)))
