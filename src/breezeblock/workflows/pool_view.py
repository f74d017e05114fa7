"""A scheduler's view of the pools: what they reported, and what it has placed there since.

Each scheduler keeps its own and corrects it by the next report; when two schedulers fill the same
pool at once, the volume service refuses and the walk goes on (design, section 6).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from breezeblock.model.services import PoolReport
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.store import services, volumes
from breezeblock.store.services import OutOfUse, Told
from breezeblock.store.store import ReadTx, Store

IN_USE = OutOfUse(disabled=False, frozen=False, down=False)


class PoolView:
    """All pools with their state, looked at again when older than `max_age` seconds.

    Then a row of each backend says whether it has reported since, and only the pools of those that
    have are read: a backend writes both in one transaction. What an operator has disabled or
    frozen, and which backends are down, is asked anew each time: from the moment on that others are
    told, nothing more is placed there, or is again.
    """

    def __init__(self, store: Store, *, down_time: float, max_age: float = 1.0) -> None:
        self.store = store
        self.down_time = down_time
        self.max_age = max_age
        self._table = PoolTable()
        self._told: dict[str, Told] = {}
        self._pools_of: defaultdict[str, set[str]] = defaultdict(set)
        self._reported: dict[str, float] = {}
        self._booked: defaultdict[str, list[int]] = defaultdict(list)
        self._looked_at = float("-inf")
        self._out: Mapping[str, OutOfUse] = {}

    async def pools(self) -> PoolTable:
        """The pools as of now. Raises StoreUnavailable."""
        return await self.store.read(self.seen)

    def seen(self, tx: ReadTx) -> PoolTable:
        """As `pools`, within a transaction; on whatever thread that is."""
        out = services.out_of_use(tx, self.down_time)
        with self._table.lock:
            # Nothing is no view: at a start the first backend may report just after the first look.
            if not self._table or time.monotonic() - self._looked_at > self.max_age:
                self._look(tx)
                self._looked_at = time.monotonic()
            if out != self._out:
                before, self._out = self._out, out
                self._tell(one for one in {*before, *out} if before.get(one) != out.get(one))
        return self._table

    def book(self, pool: str, size: int) -> None:
        """Count a placement until the pool's next report does."""
        with self._table.lock:
            self._booked[pool].append(size)
            if known := self._table.get(pool):
                self._table.put(known.booked(size))

    def _look(self, tx: ReadTx) -> None:
        """Take in what backends have told since the last look."""
        told, before = services.told_by_backends(tx), self._told
        if self._table:
            news = [one for one in {*told, *before} if told.get(one) != before.get(one)]
            reports = services.pools_of(tx, news)
            placed = volumes.placed_in(tx, [one.name for one in reports])
        else:
            reports = services.all_pools(tx)
            news, placed = [one.backend for one in reports], volumes.placed(tx)
        self._told = told
        self._forget({*news}, {one.name for one in reports})
        for report in reports:
            self._take_in(report, placed.get(report.name, (0, 0)))

    def _forget(self, backends: Iterable[str], still: set[str]) -> None:
        """Pools that these backends do not report any more."""
        for backend in backends:
            for name in self._pools_of[backend] - still:
                self._table.remove(name)
                self._pools_of[backend].discard(name)

    def _take_in(self, report: PoolReport, placed: tuple[int, int]) -> None:
        # A booking counts as long as the pool has not reported since it was made.
        if self._reported.get(report.name) != report.reported_at:
            self._reported[report.name] = report.reported_at
            self._booked.pop(report.name, None)
        pool = _pool(report, self._told.get(report.backend), placed)
        for size in self._booked.get(report.name, ()):
            pool = pool.booked(size)
        self._pools_of[report.backend].add(report.name)
        self._table.put(self._as_used(pool))

    def _tell(self, backends: Iterable[str]) -> None:
        """Note on their pools that these are out of use, or in use again."""
        for backend in backends:
            for name in self._pools_of[backend]:
                if pool := self._table.get(name):
                    self._table.put(self._as_used(pool))

    def _as_used(self, pool: Pool) -> Pool:
        if pool.backend not in self._told:
            return replace(pool, enabled=False, up=False)
        out = self._out.get(pool.backend, IN_USE)
        return replace(pool, enabled=not out.disabled, frozen=out.frozen, up=not out.down)


def _pool(report: PoolReport, told: Told | None, placed: tuple[int, int]) -> Pool:
    number, gigabytes = placed
    return Pool(
        name=report.name,
        backend=report.backend,
        availability_zone=told.availability_zone if told else "",
        capabilities={"allocated_capacity_gb": gigabytes, **report.capabilities},
        backend_state=(told.backend_state if told else None) or "up",
        volumes=number,
    )
