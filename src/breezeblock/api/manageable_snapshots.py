"""Adopting snapshots of our volumes that a backend holds already, and listing those that could be.

The same on two paths; the older one knows no version.
"""

from __future__ import annotations

from typing import Any

from breezeblock.api.access import locked_volume
from breezeblock.api.application import ApiCall
from breezeblock.api.manageable import TAGS, list_routes, reference, service_on
from breezeblock.api.scope import own_project
from breezeblock.api.snapshot_views import Views, made
from breezeblock.model import volumes as volume_rules
from breezeblock.model.ids import new_id
from breezeblock.model.snapshots import Snapshot
from breezeblock.store import volume_types
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Description, Metadata, Text, Uuid
from breezeblock.workflows import adopt_snapshot
from breezeblock.workflows.adoption import Data


class Adopted(Body, frozen=True):
    """What is adopted, of which volume, and what it is to be called."""

    volume_id: Uuid
    ref: dict[str, Any] | str | None
    name: Text | None = None
    description: Description | None = None
    metadata: Metadata | None = None


class AdoptSnapshot(Body, frozen=True):
    snapshot: Adopted


async def adopt(call: ApiCall) -> dict[str, Any]:
    """The snapshot is `creating` until the backend has made it ours."""
    wanted: Adopted = call.body.snapshot
    named = reference(wanted.ref, "snapshot")
    snapshot = await call.app.store.write(lambda tx: _adopt(tx, call, wanted, named))
    return {"snapshot": Views(call, detailed=False)(made(snapshot))}


def _adopt(tx: WriteTx, call: ApiCall, wanted: Adopted, named: dict[str, str]) -> Snapshot:
    volume = locked_volume(tx, call, "snapshot_extension:snapshot_manage", wanted.volume_id)
    volume_rules.check_snapshot(volume, in_use_allowed=True)
    service_on(tx, call, volume.host or "")
    volume_type = volume_types.get(tx, volume.volume_type_id)
    snapshot = Snapshot(
        id=new_id(),
        project_id=own_project(call),
        user_id=call.identity.user_id,
        volume_id=volume.id,
        size=volume.size,
        status="creating",
        volume_type_id=volume.volume_type_id,
        created_at=tx.now,
        name=wanted.name,
        description=wanted.description,
        metadata=wanted.metadata or {},
    )
    data = Data(named, extra_specs=volume_type.extra_specs, limits=call.app.quota_defaults)
    adopt_snapshot.submit(tx, call.app.caller(call), snapshot, volume_type.name, data)
    return snapshot


def _routes(path: str, since: str | None) -> tuple[Route, ...]:
    adopting = Route(
        "POST",
        path,
        adopt,
        body=AdoptSnapshot,
        success=202,
        since=since,
        summary="Adopt a snapshot that a backend holds already",
        tags=TAGS,
    )
    return (adopting, *list_routes("snapshot", path, since))


ROUTES: tuple[Route, ...] = (
    *_routes("/manageable_snapshots", "3.8"),
    *_routes("/os-snapshot-manage", None),
)
