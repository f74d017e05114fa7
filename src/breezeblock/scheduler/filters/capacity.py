"""CapacityFilter: is there room?

The facts' first thin test, (provisioned + requested) / (usable * ratio) > ratio, is not here: with
a ratio of 1 or more it never refuses what the test of the virtual free space accepts.
"""

from __future__ import annotations

from breezeblock.scheduler.capacity import UNLIMITED, Capacity
from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request


class CapacityFilter(Filter):
    """Refuses pools without room for `request.size` (shared facts, "CapacityFilter")."""

    def check(self, request: Request) -> Check | None:
        if request.size <= 0:
            return None
        size, thin, already_on = request.size, request.thin, request.already_on

        def check(pool: Pool) -> str | None:
            return None if pool.name == already_on else _no_room(pool.capacity, size, thin)

        return check

    def passing(self, request: Request, pools: PoolTable, among: int) -> int:
        if request.size <= 0:
            return among
        size, thin = request.size, request.thin
        order = pools.order(("room", thin), lambda pool: _room(pool.capacity, thin))
        return order.at_least(size) | pools.named(
            [request.already_on] if request.already_on else []
        )


def _room(capacity: Capacity, thin: bool) -> float:
    """The largest size that `_no_room` has nothing against: UNLIMITED, or less than 0 for none."""
    if capacity.free is None:
        return -1.0
    if capacity.free == UNLIMITED:
        return UNLIMITED
    if capacity.total == UNLIMITED:
        return -1.0 if capacity.reserved_percentage else UNLIMITED
    if capacity.total <= 0:
        return -1.0
    thin = thin and capacity.thin_supported
    if thin and (capacity.ratio is None or capacity.ratio < 1):
        return -1.0
    return capacity.virtual_free(thin=thin)


def _no_room(capacity: Capacity, size: float, thin: bool) -> str | None:
    if capacity.free is None:
        return f"free capacity is not reported as a number, {size:g} GiB asked"
    if capacity.free == UNLIMITED:
        return None
    if capacity.total == UNLIMITED:
        return _reserved_without_limit(capacity, size)
    if capacity.total <= 0:
        return f"total capacity is {capacity.total:.2f} GiB, {size:g} asked"
    if thin and capacity.thin_supported:
        return _no_room_thin(capacity, size)
    if capacity.virtual_free(thin=False) >= size:
        return None
    return (
        f"free {capacity.free:.2f} GiB of {capacity.total:.2f} GiB after {capacity.reserved:g}"
        f" reserved and {capacity.provisioned:.2f} provisioned, {size:g} asked"
    )


def _reserved_without_limit(capacity: Capacity, size: float) -> str | None:
    if not capacity.reserved_percentage:
        return None
    share = f"{capacity.reserved_percentage:g} %"
    return f"{share} of an unlimited or unknown total is reserved, {size:g} GiB asked"


def _no_room_thin(capacity: Capacity, size: float) -> str | None:
    if capacity.ratio is None:
        return 'thin: max_over_subscription_ratio is neither a number nor "auto"'
    if capacity.ratio < 1:
        return f"thin: max_over_subscription_ratio is {capacity.ratio:g}, it must be 1 or more"
    if capacity.virtual_free(thin=True) >= size:
        return None
    return (
        f"thin: provisioned {capacity.provisioned:.2f} + {size:g} asked"
        f" > {capacity.usable:.2f} GiB * {capacity.ratio:g}"
        f" = {capacity.usable * capacity.ratio:.2f}"
        f" ({capacity.reserved:g} of {capacity.total:.2f} reserved)"
    )
