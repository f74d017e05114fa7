"""Limits over HTTP: there are none on servers here, but clients ask and show what is used."""

from __future__ import annotations

from typing import Any

from breezeblock.compute.api.application import ApiCall
from breezeblock.store import servers
from breezeblock.web.routes import Route

UNLIMITED = -1
NAMES = ("maxTotalInstances", "maxTotalCores", "maxTotalRAMSize", "maxServerMeta")


async def show(call: ApiCall) -> dict[str, Any]:
    project = call.identity.project_id
    used = await call.app.store.read(lambda tx: servers.used_by(tx, project))
    absolute = dict.fromkeys(NAMES, UNLIMITED) | {
        "totalInstancesUsed": len(used),
        "totalCoresUsed": sum(flavor["vcpus"] for flavor in used),
        "totalRAMUsed": sum(flavor["ram"] for flavor in used),
    }
    return {"limits": {"rate": [], "absolute": absolute}}


ROUTES = (Route("GET", "/limits", show, summary="Show limits and usage", tags=("limits",)),)
