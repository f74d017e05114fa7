"""Filters and weighers by the names in the configuration.

Called once when the scheduler service starts. Every name stands for a class behind an entry point
in the group `breezeblock.filters` or `breezeblock.weighers`; other packages add theirs there. Ours
are found without one too, so that a source tree works before it is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from breezeblock.scheduler import filters, weighers
from breezeblock.scheduler.filters.base import Filter
from breezeblock.scheduler.weighers import Weigher

FILTER_GROUP = "breezeblock.filters"
WEIGHER_GROUP = "breezeblock.weighers"

DEFAULT_FILTERS = (
    "AvailabilityZoneFilter",
    "CapacityFilter",
    "CapabilitiesFilter",
    "DriverFilter",
    "SameBackendFilter",
    "DifferentBackendFilter",
)
DEFAULT_WEIGHERS = ("CapacityWeigher",)

FILTERS: Mapping[str, type[Filter]] = {
    one.__name__: one
    for one in (
        filters.AvailabilityZoneFilter,
        filters.CapabilitiesFilter,
        filters.CapacityFilter,
        filters.DifferentBackendFilter,
        filters.DriverFilter,
        filters.IgnoreAttemptedHostsFilter,
        filters.JsonFilter,
        filters.SameBackendFilter,
    )
}
WEIGHERS: Mapping[str, type[Weigher]] = {
    one.__name__: one
    for one in (
        weighers.AllocatedCapacityWeigher,
        weighers.CapacityWeigher,
        weighers.ChanceWeigher,
        weighers.GoodnessWeigher,
        weighers.VolumeNumberWeigher,
    )
}


def load_filters(names: Sequence[str] = DEFAULT_FILTERS) -> tuple[Filter, ...]:
    """Make the filters, in this order; ValueError names an unknown one and those there are."""
    known = _known(FILTER_GROUP, FILTERS)
    return tuple(_filter(name, _found(name, known)) for name in names)


def load_weighers(
    names: Sequence[str] = DEFAULT_WEIGHERS, multipliers: Mapping[str, float] | None = None
) -> tuple[Weigher, ...]:
    """Make the weighers; `multipliers` (by weigher name) override their defaults.

    ValueError names an unknown weigher and those there are, also for a multiplier.
    """
    known = _known(WEIGHER_GROUP, WEIGHERS)
    given = multipliers or {}
    for name in given:
        _found(name, known)
    return tuple(_weigher(name, _found(name, known), given.get(name)) for name in names)


def _known(group: str, ours: Mapping[str, type]) -> dict[str, type | EntryPoint]:
    known: dict[str, type | EntryPoint] = dict(ours)
    values: dict[str, str] = {}
    for point in entry_points(group=group):
        if values.setdefault(point.name, point.value) != point.value:
            both = f"{values[point.name]} and {point.value}"
            raise ValueError(f"{point.name} in {group} is claimed by {both}")
        known[point.name] = point
    return known


def _found(name: str, known: Mapping[str, type | EntryPoint]) -> object:
    if name not in known:
        raise ValueError(f"unknown name {name}; there are {', '.join(sorted(known))}")
    found = known[name]
    return found.load() if isinstance(found, EntryPoint) else found


def _filter(name: str, found: object) -> Filter:
    if not (isinstance(found, type) and issubclass(found, Filter)):
        raise ValueError(f"{name} is no filter")
    return found()


def _weigher(name: str, found: object, multiplier: float | None) -> Weigher:
    if not (isinstance(found, type) and issubclass(found, Weigher)):
        raise ValueError(f"{name} is no weigher")
    return found(multiplier)
