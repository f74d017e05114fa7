"""A small API with every kind of route, and a client that calls it in process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import httpx2

from breezeblock.auth.authenticators import Authenticator, NoAuth
from breezeblock.auth.policy import Policy
from breezeblock.model.errors import NotFound
from breezeblock.web.app import make_app
from breezeblock.web.call import Call, Reply
from breezeblock.web.microversion import Version
from breezeblock.web.query import Column, Listing
from breezeblock.web.routes import Route
from breezeblock.web.service import Service, block_storage
from breezeblock.web.types import UNSET, Body, LooseBody, Metadata, Name, Size, UnsetType

PROJECT = "0123456789abcdef0123456789abcdef"
TOKEN = {"X-Auth-Token": f"alice:{PROJECT}"}


class NewBox(Body, frozen=True):
    size: Size
    name: Name | UnsetType | None = UNSET
    metadata: Metadata | None = None


class LooseNewBox(LooseBody, frozen=True):
    size: Size
    name: Name | UnsetType | None = UNSET


class CreateBox(Body, frozen=True):
    box: NewBox


class LooseCreateBox(Body, frozen=True):
    box: LooseNewBox


class Grow(Body, frozen=True):
    new_size: Size


def create_type(version: Version) -> type:
    return CreateBox if version >= (3, 53) else LooseCreateBox


async def create(call: Call[Any]) -> dict[str, object]:
    return {"box": {"size": call.body.box.size}}


async def list_boxes(call: Call[Any]) -> dict[str, object]:
    return {"boxes": [], "project": call.identity.project_id}


async def show(call: Call[Any]) -> dict[str, object]:
    ident = call.params["box_id"]
    if ident == "missing":
        raise NotFound("Box", ident)
    return {"box": {"id": ident, "links": call.link("boxes", ident)}}


async def delete(_call: Call[Any]) -> None:
    return None


async def grow(call: Call[Any]) -> dict[str, object]:
    return {"grown": call.body.new_size}


async def shrink(_call: Call[Any]) -> Reply:
    return Reply(status=204)


async def old_label(_call: Call[Any]) -> dict[str, object]:
    return {"label": "old"}


async def new_label(_call: Call[Any]) -> dict[str, object]:
    return {"label": "new"}


async def enable(_call: Call[Any]) -> Reply:
    return Reply({"enabled": True}, headers={"ETag": "abc"})


ROUTES = (
    Route("POST", "/boxes", create, body=create_type, policy="volume:create", success=202),
    Route("GET", "/boxes", list_boxes, policy="volume:get_all", query=("limit", "marker")),
    Route("GET", "/boxes/{box_id}", show, summary="Show a box", tags=("boxes",)),
    Route("DELETE", "/boxes/{box_id}", delete, success=202, policy="volume:force_delete"),
    Route("POST", "/boxes/{box_id}/action", grow, action="grow", body=Grow),
    Route("POST", "/boxes/{box_id}/action", shrink, action="shrink", since="3.40", success=202),
    Route("GET", "/labels", old_label, until="3.9"),
    Route("GET", "/labels", new_label, since="3.10"),
    Route("GET", "/crates", new_label, since="3.27"),
    Route("PUT", "/locks/enable", enable),
)


def client(
    routes: Iterable[Route] = ROUTES,
    *,
    service: Service | None = None,
    authenticator: Authenticator | None = None,
    policy: Policy | None = None,
    **options: Any,
) -> httpx2.AsyncClient:
    """A client of an application with these routes; it sends no credentials of its own."""
    app = make_app(
        service or block_storage(),
        routes,
        app=None,
        authenticator=authenticator or NoAuth(),
        policy=policy or Policy(),
        **options,
    )
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=cast("Any", app)), base_url="http://cloud"
    )


BOXES = Listing(
    resource="box",
    collection="boxes",
    links_key="boxes_links",
    columns={
        "name": Column(),
        "status": Column("value"),
        "size": Column("integer"),
        "group_id": Column(since="3.10"),
        "bootable": Column("bool", strict_since="3.2"),
        "metadata": Column("metadata"),
        "created_at": Column("time", since="3.60"),
        "host": Column(),
    },
    public=("name", "status", "size", "group_id", "bootable", "metadata", "created_at"),
    sortable={"id": "3.0", "created_at": "3.0", "size": "3.0", "name": "3.30"},
    with_count_since="3.45",
    all_tenants="strict",
    ignored=("cascade",),
)
