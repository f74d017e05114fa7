"""Which filters users without administrator's rights may put on lists (3.33).

`FILTERS` is the one table of them; the list handlers refuse what is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.web.routes import Route

FILTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "volume": (
            "name",
            "status",
            "metadata",
            "bootable",
            "migration_status",
            "availability_zone",
            "group_id",
            "size",
            "created_at",
            "updated_at",
            "consumes_quota",
        ),
        "backup": ("name", "status", "volume_id"),
        "snapshot": (
            "name",
            "status",
            "volume_id",
            "metadata",
            "availability_zone",
            "consumes_quota",
        ),
        "group": ("name",),
        "group_snapshot": ("name", "status", "group_id"),
        "attachment": ("volume_id", "status", "instance_id", "attach_status"),
        "message": ("resource_uuid", "resource_type", "event_id", "request_id", "message_level"),
        "pool": ("name", "volume_type"),
        "volume_type": ("is_public", "extra_specs"),
    }
)


async def list_filters(call: ApiCall) -> dict[str, list[dict[str, Any]]]:
    wanted = call.query.get("resource")
    return {
        "resource_filters": [
            {"resource": resource, "filters": filters}
            for resource, filters in FILTERS.items()
            if wanted in (None, "", resource)
        ]
    }


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/resource_filters",
        list_filters,
        since="3.33",
        query=("resource",),
        summary="List the filters that users may put on lists",
        tags=("resource filters",),
    ),
)
