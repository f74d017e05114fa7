"""Snapshots over HTTP, with the actions of administrators; the metadata has a file of its own."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from breezeblock.api.access import locked_snapshot, locked_volume, owner_of
from breezeblock.api.application import ApiCall
from breezeblock.api.resource_filters import FILTERS
from breezeblock.api.scope import own_project, seen_by
from breezeblock.api.snapshot_views import Views, made
from breezeblock.model import volumes as volume_rules
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.snapshots import RESETTABLE, Snapshot
from breezeblock.store import services, shown_snapshots, snapshots, volume_types, volumes
from breezeblock.store.shown_snapshots import ShownSnapshot
from breezeblock.store.store import WriteTx
from breezeblock.web.query import Column, Listing, page, parse_list
from breezeblock.web.routes import Route
from breezeblock.web.types import (
    Body,
    Bool,
    Description,
    Metadata,
    Text,
    Uuid,
)
from breezeblock.workflows import (
    check_snapshot,
    create_snapshot,
    delete_snapshot,
    unmanage_snapshot,
)
from breezeblock.workflows.cancel import Reason, cancel_on_snapshot

_TEXTS = (
    "id",
    "project_id",
    "user_id",
    "volume_id",
    "status",
    "progress",
    "display_name",
    "description",
    "display_description",
    "group_snapshot_id",
    "volume_type_id",
)

SNAPSHOTS = Listing(
    resource="snapshot",
    collection="snapshots",
    links_key="snapshots_links",
    columns={
        **dict.fromkeys((*_TEXTS, "name", "host", "availability_zone"), Column()),
        "size": Column("value"),
        "volume_size": Column("value"),
        "metadata": Column("metadata", since="3.22"),
        "consumes_quota": Column("bool", since="3.65"),
    },
    public=FILTERS["snapshot"],
    sortable={
        **dict.fromkeys(
            (*_TEXTS, "size", "volume_size", "consumes_quota", "created_at", "updated_at"), "3.0"
        ),
        "name": "3.30",
    },
    with_count_since="3.45",
    all_tenants="lenient",
)


class NewSnapshot(Body, frozen=True):
    volume_id: Uuid | None
    name: Text | UnsetType | None = UNSET
    display_name: Text | UnsetType | None = UNSET
    description: Description | None = None
    force: Bool | UnsetType = UNSET
    metadata: Metadata | None = None


class CreateSnapshot(Body, frozen=True):
    snapshot: NewSnapshot


class SnapshotChanges(Body, frozen=True):
    name: Text | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    display_name: Text | UnsetType | None = UNSET
    display_description: Description | UnsetType | None = UNSET

    def columns(self) -> dict[str, Any]:
        """What is given, by column."""
        given = {
            "name": self.display_name if self.name is UNSET else self.name,
            "description": (
                self.display_description if self.description is UNSET else self.description
            ),
        }
        return {column: value for column, value in given.items() if value is not UNSET}


class UpdateSnapshot(Body, frozen=True):
    snapshot: SnapshotChanges


class ResetStatus(Body, frozen=True):
    status: str


async def list_snapshots(call: ApiCall) -> dict[str, Any]:
    return await _list(call, detailed=False)


async def list_detailed(call: ApiCall) -> dict[str, Any]:
    return await _list(call, detailed=True)


async def _list(call: ApiCall, *, detailed: bool) -> dict[str, Any]:
    query = parse_list(call, SNAPSHOTS)
    project = None if query.all_tenants else call.identity.project_id
    found = await call.app.store.read(lambda tx: shown_snapshots.page(tx, query, project))
    view = Views(call, detailed=detailed)
    shown = [view(one) for one in found.items]
    return page(call, SNAPSHOTS, query, shown, shown[-1].id if shown else None, found.total)


async def create(call: ApiCall) -> dict[str, Any]:
    wanted: NewSnapshot = call.body.snapshot
    if wanted.volume_id is None:
        raise NotFound("Volume", "null")
    if call.at_least(3, 66) and wanted.force is False:
        raise InvalidInput("snapshot.force: volumes in use are always taken; leave force out.")
    snapshot = await call.app.store.write(lambda tx: _create(tx, call, wanted))
    return {"snapshot": Views(call, extended=False)(made(snapshot))}


def _create(tx: WriteTx, call: ApiCall, wanted: NewSnapshot) -> Snapshot:
    volume = locked_volume(tx, call, "volume:create_snapshot", wanted.volume_id)
    services.require_thawed(tx, volume.host)
    in_use_allowed = call.at_least(3, 66) or wanted.force is True
    volume_rules.check_snapshot(volume, in_use_allowed=in_use_allowed)
    name = wanted.display_name if wanted.name is UNSET else wanted.name
    snapshot = Snapshot(
        id=new_id(),
        project_id=own_project(call),
        user_id=call.identity.user_id,
        volume_id=volume.id,
        size=volume.size,
        status="creating",
        volume_type_id=volume.volume_type_id,
        created_at=tx.now,
        name=None if name is UNSET else name,
        description=wanted.description,
        metadata=wanted.metadata or {},
    )
    type_name = volume_types.get(tx, volume.volume_type_id).name
    create_snapshot.submit(
        tx, call.app.caller(call), volume, snapshot, type_name, call.app.quota_defaults
    )
    return snapshot


async def show(call: ApiCall) -> dict[str, Any]:
    snapshot_id, project = call.params["snapshot_id"], seen_by(call)
    snapshot = await call.app.store.read(lambda tx: shown_snapshots.get(tx, snapshot_id, project))
    call.require("volume:get_snapshot", owner_of(snapshot))
    return {"snapshot": Views(call)(snapshot)}


async def update(call: ApiCall) -> dict[str, Any]:
    changes = call.body.snapshot.columns()
    if not changes:
        raise InvalidInput("snapshot: give at least one of name and description.")

    def change(tx: WriteTx) -> ShownSnapshot:
        snapshot = locked_snapshot(tx, call, "volume:update_snapshot")
        snapshots.update(tx, snapshot.id, **changes)
        return shown_snapshots.get(tx, snapshot.id)

    snapshot = await call.app.store.write(change)
    return {"snapshot": Views(call, extended=False)(snapshot)}


async def delete(call: ApiCall) -> None:
    def remove(tx: WriteTx) -> None:
        snapshot = locked_snapshot(tx, call, "volume:delete_snapshot")
        _require_thawed(tx, snapshot)
        delete_snapshot.submit(tx, call.app.caller(call), snapshot)

    await call.app.store.write(remove)


def _require_thawed(tx: WriteTx, snapshot: Snapshot) -> None:
    """That snapshots may be deleted where this one is. Raises InvalidInput."""
    volume = volumes.find(tx, snapshot.volume_id)
    services.require_thawed(tx, volume.host if volume else None)


async def force_delete(call: ApiCall) -> None:
    """Delete whatever the status; what is under way is cut short."""

    def remove(tx: WriteTx) -> None:
        rule = "volume_extension:snapshot_admin_actions:force_delete"
        snapshot = locked_snapshot(tx, call, rule)
        _require_thawed(tx, snapshot)
        cancel_on_snapshot(tx, snapshot, Reason.DELETED)
        delete_snapshot.submit(tx, call.app.caller(call), snapshot, force=True)

    await call.app.store.write(remove)


async def unmanage(call: ApiCall) -> None:
    """Forget the snapshot; the backend keeps its bytes."""

    def submit(tx: WriteTx) -> None:
        snapshot = locked_snapshot(tx, call, "snapshot_extension:snapshot_unmanage")
        unmanage_snapshot.submit(tx, call.app.caller(call), snapshot)

    await call.app.store.write(submit)


async def reset_status(call: ApiCall) -> None:
    """Write the status that was asked for; a look at the backend makes it the true one."""
    status = call.body.status.lower()
    if status not in RESETTABLE:
        raise InvalidInput(f"os-reset_status.status: {status[:255]} is no status of a snapshot.")

    def reset(tx: WriteTx) -> None:
        rule = "volume_extension:snapshot_admin_actions:reset_status"
        snapshot = locked_snapshot(tx, call, rule)
        cut_short = cancel_on_snapshot(tx, snapshot, Reason.RESET)
        snapshots.update(tx, snapshot.id, status=status)
        now = snapshots.get(tx, snapshot.id)
        check_snapshot.submit(tx, call.app.caller(call), now, cut_short=cut_short)

    await call.app.store.write(reset)


_TAGS = ("snapshots",)

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/snapshots",
        list_snapshots,
        query=SNAPSHOTS.names(),
        policy="volume:get_all_snapshots",
        summary="List snapshots",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/snapshots",
        create,
        body=CreateSnapshot,
        success=202,
        summary="Take a snapshot of a volume",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/snapshots/detail",
        list_detailed,
        query=SNAPSHOTS.names(),
        policy="volume:get_all_snapshots",
        summary="List snapshots in full",
        tags=_TAGS,
    ),
    Route("GET", "/snapshots/{snapshot_id}", show, summary="Show a snapshot", tags=_TAGS),
    Route(
        "PUT",
        "/snapshots/{snapshot_id}",
        update,
        body=UpdateSnapshot,
        summary="Rename or describe a snapshot",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        "/snapshots/{snapshot_id}",
        delete,
        success=202,
        summary="Delete a snapshot",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/snapshots/{snapshot_id}/action",
        reset_status,
        action="os-reset_status",
        body=ResetStatus,
        success=202,
        summary="Set the status of a snapshot",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/snapshots/{snapshot_id}/action",
        force_delete,
        action="os-force_delete",
        success=202,
        summary="Delete a snapshot whatever its status",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/snapshots/{snapshot_id}/action",
        unmanage,
        action="os-unmanage",
        success=202,
        summary="Forget a snapshot and leave its data on the backend",
        tags=_TAGS,
    ),
)
