"""Flavors over HTTP: the sizes of servers that the configuration knows."""

from __future__ import annotations

from typing import Any

from breezeblock.compute.api.application import ApiCall
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.servers import Flavor
from breezeblock.web.query import parse_limit
from breezeblock.web.routes import Route


def summary(call: ApiCall, flavor: Flavor) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": flavor.id,
        "name": flavor.name,
        "links": call.link("flavors", flavor.id),
    }
    if call.at_least(2, 55):
        shown["description"] = None
    return shown


def view(call: ApiCall, flavor: Flavor) -> dict[str, Any]:
    shown = summary(call, flavor) | {
        "ram": flavor.ram,
        "disk": flavor.disk,
        "vcpus": flavor.vcpus,
        "swap": 0 if call.at_least(2, 75) else "",
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "os-flavor-access:is_public": True,
    }
    if not call.at_least(2, 102):
        shown |= {"OS-FLV-DISABLED:disabled": False, "rxtx_factor": 1.0}
    if call.at_least(2, 61):
        shown["extra_specs"] = {}
    return shown


def of_server(call: ApiCall, flavor: Flavor) -> dict[str, Any]:
    """The flavor inside a server: a reference, from 2.47 on what it was when it was used."""
    if not call.at_least(2, 47):
        [_self, bookmark] = call.link("flavors", flavor.id)
        return {"id": flavor.id, "links": [bookmark]}
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.name,
        "extra_specs": {},
    }


async def list_flavors(call: ApiCall) -> dict[str, Any]:
    return {"flavors": [summary(call, flavor) for flavor in _page(call)]}


async def detail(call: ApiCall) -> dict[str, Any]:
    return {"flavors": [view(call, flavor) for flavor in _page(call)]}


async def show(call: ApiCall) -> dict[str, Any]:
    return {"flavor": view(call, find(call, call.params["flavor_id"]))}


async def extra_specs(call: ApiCall) -> dict[str, Any]:
    find(call, call.params["flavor_id"])
    return {"extra_specs": {}}


def find(call: ApiCall, flavor_id: str) -> Flavor:
    """Raises NotFound."""
    flavor = call.app.flavors.get(flavor_id)
    if flavor is None:
        raise NotFound("Flavor", flavor_id)
    return flavor


def _page(call: ApiCall) -> list[Flavor]:
    """Few as they are, they come in pages: clients ask for the one behind the last they saw."""
    flavors = list(call.app.flavors.values())
    marker = call.query.get("marker")
    if marker is not None:
        ids = [flavor.id for flavor in flavors]
        if marker not in ids:
            raise InvalidInput(f"marker [{marker}] not found")
        flavors = flavors[ids.index(marker) + 1 :]
    for parameter, field in (("minRam", "ram"), ("minDisk", "disk")):
        least = call.query.get(parameter, "0")
        if not least.isdecimal():
            raise InvalidInput(f"Invalid value {least!r} for {parameter}.")
        flavors = [flavor for flavor in flavors if getattr(flavor, field) >= int(least)]
    return flavors[: parse_limit(call)]


_TAGS = ("flavors",)
_QUERY = ("limit", "marker", "minRam", "minDisk", "is_public", "sort_key", "sort_dir")

ROUTES = (
    Route("GET", "/flavors", list_flavors, query=_QUERY, summary="List flavors", tags=_TAGS),
    Route(
        "GET", "/flavors/detail", detail, query=_QUERY, summary="List flavors, whole", tags=_TAGS
    ),
    Route("GET", "/flavors/{flavor_id}", show, summary="Show a flavor", tags=_TAGS),
    Route(
        "GET",
        "/flavors/{flavor_id}/os-extra_specs",
        extra_specs,
        summary="List a flavor's extra specs (there are none)",
        tags=_TAGS,
    ),
)
