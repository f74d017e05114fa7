"""The extensions of the API's earlier days: clients look here for what a service can do.

An extension is listed when its routes are served; the list grows with them.
"""

from __future__ import annotations

from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import NotFound
from breezeblock.web.routes import Route

UPDATED = "2026-01-01T00:00:00+00:00"
EXTENSIONS = {
    "OS-SCH-HNT": ("SchedulerHints", "Pass hints to the scheduler when a volume is created."),
    "capabilities": ("Capabilities", "What a backend can do."),
    "encryption": ("VolumeTypeEncryption", "How volumes of a type are to be encrypted."),
    "os-admin-actions": ("AdminActions", "Actions on volumes and snapshots for operators."),
    "os-availability-zone": ("AvailabilityZones", "List availability zones."),
    "os-extended-services": ("ExtendedServices", "Why a service is disabled."),
    "os-extended-snapshot-attributes": (
        "ExtendedSnapshotAttributes",
        "Project and progress of a snapshot.",
    ),
    "os-hosts": ("Hosts", "The older list of services, and what projects have on a host."),
    "os-quota-class-sets": ("QuotaClasses", "Default limits of projects."),
    "os-quota-sets": ("Quotas", "Limits and usage of projects."),
    "os-services": ("Services", "List services, take them out of and into scheduling."),
    "os-snapshot-actions": ("SnapshotActions", "Say how far a snapshot is."),
    "os-snapshot-manage": ("SnapshotManage", "Take over snapshots that a backend holds already."),
    "os-snapshot-unmanage": ("SnapshotUnmanage", "Forget a snapshot and leave its data."),
    "os-types-extra-specs": ("TypesExtraSpecs", "What the scheduler and drivers read of a type."),
    "os-types-manage": ("TypesManage", "Create, change and delete volume types."),
    "os-used-limits": ("UsedLimits", "Usage beside the limits."),
    "os-vol-host-attr": ("VolumeHostAttribute", "The pool that holds a volume."),
    "os-vol-image-meta": ("VolumeImageMetadata", "What a volume keeps of the image it came from."),
    "os-vol-mig-status-attr": ("VolumeMigStatusAttribute", "Whether a volume is being migrated."),
    "os-vol-tenant-attr": ("VolumeTenantAttribute", "The project that owns a volume."),
    "os-volume-actions": ("VolumeActions", "Attach, detach, extend and other actions on volumes."),
    "os-volume-encryption-metadata": ("VolumeEncryptionMetadata", "How a volume is encrypted."),
    "os-volume-manage": ("VolumeManage", "Take over volumes that a backend holds already."),
    "os-volume-transfer": ("VolumeTransfer", "Give a volume to another project."),
    "os-volume-type-access": ("VolumeTypeAccess", "Which projects may use a private type."),
    "os-volume-unmanage": ("VolumeUnmanage", "Forget a volume and leave its data."),
    "qos-specs": ("Qos_specs_manage", "Limits that volume types give their volumes."),
    "scheduler-stats": ("Scheduler_stats", "Pools as the scheduler sees them."),
}
"""Alias → name and description."""


def view(alias: str) -> dict[str, Any]:
    name, description = EXTENSIONS[alias]
    return {
        "name": name,
        "alias": alias,
        "description": description,
        "updated": UPDATED,
        "links": [],
    }


async def list_extensions(_call: ApiCall) -> dict[str, Any]:
    return {"extensions": [view(alias) for alias in EXTENSIONS]}


async def show(call: ApiCall) -> dict[str, Any]:
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise NotFound("Extension", alias)
    return {"extension": view(alias)}


_TAGS = ("extensions",)

ROUTES: tuple[Route, ...] = (
    Route("GET", "/extensions", list_extensions, summary="List extensions", tags=_TAGS),
    Route("GET", "/extensions/{alias}", show, summary="Show an extension", tags=_TAGS),
)
