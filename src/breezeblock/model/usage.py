"""What volumes and snapshots use of a project's quota."""

from __future__ import annotations

from collections.abc import Iterable

from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import Volume


def of_volume(
    size: int, type_name: str, *, count: int = 1, consumes: bool = True
) -> dict[str, int]:
    """What a volume of this size and type uses (negative count: gives back)."""
    if not consumes:
        return {}
    return {
        "volumes": count,
        "gigabytes": count * size,
        f"volumes_{type_name}": count,
        f"gigabytes_{type_name}": count * size,
    }


def of_snapshot(
    size: int, type_name: str, *, count: int = 1, consumes: bool = True
) -> dict[str, int]:
    """What a snapshot uses: snapshots count as gigabytes, too."""
    if not consumes:
        return {}
    return {
        "snapshots": count,
        "gigabytes": count * size,
        f"snapshots_{type_name}": count,
        f"gigabytes_{type_name}": count * size,
    }


def kinds_of(volume: Volume, snapshots: Iterable[Snapshot]) -> dict[str, dict[str, int]]:
    """What a volume and its snapshots use of their type's limits: project id → kind → amount."""
    used: dict[str, dict[str, int]] = {}
    if volume.consumes_quota:
        used[volume.project_id] = {"volumes": 1, "gigabytes": volume.size}
    for one in snapshots:
        if one.consumes_quota:
            kinds = used.setdefault(one.project_id, {})
            kinds["snapshots"] = kinds.get("snapshots", 0) + 1
            kinds["gigabytes"] = kinds.get("gigabytes", 0) + one.size
    return used


def of_type(kinds: dict[str, int], type_name: str, *, count: int = 1) -> dict[str, int]:
    """The same of the type with this name (negative count: gives back)."""
    return {f"{kind}_{type_name}": count * amount for kind, amount in kinds.items()}
