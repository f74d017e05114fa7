"""Adopting volumes that a backend holds already, and listing those that could be.

The same on two paths; the older one knows no version.
"""

from __future__ import annotations

import re
from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.api.manageable import TAGS, list_routes, one_host, reference, service_on
from breezeblock.api.scope import own_project, seen_by
from breezeblock.api.services import HostName
from breezeblock.api.volume_create import usual_type
from breezeblock.api.volume_views import Details, made
from breezeblock.model.encryptions import refuse_volumes
from breezeblock.model.errors import InvalidInput, InvalidState, NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.volume_types import VolumeType
from breezeblock.model.volumes import Volume
from breezeblock.store import encryptions, services, volume_types, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.microversion import Version
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Bool, Description, Metadata, Text
from breezeblock.workflows import adopt_volume
from breezeblock.workflows.adoption import Data

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


class Adopted(Body, frozen=True):
    """What is adopted, and what it is to be called."""

    ref: dict[str, Any] | str
    host: HostName | None = None
    name: Text | None = None
    description: Description | None = None
    volume_type: Text | None = None
    availability_zone: Text | None = None
    bootable: Bool = False
    metadata: Metadata | None = None


class AdoptedFromCluster(Adopted, frozen=True):
    """From 3.16 on a cluster might be named. There are none."""

    cluster: Text | None = None


class AdoptVolume(Body, frozen=True):
    volume: Adopted


class AdoptVolumeFromCluster(Body, frozen=True):
    volume: AdoptedFromCluster


def adopt_body(version: Version) -> type:
    return AdoptVolumeFromCluster if version >= (3, 16) else AdoptVolume


async def adopt(call: ApiCall) -> dict[str, Any]:
    """The volume is `creating` until the backend has made it ours."""
    wanted: Adopted = call.body.volume
    named = reference(wanted.ref, "volume")
    volume, volume_type = await call.app.store.write(lambda tx: _adopt(tx, call, wanted, named))
    shown = made(volume, volume_type.name)
    return {"volume": Details(call, extended=False, oldest=True)(shown)}


def _adopt(
    tx: WriteTx, call: ApiCall, wanted: Adopted, named: dict[str, str]
) -> tuple[Volume, VolumeType]:
    _refuse_what_is_ours(tx, named)
    volume_type = _volume_type(tx, call, wanted.volume_type)
    encrypted = encryptions.find(tx, volume_type.id) is not None
    refuse_volumes(volume_type.name, encrypted=encrypted)
    if volume_type.multiattach:
        call.require("volume:multiattach")
    try:
        host = one_host(wanted.host, getattr(wanted, "cluster", None))
        service = service_on(tx, call, host)
    except NotFound as error:
        raise InvalidInput(f"volume.host: {error}") from None
    zone = wanted.availability_zone or service.availability_zone
    volume = Volume(
        id=new_id(),
        project_id=own_project(call),
        user_id=call.identity.user_id,
        created_at=tx.now,
        status="managing",
        size=0,
        volume_type_id=volume_type.id,
        name=(wanted.name or "").strip() or None,
        description=(wanted.description or "").strip() or None,
        availability_zone=zone,
        host=_pool(tx, host),
        service_uuid=service.id,
        bootable=wanted.bootable,
        multiattach=volume_type.multiattach,
        metadata=wanted.metadata or {},
    )
    data = Data(
        reference=named,
        extra_specs=volume_type.extra_specs,
        availability_zones=(zone,),
        limits=call.app.quota_defaults,
    )
    adopt_volume.submit(tx, call.app.caller(call), volume, volume_type.name, data)
    return volume, volume_type


def _refuse_what_is_ours(tx: ReadTx, named: dict[str, str]) -> None:
    """By the name that it has then; drivers know it in any case. Raises InvalidState."""
    found = _ID.search(named.get("source-name", "").lower())
    if found and volumes.find(tx, found[0]):
        raise InvalidState(f"volume.ref: volume {found[0]} is managed already.")


def _volume_type(tx: ReadTx, call: ApiCall, named: str | None) -> VolumeType:
    if not named:
        return usual_type(tx, call)[0]
    try:
        return volume_types.resolve(tx, named, seen_by(call))
    except NotFound:
        raise InvalidInput(f"volume.volume_type: there is no volume type {named}.") from None


def _pool(tx: ReadTx, host: str) -> str:
    """The pool that is meant. Raises InvalidInput when the backend has several."""
    if "#" in host:
        return host
    pools = [one.name for one in services.all_pools(tx) if one.backend == host]
    if len(pools) > 1:
        raise InvalidInput(f"volume.host: name one of the pools {', '.join(pools)}."[:1000])
    return pools[0] if pools else host


def _routes(path: str, since: str | None) -> tuple[Route, ...]:
    adopting = Route(
        "POST",
        path,
        adopt,
        body=adopt_body,
        policy="volume_extension:volume_manage",
        success=202,
        since=since,
        summary="Adopt a volume that a backend holds already",
        tags=TAGS,
    )
    return (adopting, *list_routes("volume", path, since))


ROUTES: tuple[Route, ...] = (
    *_routes("/manageable_volumes", "3.8"),
    *_routes("/os-volume-manage", None),
)
