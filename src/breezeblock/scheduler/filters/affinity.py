"""SameBackendFilter and DifferentBackendFilter: where do the volumes lie that the user named?

The hints `same_host` and `different_host` name volumes by UUID, one or a list. Where those lie is
in `request.locations`; a volume that is not there (gone, not placed yet, not the caller's) lies in
no pool.
"""

from __future__ import annotations

from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request, hinted_ids
from breezeblock.scheduler.values import shown


class SameBackendFilter(Filter):
    """Hint `same_host`: the pool must hold at least one of the named volumes."""

    def check(self, request: Request) -> Check | None:
        hint = request.hints.get("same_host")
        if not hint:
            return None
        ids = hinted_ids(hint)
        if ids is None:
            return _not_ids("same_host", hint)
        homes = {request.locations[ident] for ident in ids if ident in request.locations}
        reason = f"hint same_host: pool holds none of the {len(ids)} named volumes"
        return lambda pool: None if pool.name in homes else reason

    def passing(self, request: Request, pools: PoolTable, among: int) -> int:
        hint = request.hints.get("same_host")
        return among & _homes(hint, request, pools) if hint else among


class DifferentBackendFilter(Filter):
    """Hint `different_host`: the pool must hold none of the named volumes."""

    def check(self, request: Request) -> Check | None:
        hint = request.hints.get("different_host")
        if not hint:
            return None
        ids = hinted_ids(hint)
        if ids is None:
            return _not_ids("different_host", hint)

        def check(pool: Pool) -> str | None:
            held = sum(request.locations.get(ident) == pool.name for ident in ids)
            if not held:
                return None
            return f"hint different_host: pool holds {held} of the {len(ids)} named volumes"

        return check

    def passing(self, request: Request, pools: PoolTable, among: int) -> int:
        hint = request.hints.get("different_host")
        if not hint:
            return among
        return 0 if hinted_ids(hint) is None else among & ~_homes(hint, request, pools)


def _homes(hint: object, request: Request, pools: PoolTable) -> int:
    """The pools of the named volumes; none, where they are no ids."""
    ids = hinted_ids(hint) or ()
    return pools.named(request.locations[ident] for ident in ids if ident in request.locations)


def _not_ids(key: str, hint: object) -> Check:
    reason = f"hint {key} must be a volume's UUID or a list of them, it is {shown(hint)}"
    return lambda _pool: reason
