"""Volumes as answers show them: all of it by one statement, and in the form that clients read.

Times and metadata come from the database as the texts that go into the answer. What stands beside a
volume's own row, the name of its type and its complete attachments, is part of the row here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.store import shown
from breezeblock.store.expressions import json_rows, time_text
from breezeblock.store.listing import Listed
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import attachments, volume_types, volumes
from breezeblock.store.volumes import ALIASES, TESTS


class Use(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A complete attachment: without connector and connection_info, which are large and secret."""

    id: str
    server_id: str | None
    host_name: str | None
    device: str | None
    attached_at: str | None
    legacy: bool | int
    mode: str | None
    created_at: str


class ShownVolume(msgspec.Struct, frozen=True, gc=False):
    """A volume's row, with what stands beside it. `metadata` and `image_metadata` are JSON."""

    id: str
    project_id: str
    user_id: str
    name: str | None
    description: str | None
    size: int
    status: str
    migration_status: str | None
    availability_zone: str | None
    host: str | None
    service_uuid: str | None
    volume_type_id: str
    snapshot_id: str | None
    source_volid: str | None
    bootable: bool
    multiattach: bool
    readonly: bool | None
    shared_targets: bool
    encryption_key_id: str | None
    replication_status: str | None
    provider_id: str | None
    group_id: str | None
    consumes_quota: bool
    metadata: str
    image_metadata: str
    created_at: str
    updated_at: str | None
    type_name: str | None
    used: str | None

    @property
    def uses(self) -> Sequence[Use]:
        """The complete attachments, oldest first."""
        if self.used is None or self.used == "[]":
            return ()
        return sorted(_USES.decode(self.used), key=lambda use: use.created_at)


_USES = msgspec.json.Decoder(list[Use])
_TYPE_NAME = (
    sa.select(volume_types.c.name)
    .where(volume_types.c.id == volumes.c.volume_type_id)
    .scalar_subquery()
)
_USED = (
    sa.select(
        json_rows(
            attachments.c.id,
            attachments.c.instance_uuid,
            attachments.c.host_name,
            attachments.c.mountpoint,
            time_text(attachments.c.attached_at),
            attachments.c.legacy,
            attachments.c.attach_mode,
            time_text(attachments.c.created_at),
        )
    )
    .where(attachments.c.volume_id == volumes.c.id, attachments.c.attach_status == "attached")
    .scalar_subquery()
)
_SHOWN = shown.columns(volumes, ShownVolume, type_name=_TYPE_NAME, used=_USED)

_NAMES = Listed(
    volumes,
    "Volume",
    owner=volumes.c.project_id,
    shown=(volumes.c.id, volumes.c.name),
    aliases=ALIASES,
    tests=TESTS,
)
_DETAILS = Listed(
    volumes, "Volume", owner=volumes.c.project_id, shown=_SHOWN, aliases=ALIASES, tests=TESTS
)


def names(tx: ReadTx, query: ListQuery, project_id: str | None) -> Page:
    """One page of the project's volumes (None: of all projects'), as (id, name)."""
    return Page(*_NAMES.page(tx, query, project_id))


def page(tx: ReadTx, query: ListQuery, project_id: str | None) -> Page:
    """One page of the project's volumes (None: of all projects')."""
    rows, total = _DETAILS.page(tx, query, project_id)
    return Page([_shown(row) for row in rows], total)


_ONE = sa.select(*_SHOWN).where(volumes.c.id == sa.bindparam("the_id"))


def get(tx: ReadTx, volume_id: str, project_id: str | None = None) -> ShownVolume:
    """The volume, if it is the project's (None: anybody's). Raises NotFound."""
    row = tx.first(_ONE, the_id=volume_id)
    if row is None or (project_id is not None and row.project_id != project_id):
        raise NotFound("Volume", volume_id)
    return _shown(row)


def _shown(row: Any) -> ShownVolume:
    return ShownVolume(*row)
