"""The filters: each refuses pools for one reason, in a file of its own."""

from breezeblock.scheduler.filters.affinity import DifferentBackendFilter, SameBackendFilter
from breezeblock.scheduler.filters.attempted import IgnoreAttemptedHostsFilter
from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.filters.capabilities import CapabilitiesFilter
from breezeblock.scheduler.filters.capacity import CapacityFilter
from breezeblock.scheduler.filters.driver import DriverFilter
from breezeblock.scheduler.filters.json_query import JsonFilter
from breezeblock.scheduler.filters.zone import AvailabilityZoneFilter

__all__ = [
    "AvailabilityZoneFilter",
    "CapabilitiesFilter",
    "CapacityFilter",
    "Check",
    "DifferentBackendFilter",
    "DriverFilter",
    "Filter",
    "IgnoreAttemptedHostsFilter",
    "JsonFilter",
    "SameBackendFilter",
]
