"""What one backend can do, as it last reported: for forms that let an operator make a volume type.

Read from the report that schedulers work with, so nothing waits for the backend.
"""

from __future__ import annotations

from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import NotFound
from breezeblock.store import services
from breezeblock.web.routes import Route

PROPERTIES = {
    "thin_provisioning_support": ("Thin provisioning", "Takes space as it is written."),
    "thick_provisioning_support": ("Thick provisioning", "Takes all space at once."),
    "multiattach": ("Multi-attach", "A volume may be attached to several servers."),
    "online_extend_support": ("Online extend", "A volume may grow while it is attached."),
    "QoS_support": ("QoS", "Limits the speed of volumes."),
    "replication_enabled": ("Replication", "Keeps a copy on another backend."),
    "compression": ("Compression", "Compresses what is written."),
}
"""Capability → title and description, for those that every driver means the same by."""


async def show(call: ApiCall) -> dict[str, Any]:
    host = call.params["host"].partition("#")[0]
    reports = await call.app.store.read(services.all_pools)
    told = next((report.capabilities for report in reports if report.backend == host), None)
    if told is None:
        raise NotFound("Backend", host)
    return {
        "namespace": f"OS::Storage::Capabilities::{host}",
        "vendor_name": told.get("vendor_name"),
        "volume_backend_name": told.get("volume_backend_name"),
        "pool_name": told.get("pool_name"),
        "driver_version": told.get("driver_version"),
        "storage_protocol": told.get("storage_protocol"),
        "display_name": told.get("display_name"),
        "description": told.get("description"),
        "visibility": told.get("visibility"),
        "replication_targets": told.get("replication_targets") or [],
        "properties": {
            name: {"title": title, "description": text, "type": "boolean"}
            for name, (title, text) in PROPERTIES.items()
            if told.get(name) is True
        },
    }


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/capabilities/{host}",
        show,
        policy="volume_extension:capabilities",
        summary="Show what a backend can do",
        tags=("pools",),
    ),
)
