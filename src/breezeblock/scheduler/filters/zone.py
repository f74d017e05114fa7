"""AvailabilityZoneFilter: is the pool in a zone that the request allows?"""

from __future__ import annotations

from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request
from breezeblock.scheduler.values import shown


class AvailabilityZoneFilter(Filter):
    """Refuses pools outside the zones of the request, or of its type; no zone given passes."""

    def check(self, request: Request) -> Check | None:
        zones = request.allowed_zones
        if not zones:
            return None
        wanted = " or ".join(shown(zone) for zone in sorted(zones))

        def check(pool: Pool) -> str | None:
            if pool.availability_zone in zones:
                return None
            return f"availability zone {wanted} wanted, pool is in {shown(pool.availability_zone)}"

        return check

    def passing(self, request: Request, pools: PoolTable, among: int) -> int:
        zones = request.allowed_zones
        if not zones:
            return among
        return pools.column("zone", _zone).where(zones, zones.__contains__)


def _zone(pool: Pool) -> str:
    return pool.availability_zone
