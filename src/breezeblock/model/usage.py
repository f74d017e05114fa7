"""What volumes and snapshots use of a project's quota."""

from __future__ import annotations


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
