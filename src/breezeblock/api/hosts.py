"""Hosts: the older, shorter list of services, and what each project has on a host."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.services import Service, is_on
from breezeblock.store import hosts, services
from breezeblock.store.hosts import Load
from breezeblock.store.store import ReadTx
from breezeblock.web.routes import Route
from breezeblock.web.types import timestamp

TOTAL = "(total)"


def view(service: Service) -> dict[str, Any]:
    return {
        "host_name": service.host,
        "service": service.binary,
        "zone": service.availability_zone,
        "service-status": "available" if service.up else "unavailable",
        "service-state": "disabled" if service.out_of_scheduling else "enabled",
        "last-update": timestamp(service.updated_at),
    }


def resource(host: str, project: str, load: Load) -> dict[str, Any]:
    """The sums of one project; numbers are texts here."""
    return {
        "resource": {
            "host": host,
            "project": project,
            "volume_count": str(load.volumes),
            "total_volume_gb": str(load.volume_gigabytes),
            "snapshot_count": str(load.snapshots),
            "total_snapshot_gb": str(load.snapshot_gigabytes),
        }
    }


async def list_hosts(call: ApiCall) -> dict[str, Any]:
    zone = call.query.get("zone")
    known = await call.app.store.read(lambda tx: _known(tx, call))
    return {"hosts": [view(one) for one in known if not zone or one.availability_zone == zone]}


def _known(tx: ReadTx, call: ApiCall) -> list[Service]:
    return services.all_services(tx, call.app.config.service_down_time)


async def show(call: ApiCall) -> dict[str, Any]:
    """The sums over all projects, then each project's."""
    host = call.params["host"]

    def read(tx: ReadTx) -> dict[str, Load]:
        known = _known(tx, call)
        if not any(one.binary == services.VOLUME and is_on(one.host, host) for one in known):
            raise NotFound("Host", host)
        return hosts.load_by_project(tx, host)

    loads = await call.app.store.read(read)
    shown = {TOTAL: reduce(add, loads.values(), Load()), **loads}
    return {"host": [resource(host, project, load) for project, load in shown.items()]}


async def update(call: ApiCall) -> dict[str, Any]:
    """There is nothing of a host that can be changed here: services are what is enabled."""
    host = call.params["host"]
    known = await call.app.store.read(lambda tx: _known(tx, call))
    if host not in {one.host for one in known}:
        raise NotFound("Host", host)
    for name, value in call.body.items():
        if name.strip().lower() != "status":
            raise InvalidInput(f"Invalid update setting: {name[:100]!r}")
        asked = value.strip().lower() if isinstance(value, str) else ""
        if asked not in ("enable", "disable"):
            raise InvalidInput("status: it must be enable or disable.")
        raise InvalidInput(
            f"status: hosts are not enabled or disabled here; use PUT /os-services/{asked} "
            "with the service's binary and host."
        )
    return {}


_TAGS = ("hosts",)
_RULE = "volume_extension:hosts"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/os-hosts",
        list_hosts,
        query=("zone",),
        policy=_RULE,
        summary="List hosts",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/os-hosts/{host}",
        show,
        policy=_RULE,
        summary="Show what projects have on a host",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        "/os-hosts/{host}",
        update,
        body=dict[str, Any],
        policy=_RULE,
        summary="Change a host",
        tags=_TAGS,
    ),
)
