"""FlexVols and what they lie on, as pools that the scheduler and volume types know. No I/O.

The names of the facts (`netapp_dedup`, `netapp_disk_type`, …) and their forms, the texts `true` and
`false`, are those that operators' types ask for today. Facts of aggregates need an account that may
look at the cluster; a pool without them says nothing of them, so that a type which asks for one is
not placed there by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from breezeblock.drivers.base import PoolStats

GIB = 1 << 30
FLEXVOL_FIELDS = (
    *("name", "uuid", "style", "svm.name", "aggregates.name", "nas.path", "guarantee.type"),
    *("space.size", "space.available", "space.afs_total", "encryption.enabled"),
    *("efficiency.state", "efficiency.compression", "snapshot_directory_access_enabled"),
)
AGGREGATE_FIELDS = (
    *("name", "home_node.name", "block_storage.primary.raid_type", "block_storage.storage_type"),
    *("space.block_storage.size", "space.block_storage.used"),
)
DISK_FIELDS = ("aggregates.name", "effective_type")
NODE_FIELDS = ("name", "is_all_flash_optimized", "is_all_flash_select_optimized")


class _Version(msgspec.Struct, frozen=True):
    generation: int = 0
    major: int = 0
    minor: int = 0


class Release(msgspec.Struct, frozen=True):
    """What the array runs."""

    version: _Version = _Version()

    @property
    def number(self) -> tuple[int, int, int]:
        return self.version.generation, self.version.major, self.version.minor


class Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Space(msgspec.Struct, frozen=True):
    size: int = 0
    available: int = 0
    afs_total: int = 0


class _Guarantee(msgspec.Struct, frozen=True):
    type: str = "none"


class _Efficiency(msgspec.Struct, frozen=True):
    state: str = "disabled"
    compression: str = "none"


class _Encryption(msgspec.Struct, frozen=True):
    enabled: bool = False


class _Nas(msgspec.Struct, frozen=True):
    path: str = ""


class FlexVol(msgspec.Struct, frozen=True):
    """A FlexVol (or FlexGroup) as the array lists it."""

    name: str
    uuid: str
    style: str = "flexvol"
    svm: Named = Named()
    aggregates: tuple[Named, ...] = ()
    nas: _Nas = _Nas()
    guarantee: _Guarantee = _Guarantee()
    space: _Space = _Space()
    encryption: _Encryption = _Encryption()
    efficiency: _Efficiency = _Efficiency()
    snapshot_directory_access_enabled: bool = True


class _Raid(msgspec.Struct, frozen=True):
    raid_type: str = ""


class _Block(msgspec.Struct, frozen=True):
    primary: _Raid = _Raid()
    storage_type: str = ""
    size: int = 0
    used: int = 0


class _AggregateSpace(msgspec.Struct, frozen=True):
    block_storage: _Block = _Block()


class Aggregate(msgspec.Struct, frozen=True):
    """An aggregate as the array lists it."""

    name: str
    home_node: Named = Named()
    block_storage: _Block = _Block()
    space: _AggregateSpace = _AggregateSpace()


class Disk(msgspec.Struct, frozen=True):
    aggregates: tuple[Named, ...] = ()
    effective_type: str = ""


class Node(msgspec.Struct, frozen=True):
    """A node; `is_flash`: it keeps minimum limits."""

    name: str
    is_all_flash_optimized: bool = False
    is_all_flash_select_optimized: bool = False

    @property
    def is_flash(self) -> bool:
        return self.is_all_flash_optimized or self.is_all_flash_select_optimized


class _Source(msgspec.Struct, frozen=True):
    path: str = ""


class Mirror(msgspec.Struct, frozen=True):
    """A mirror whose source is `SVM:FLEXVOL`."""

    source: _Source = _Source()


@dataclass(frozen=True, slots=True)
class Array:
    """What is under the FlexVols, as far as the account may see it.

    `disk_types` is by aggregate; `flash_nodes` are the nodes that keep minimum limits; `mirrored`
    the sources of mirrors, `SVM:FLEXVOL`; None: the account may not look.
    """

    aggregates: Mapping[str, Aggregate] = field(default_factory=dict)
    disk_types: Mapping[str, frozenset[str]] = field(default_factory=dict)
    flash_nodes: Set[str] | None = None
    mirrored: Set[str] | None = None
    qos: bool = True


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator configured for all pools. `thick`: space is reserved unless a type says
    otherwise, so nothing can be promised twice. `together`: several volumes can be frozen at the
    same moment."""

    thick: bool
    max_over_subscription_ratio: float | str
    reserved_percentage: int
    functions: Mapping[str, str]
    together: bool = True


def pool_stats(flexvol: FlexVol, array: Array, terms: Terms, provisioned: float) -> PoolStats:
    """A FlexVol as a pool; `provisioned` is the GiB that its volumes were promised."""
    return PoolStats(
        name=flexvol.name,
        total_capacity_gb=round(flexvol.space.afs_total / GIB, 2),
        free_capacity_gb=round(flexvol.space.available / GIB, 2),
        provisioned_capacity_gb=round(provisioned, 2),
        reserved_percentage=terms.reserved_percentage,
        max_over_subscription_ratio=terms.max_over_subscription_ratio,
        thin_provisioning_support=not terms.thick,
        thick_provisioning_support=terms.thick,
        multiattach=True,
        online_extend_support=True,
        extra={
            **_of_flexvol(flexvol, array),
            **_of_aggregates(flexvol, array),
            "consistent_group_snapshot_enabled": (
                terms.together and flexvol.snapshot_directory_access_enabled
            ),
            **terms.functions,
        },
    )


def _of_flexvol(flexvol: FlexVol, array: Array) -> dict[str, Any]:
    thin = flexvol.guarantee.type == "none"
    facts = {
        **_either("netapp_thin_provisioned", "netapp_thick_provisioned", thin),
        **_either("netapp_dedup", "netapp_nodedup", flexvol.efficiency.state != "disabled"),
        **_either(
            "netapp_compression",
            "netapp_nocompression",
            flexvol.efficiency.compression != "none",
        ),
        "netapp_flexvol_encryption": _word(flexvol.encryption.enabled),
        "netapp_is_flexgroup": _word(flexvol.style == "flexgroup"),
        "QoS_support": array.qos,
    }
    if array.mirrored is not None:
        mirrored = f"{flexvol.svm.name}:{flexvol.name}" in array.mirrored
        facts |= _either("netapp_mirrored", "netapp_unmirrored", mirrored)
    return facts


def _of_aggregates(flexvol: FlexVol, array: Array) -> dict[str, Any]:
    """What is known of what it lies on: of a FlexGroup, lists."""
    names = [aggregate.name for aggregate in flexvol.aggregates]
    under = [array.aggregates[name] for name in names if name in array.aggregates]
    if not under or len(under) < len(names):
        return {}
    facts: dict[str, Any] = {
        "netapp_aggregate": _one_or_all(names),
        "netapp_raid_type": _one_or_all(one.block_storage.primary.raid_type for one in under),
        "netapp_hybrid_aggregate": _word(
            any(one.block_storage.storage_type == "hybrid" for one in under)
        ),
        "netapp_aggregate_used_percent": max(_used(one) for one in under),
    }
    disks = frozenset[str]().union(*(array.disk_types.get(name, ()) for name in names))
    if disks:
        facts["netapp_disk_type"] = sorted(disks)
    if array.flash_nodes is not None:
        flash = all(one.home_node.name in array.flash_nodes for one in under)
        facts["netapp_qos_min_support"] = _word(flash)
    return facts


def _either(positive: str, negative: str, is_so: bool) -> dict[str, str]:
    return {positive: _word(is_so), negative: _word(not is_so)}


def _word(is_so: bool) -> Literal["true", "false"]:
    return "true" if is_so else "false"


def _one_or_all(values: Iterable[str]) -> str | list[str]:
    found = sorted(set(values))
    return found[0] if len(found) == 1 else found


def _used(aggregate: Aggregate) -> int:
    """Percent, whole."""
    space = aggregate.space.block_storage
    return round(100 * space.used / space.size) if space.size else 0


def disk_types(disks: Sequence[Disk]) -> dict[str, frozenset[str]]:
    """Aggregate → the kinds of disks in it, in the capital letters that types ask for."""
    found: dict[str, set[str]] = {}
    for disk in disks:
        for aggregate in disk.aggregates:
            found.setdefault(aggregate.name, set()).add(disk.effective_type.upper())
    return {name: frozenset(kinds) for name, kinds in found.items()}
