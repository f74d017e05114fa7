"""The metadata of snapshots over HTTP. Keys hold no slash here, and there are no ETags."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from breezeblock.api.metadata import MetadataOf
from breezeblock.model.snapshots import Snapshot
from breezeblock.store import snapshots
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import LooseBody, Text

Key = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9\-_:. ]{1,255}(?![\s\S])")]


class Whole(LooseBody, frozen=True):
    metadata: dict[Key, Text]


class Item(LooseBody, frozen=True):
    meta: dict[Key, Text]


def _save(tx: WriteTx, snapshot_id: str, metadata: dict[str, str]) -> None:
    snapshots.update(tx, snapshot_id, metadata=metadata)


def _always(_snapshot: Snapshot) -> None:
    """Metadata of a snapshot may be changed whatever its status."""


ROUTES: tuple[Route, ...] = MetadataOf(
    path="/snapshots/{snapshot_id}",
    rule={
        "get": "volume:get_snapshot_metadata",
        "create": "volume:update_snapshot_metadata",
        "update": "volume:update_snapshot_metadata",
        "delete": "volume:delete_snapshot_metadata",
    },
    get=snapshots.get,
    lock=snapshots.lock,
    check=_always,
    save=_save,
    whole_body=Whole,
    item_body=Item,
    tags=("snapshot metadata",),
).routes()
