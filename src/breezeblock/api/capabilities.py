"""What one backend can do, as it last reported: for forms that let an operator make a volume type.

Read from the report that schedulers work with, so nothing waits for the backend.
"""

from __future__ import annotations

from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import NotFound
from breezeblock.model.services import is_on
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
    """Of the first backend, where a machine that serves several is named."""
    host = call.params["host"]
    reports = await call.app.store.read(services.all_pools)
    found = next((report for report in reports if is_on(report.backend, host)), None)
    if found is None:
        raise NotFound("Backend", host)
    told = found.capabilities
    return {
        "namespace": f"OS::Storage::Capabilities::{found.backend}",
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
