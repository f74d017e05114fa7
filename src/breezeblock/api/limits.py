"""The limits of a project and how much of them it uses, in the short form that clients show."""

from __future__ import annotations

from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.store import quotas
from breezeblock.store.store import ReadTx
from breezeblock.web.routes import Route

KEYS = {
    "volumes": ("maxTotalVolumes", "totalVolumesUsed"),
    "snapshots": ("maxTotalSnapshots", "totalSnapshotsUsed"),
    "gigabytes": ("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
    "backups": ("maxTotalBackups", "totalBackupsUsed"),
    "backup_gigabytes": ("maxTotalBackupGigabytes", "totalBackupGigabytesUsed"),
}
"""Resource → the names of its limit and of its usage on the wire."""


async def show(call: ApiCall) -> dict[str, Any]:
    project, defaults = _project(call), call.app.quota_defaults

    def read(tx: ReadTx) -> tuple[dict[str, int], dict[str, int]]:
        return quotas.limits(tx, project, list(KEYS), defaults), quotas.usages(tx, project)

    limits, usages = await call.app.store.read(read)
    absolute = {key: limits[resource] for resource, (key, _) in KEYS.items()}
    if call.allowed("limits_extension:used_limits", {"project_id": project}):
        absolute |= {key: usages.get(resource, 0) for resource, (_, key) in KEYS.items()}
    return {"limits": {"rate": [], "absolute": absolute}}


def _project(call: ApiCall) -> str:
    """The caller's own, or from 3.39 the one that an administrator asks about."""
    asked = call.query.get("project_id") or call.query.get("tenant_id")
    if asked and call.identity.is_admin and call.at_least(3, 39):
        return asked
    return call.identity.project_id


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/limits",
        show,
        query=("project_id", "tenant_id"),
        summary="Show the project's limits and usage",
        tags=("limits",),
    ),
)
