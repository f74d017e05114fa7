"""CapabilitiesFilter: can the pool do what the volume type promises?"""

from __future__ import annotations

from breezeblock.scheduler.extra_specs import demands
from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request
from breezeblock.scheduler.values import boolean


class CapabilitiesFilter(Filter):
    """Refuses pools that do not satisfy every extra spec (shared facts, "CapabilitiesFilter").

    Multi-attachable types come through here too: their extra spec `multiattach` = `<is> True`
    wants a pool that reports it. A volume in use grows only where `online_extend_support` allows.
    """

    def check(self, request: Request) -> Check | None:
        wanted = tuple(demands(request.extra_specs))
        online = request.extending_attached
        if not wanted and not online:
            return None

        def check(pool: Pool) -> str | None:
            if online and boolean(pool.capabilities.get("online_extend_support", True)) is False:
                return "online_extend_support is False and the volume is attached"
            for demand in wanted:
                if reason := demand.refusal(pool.capabilities):
                    return reason
            return None

        return check

    def passing(self, request: Request, pools: PoolTable, among: int) -> int:
        found = among
        for demand in demands(request.extra_specs):
            column = pools.column(("capability", demand.path), demand.found)
            found &= column.where(demand.wanted, demand.satisfied_by)
        if request.extending_attached:
            column = pools.column("online extend", _extends_online)
            found &= column.where(None, bool)
        return found


def _extends_online(pool: Pool) -> bool:
    return boolean(pool.capabilities.get("online_extend_support", True)) is not False
