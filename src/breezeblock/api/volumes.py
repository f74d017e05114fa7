"""Volumes over HTTP: create, list, show, change, delete. Actions and metadata have files of their
own, and so has what a new volume may be.
"""

from __future__ import annotations

from typing import Any

from breezeblock.api import volume_views as views
from breezeblock.api.access import locked_volume, owner_of
from breezeblock.api.application import ApiCall
from breezeblock.api.resource_filters import FILTERS
from breezeblock.api.scope import seen_by
from breezeblock.api.volume_create import create, create_body
from breezeblock.model import volumes as rules
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.volumes import Volume
from breezeblock.store import services, shown_volumes, snapshots, volumes
from breezeblock.store.shown_volumes import ShownVolume
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.query import Column, Listing, page, parse_bool, parse_list
from breezeblock.web.routes import Route
from breezeblock.web.types import UNSET, Body, Metadata, Name, UnsetType
from breezeblock.workflows import delete_volume
from breezeblock.workflows.cancel import Reason, cancel_exports, cancel_on

_VALUES = (
    "id",
    "user_id",
    "project_id",
    "status",
    "size",
    "attach_status",
    "migration_status",
    "availability_zone",
    "volume_type_id",
    "snapshot_id",
    "source_volid",
    "replication_status",
    "provider_id",
    "service_uuid",
    "encryption_key_id",
    "description",
    "display_description",
)
_FLAGS = ("bootable", "multiattach", "readonly", "shared_targets")
_TEXTS = ("name", "display_name", "host")
_TIMES = ("created_at", "updated_at")

VOLUMES = Listing(
    resource="volume",
    collection="volumes",
    links_key="volumes_links",
    columns={
        **dict.fromkeys(_TEXTS, Column()),
        **dict.fromkeys(_VALUES, Column("value")),
        **dict.fromkeys(_FLAGS, Column("bool", strict_since="3.2")),
        **dict.fromkeys(_TIMES, Column("time", since="3.60")),
        "consumes_quota": Column("bool", since="3.65"),
        "group_id": Column("value", since="3.10"),
        "metadata": Column("metadata"),
        "glance_metadata": Column("metadata", since="3.4"),
    },
    public=FILTERS["volume"],
    sortable=dict.fromkeys(
        (*_TEXTS, *_VALUES, *_FLAGS, *_TIMES, "consumes_quota", "group_id"), "3.0"
    ),
    with_count_since="3.45",
    ignored=("cascade", "force", "detail", "usage"),
    all_tenants="strict",
)


class VolumeChanges(Body, frozen=True):
    """What may be changed. Metadata given here replaces all that there is."""

    name: Name | UnsetType | None = UNSET
    description: Name | UnsetType | None = UNSET
    display_name: Name | UnsetType | None = UNSET
    display_description: Name | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET

    def columns(self) -> dict[str, Any]:
        """What is given, by column."""
        given = {
            "name": self.display_name if self.name is UNSET else self.name,
            "description": (
                self.display_description if self.description is UNSET else self.description
            ),
            "metadata": self.metadata,
        }
        return {column: value for column, value in given.items() if value is not UNSET}


class UpdateVolume(Body, frozen=True):
    volume: VolumeChanges


async def list_volumes(call: ApiCall) -> dict[str, Any]:
    query = parse_list(call, VOLUMES)
    project = None if query.all_tenants else call.identity.project_id
    found = await call.app.store.read(lambda tx: shown_volumes.names(tx, query, project))
    view = views.Summaries(call)
    shown = [view(ident, name) for ident, name in found.items]
    return page(call, VOLUMES, query, shown, shown[-1].id if shown else None, found.total)


async def list_detailed(call: ApiCall) -> dict[str, Any]:
    query = parse_list(call, VOLUMES)
    project = None if query.all_tenants else call.identity.project_id
    found = await call.app.store.read(lambda tx: shown_volumes.page(tx, query, project))
    view = views.Details(call)
    shown = [view(volume) for volume in found.items]
    return page(call, VOLUMES, query, shown, shown[-1].id if shown else None, found.total)


async def summarise(call: ApiCall) -> dict[str, Any]:
    """How many volumes and GiB there are; from 3.36 on which metadata, too."""
    query = parse_list(call, VOLUMES)
    project = None if query.all_tenants else call.identity.project_id
    with_metadata = call.at_least(3, 36)

    def read(tx: ReadTx) -> dict[str, Any]:
        count, size = volumes.totals(tx, query, project)
        total: dict[str, Any] = {"total_count": count, "total_size": size}
        if with_metadata:
            total["metadata"] = volumes.distinct_metadata(tx, query, project)
        return total

    return {"volume-summary": await call.app.store.read(read)}


async def show(call: ApiCall) -> dict[str, Any]:
    volume_id, project = call.params["volume_id"], seen_by(call)
    volume = await call.app.store.read(lambda tx: shown_volumes.get(tx, volume_id, project))
    if not call.allowed("volume:get", owner_of(volume)):
        raise NotFound("Volume", volume_id)
    return {"volume": views.Details(call)(volume)}


async def update(call: ApiCall) -> dict[str, Any]:
    changes = call.body.volume.columns()
    if not changes and call.at_least(3, 53):
        raise InvalidInput("volume: give at least one of name, description and metadata.")

    def change(tx: WriteTx) -> ShownVolume:
        volume = locked_volume(tx, call, "volume:update")
        rules.check_update(volume)
        if changes:
            volumes.update(tx, volume.id, **changes)
        return shown_volumes.get(tx, volume.id)

    volume = await call.app.store.write(change)
    return {"volume": views.Details(call, extended=False)(volume)}


async def delete(call: ApiCall) -> None:
    cascade = _flag(call, "cascade")
    force = call.at_least(3, 23) and _flag(call, "force")

    def remove(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume:delete")
        if force:
            call.require("volume:force_delete", owner_of(volume))
        delete_now(tx, call, volume, cascade=cascade, force=force)

    await call.app.store.write(remove)


def delete_now(
    tx: WriteTx, call: ApiCall, volume: Volume, *, cascade: bool = False, force: bool = False
) -> None:
    """Begin the deletion; by force, and before the volume has a place, whatever is under way is
    cut short. Raises InvalidState, Conflict."""
    services.require_thawed(tx, volume.host)
    rules.check_stays("deleted", volume)
    if force or volume.host is None:
        cancel_on(tx, volume.id, Reason.DELETED)
        cancel_exports(tx, volume.id, Reason.DELETED)
        for snapshot in snapshots.of_volume(tx, volume.id) if cascade else ():
            cancel_on(tx, snapshot.id, Reason.DELETED)
        volume = volumes.get(tx, volume.id)
    delete_volume.submit(tx, call.app.caller(call), volume, cascade=cascade, force=force)


def _flag(call: ApiCall, name: str) -> bool:
    text = call.query.get(name)
    return text is not None and parse_bool(name, text)


_TAGS = ("volumes",)

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/volumes",
        list_volumes,
        query=VOLUMES.names(),
        policy="volume:get_all",
        summary="List volumes by name",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/volumes",
        create,
        body=create_body,
        policy="volume:create",
        success=202,
        summary="Create a volume",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/volumes/detail",
        list_detailed,
        query=VOLUMES.names(),
        policy="volume:get_all",
        summary="List volumes in full",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/volumes/summary",
        summarise,
        since="3.12",
        query=VOLUMES.names(),
        policy="volume:get_all",
        summary="Count volumes and their size",
        tags=_TAGS,
    ),
    Route("GET", "/volumes/{volume_id}", show, summary="Show a volume", tags=_TAGS),
    Route(
        "PUT",
        "/volumes/{volume_id}",
        update,
        body=UpdateVolume,
        summary="Change a volume's name, description or metadata",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        "/volumes/{volume_id}",
        delete,
        query=("cascade", "force"),
        success=202,
        summary="Delete a volume",
        tags=_TAGS,
    ),
)
