"""How much a pool can still take: the arithmetic of reserved, thin and over-subscribed space.

Built once for each report of a pool (`Pool.capacity`); read by the CapacityFilter, which says no
with these numbers, and by the capacity weighers. The rules are those of the shared facts
(scheduler.md, "What a backend reports" and "CapacityFilter").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from breezeblock.scheduler.values import boolean, number

DEFAULT_RATIO = 20.0
"""The over-subscription ratio of a pool that reports none."""

UNLIMITED = math.inf
"""Stands for the reported words "infinite" and "unknown", which are treated alike."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """A pool's figures in GiB; `total` and `free` may be UNLIMITED, `free` None if not reported
    as a number; `reserved` is 0 where the total is UNLIMITED, whatever `reserved_percentage` says;
    `ratio` is None if it is neither a number nor "auto"."""

    total: float
    free: float | None
    allocated: float
    provisioned: float
    reserved_percentage: float
    reserved: float
    ratio: float | None
    thin_supported: bool

    @classmethod
    def reported(cls, report: Mapping[str, Any]) -> Capacity:
        """Read a pool's report; what is missing or unreadable takes the defaults of the facts."""
        total = _amount(report.get("total_capacity_gb", 0.0)) or 0.0
        free = _amount(report.get("free_capacity_gb", 0.0))
        allocated = number(report.get("allocated_capacity_gb")) or 0.0
        provisioned = number(report.get("provisioned_capacity_gb"))
        if provisioned is None:
            provisioned = allocated
        percentage = number(report.get("reserved_percentage")) or 0.0
        reserved = 0.0 if total == UNLIMITED else total * percentage // 100
        thin = bool(boolean(report.get("thin_provisioning_support")))
        ratio: float | None = 1.0
        if thin and total != UNLIMITED and free != UNLIMITED:
            ratio = _ratio(report.get("max_over_subscription_ratio"), total, free, provisioned)
        return cls(total, free, allocated, provisioned, percentage, reserved, ratio, thin)

    @property
    def usable(self) -> float:
        """The total without what is reserved."""
        return self.total - self.reserved

    @property
    def unlimited(self) -> bool:
        """Nobody knows a limit: total or free is "infinite" or "unknown"."""
        return UNLIMITED in (self.total, self.free)

    def virtual_free(self, *, thin: bool) -> float:
        """GiB that new volumes may ask for, rounded to 2 decimals; UNLIMITED if none is known.

        `thin` says how the volume wants its space; it counts where the pool supports it: then the
        usable space is multiplied by the ratio and what is provisioned is taken off. Otherwise
        both the free space and the space nobody was promised must suffice.
        """
        if self.unlimited:
            return UNLIMITED
        if thin and self.thin_supported:
            return round(self.usable * (self.ratio or 0.0) - self.provisioned, 2)
        return round(min(self.free or 0.0, self.usable - self.provisioned), 2)


def _amount(value: object) -> float | None:
    if value in ("infinite", "unknown"):
        return UNLIMITED
    return number(value)


def _ratio(value: object, total: float, free: float | None, provisioned: float) -> float | None:
    if value is None:
        return DEFAULT_RATIO
    if value != "auto":
        return number(value)
    if not provisioned:
        return DEFAULT_RATIO
    used = total - (free or 0.0)
    return 1.0 + provisioned / (used + 1.0) if used > -1.0 else None
