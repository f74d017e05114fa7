"""Servers over HTTP: list, show, rename, delete. Creating and actions have files of their own."""

from __future__ import annotations

from typing import Any

from breezeblock.compute.api import policy
from breezeblock.compute.api.application import ApiCall, find_server
from breezeblock.compute.api.server_views import summary, view
from breezeblock.compute.workflows import delete_server
from breezeblock.model.errors import InvalidInput
from breezeblock.model.listing import ListQuery
from breezeblock.model.servers import DELETING, Server, ServerVolume
from breezeblock.store import servers
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.query import next_link, parse_bool, parse_limit
from breezeblock.web.routes import Route
from breezeblock.web.types import UNSET, Body, Description, RequiredName, UnsetType

SORTABLE = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "display_name": "name",
    "host": "host",
    "uuid": "id",
    "launched_at": "launched_at",
    "task_state": "task_state",
}
EQUAL = ("status", "host", "user_id")
KNOWN = frozenset(
    {"limit", "marker", "sort_key", "sort_dir", "all_tenants", "name", "project_id", "tenant_id"}
    | {"flavor", "image", "deleted", "changes-since", "changes-before", "availability_zone"}
    | {"task_state", "vm_state", "power_state", "locked", "ip", "ip6", "reservation_id", "uuid"}
    | {"key_name", "config_drive", "progress", "launched_at", "terminated_at", "created_at"}
    | {"hostname", "node", "locked_by", "tags", "tags-any", "not-tags", "not-tags-any"}
    | {*EQUAL}
)
_STRICT = (2, 75)
_Found = tuple[list[Server], dict[str, list[ServerVolume]], ListQuery]


class ServerChanges(Body, frozen=True):
    """What may be changed of a server."""

    name: RequiredName | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET


class UpdateServer(Body, frozen=True):
    server: ServerChanges


async def list_servers(call: ApiCall) -> dict[str, Any]:
    found, _volumes, query = await _list(call, policy.LIST_ALL)
    return _page(call, query, found, [summary(call, server) for server in found])


async def detail(call: ApiCall) -> dict[str, Any]:
    found, volumes, query = await _list(call, policy.DETAIL_ALL)
    views = [view(call, server, volumes.get(server.id, [])) for server in found]
    return _page(call, query, found, views)


async def show(call: ApiCall) -> dict[str, Any]:
    return await _shown(call, await find_server(call, policy.SHOW))


async def update(call: ApiCall) -> dict[str, Any]:
    server = await find_server(call, policy.UPDATE)
    wanted: ServerChanges = call.body.server
    given = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    changes = {name: value for name, value in given.items() if value is not UNSET}
    await call.app.store.write(lambda tx: servers.update(tx, server.id, **changes))
    return await _shown(call, await find_server(call, policy.UPDATE))


async def _shown(call: ApiCall, server: Server) -> dict[str, Any]:
    volumes = await call.app.store.read(lambda tx: servers.volumes_of(tx, server.id))
    return {"server": view(call, server, volumes, one=True)}


async def delete(call: ApiCall) -> None:
    server = await find_server(call, policy.DELETE)

    def submit(tx: WriteTx) -> None:
        locked = servers.lock(tx, server.id)
        if locked.task_state != DELETING:
            delete_server.submit(tx, call.app.caller(call), locked)

    await call.app.store.write(submit)


async def _list(call: ApiCall, of_everybody: str) -> _Found:
    query, project = _parse(call, of_everybody)

    def read(tx: ReadTx) -> _Found:
        found = servers.page(tx, query, project).items
        return found, dict(servers.volumes_of_all(tx, [one.id for one in found])), query

    return await call.app.store.read(read)


def _page(call: ApiCall, query: ListQuery, found: list[Server], views: list[Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"servers": views}
    links = next_link(call, query, len(found), found[-1].id if found else None)
    return body | ({"servers_links": links} if links else {})


def _parse(call: ApiCall, of_everybody: str) -> tuple[ListQuery, str | None]:
    """What is asked for, and the project that limits it; `of_everybody`: the rule for no limit.
    Raises InvalidInput, Forbidden.

    Names that mean nothing to us find nothing when the wire knows them, so that nobody takes the
    whole list for a filtered one; the wire refuses the others from 2.75 on.
    """
    asked = call.query
    unknown = sorted(set(asked) - KNOWN)
    if unknown and call.version >= _STRICT:
        raise InvalidInput(f"Additional query parameters are not allowed: {', '.join(unknown)}")
    everybody = parse_bool("all_tenants", asked.get("all_tenants") or "1")
    everybody = everybody and "all_tenants" in asked
    if everybody:
        call.require(of_everybody)
    project = None if everybody else call.identity.project_id
    filters: dict[str, Any] = {name: asked[name] for name in EQUAL if name in asked}
    if "status" in filters:
        filters["status"] = filters["status"].upper()
    wanted_project = asked.get("project_id", asked.get("tenant_id"))
    if wanted_project is not None and everybody:
        project = wanted_project
    if "uuid" in asked:
        filters["id"] = asked["uuid"]
    query = ListQuery(
        limit=parse_limit(call),
        marker=asked.get("marker"),
        sort=_sort(call),
        filters=filters,
        like={"name": asked["name"].strip("^$")} if "name" in asked else {},
        empty=asked.get("deleted", "").lower() in ("1", "true", "t", "yes"),
    )
    return query, project


def _sort(call: ApiCall) -> tuple[tuple[str, Any], ...]:
    key = call.query.get("sort_key", "created_at")
    way = call.query.get("sort_dir", "desc")
    if key not in SORTABLE or way not in ("asc", "desc"):
        raise InvalidInput(f"Servers cannot be sorted by {key!r} {way!r}.")
    first = ListQuery(limit=0).sort
    column = SORTABLE[key]
    rest = tuple((name, way) for name, _ in first if name != column)
    return ((column, way), *rest)


_TAGS = ("servers",)
_QUERY = tuple(sorted(KNOWN))

ROUTES = (
    Route(
        "GET",
        "/servers",
        list_servers,
        query=_QUERY,
        policy=policy.LIST,
        summary="List servers",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/servers/detail",
        detail,
        query=_QUERY,
        policy=policy.DETAIL,
        summary="List servers, whole",
        tags=_TAGS,
    ),
    Route("GET", "/servers/{server_id}", show, summary="Show a server", tags=_TAGS),
    Route(
        "PUT",
        "/servers/{server_id}",
        update,
        body=UpdateServer,
        summary="Rename or describe a server",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        "/servers/{server_id}",
        delete,
        success=204,
        summary="Delete a server",
        tags=_TAGS,
    ),
)
