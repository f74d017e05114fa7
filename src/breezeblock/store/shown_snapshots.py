"""Snapshots as answers show them: in the form that clients read."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.store import shown
from breezeblock.store.listing import Listed
from breezeblock.store.snapshots import ALIASES, TESTS
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import snapshots


class ShownSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A snapshot's row. `metadata` is JSON."""

    id: str
    project_id: str
    user_id: str
    name: str | None
    description: str | None
    volume_id: str
    size: int
    status: str
    progress: str
    group_snapshot_id: str | None
    consumes_quota: bool
    metadata: str
    created_at: str
    updated_at: str | None


_SHOWN = shown.columns(snapshots, ShownSnapshot)
_LISTED = Listed(
    snapshots,
    "Snapshot",
    owner=snapshots.c.project_id,
    shown=_SHOWN,
    aliases=ALIASES,
    tests=TESTS,
    few=(snapshots.c.volume_id,),
)
_ONE = sa.select(*_SHOWN).where(snapshots.c.id == sa.bindparam("the_id"))


def page(tx: ReadTx, query: ListQuery, project_id: str | None) -> Page:
    """One page of the project's snapshots (None: of all projects')."""
    rows, total = _LISTED.page(tx, query, project_id)
    return Page([_shown(row) for row in rows], total)


def get(tx: ReadTx, snapshot_id: str, project_id: str | None = None) -> ShownSnapshot:
    """The snapshot, if it is the project's (None: anybody's). Raises NotFound."""
    row = tx.first(_ONE, the_id=snapshot_id)
    if row is None or (project_id is not None and row.project_id != project_id):
        raise NotFound("Snapshot", snapshot_id)
    return _shown(row)


def _shown(row: Any) -> ShownSnapshot:
    return ShownSnapshot(*row)
