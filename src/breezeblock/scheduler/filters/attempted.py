"""IgnoreAttemptedHostsFilter: was the pool tried for this request already?"""

from __future__ import annotations

from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request


class IgnoreAttemptedHostsFilter(Filter):
    """Refuses the pools in `request.attempted`. Not in the default list."""

    def check(self, request: Request) -> Check | None:
        attempted = frozenset(request.attempted)
        if not attempted:
            return None

        def check(pool: Pool) -> str | None:
            if pool.name not in attempted:
                return None
            return f"failed before for this request ({len(attempted)} pools tried so far)"

        return check

    def passing(self, request: Request, pools: PoolTable, among: int) -> int:
        return among & ~pools.named(request.attempted)
