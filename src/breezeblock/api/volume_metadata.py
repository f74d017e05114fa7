"""The metadata of volumes over HTTP, with ETags from 3.15 on."""

from __future__ import annotations

from breezeblock.api.metadata import MetadataOf
from breezeblock.model import volumes as rules
from breezeblock.store import volumes
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Metadata


class Whole(Body, frozen=True):
    metadata: Metadata


class Item(Body, frozen=True):
    meta: Metadata


def _save(tx: WriteTx, volume_id: str, metadata: dict[str, str]) -> None:
    volumes.update(tx, volume_id, metadata=metadata)


ROUTES: tuple[Route, ...] = MetadataOf(
    path="/volumes/{volume_id}",
    rule={
        "get": "volume:get_volume_metadata",
        "create": "volume:create_volume_metadata",
        "update": "volume:update_volume_metadata",
        "delete": "volume:delete_volume_metadata",
    },
    get=volumes.get,
    lock=volumes.lock,
    check=rules.check_metadata,
    save=_save,
    whole_body=Whole,
    item_body=Item,
    tags=("volume metadata",),
    etags_since=(3, 15),
).routes()
