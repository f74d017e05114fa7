"""Availability zones: those that the volume services say they are in."""

from __future__ import annotations

from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.store import services
from breezeblock.web.routes import Route


async def list_zones(call: ApiCall) -> dict[str, list[dict[str, Any]]]:
    """A zone is available when at least one volume service in it is enabled."""
    down_time = call.app.config.service_down_time
    known = await call.app.store.read(lambda tx: services.all_services(tx, down_time))
    zones: dict[str, bool] = {}
    for service in known:
        if service.binary == services.VOLUME:
            enabled = zones.get(service.availability_zone, False) or not service.out_of_scheduling
            zones[service.availability_zone] = enabled
    return {
        "availabilityZoneInfo": [
            {"zoneName": zone, "zoneState": {"available": available}}
            for zone, available in sorted(zones.items())
        ]
    }


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/os-availability-zone",
        list_zones,
        summary="List availability zones",
        tags=("availability zones",),
    ),
)
