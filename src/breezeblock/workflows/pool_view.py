"""A scheduler's view of the pools: what they reported, and what it has placed there since.

Each scheduler keeps its own and corrects it by the next report; when two schedulers fill the same
pool at once, the volume service refuses and the walk goes on (design, section 6).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from breezeblock.model.services import PoolReport, Service
from breezeblock.scheduler.pools import Pool
from breezeblock.store import services, volumes
from breezeblock.store.services import OutOfUse
from breezeblock.store.store import ReadTx, Store


class PoolView:
    """All pools with their state; reloaded when older than `max_age` seconds.

    What an operator has disabled or frozen, and which backends are down, is asked anew each time:
    from the moment on that others are told, nothing more is placed there, or is again.
    """

    def __init__(self, store: Store, *, down_time: float, max_age: float = 1.0) -> None:
        self.store = store
        self.down_time = down_time
        self.max_age = max_age
        self._pools: dict[str, Pool] = {}
        self._reported: dict[str, float] = {}
        self._booked: list[tuple[str, int, float]] = []
        self._loaded_at = float("-inf")
        self._out: dict[str, OutOfUse] = {}
        self._lock = threading.Lock()

    async def pools(self) -> list[Pool]:
        """The pools as of now. Raises StoreUnavailable."""
        return await self.store.read(self.seen)

    def seen(self, tx: ReadTx) -> list[Pool]:
        """As `pools`, within a transaction; on whatever thread that is."""
        with self._lock:
            # Nothing is no view: at a start the first backend may report just after the first look.
            if not self._pools or time.monotonic() - self._loaded_at > self.max_age:
                self._load(tx)
            out = services.out_of_use(tx, self.down_time)
            if out != self._out:
                self._out = out
                self._pools = {name: _as_told(one, out) for name, one in self._pools.items()}
            return list(self._pools.values())

    def book(self, pool: str, size: int) -> None:
        """Count a placement until the pool's next report does."""
        with self._lock:
            self._booked.append((pool, size, self._reported.get(pool, 0.0)))
            if pool in self._pools:
                self._pools[pool] = self._pools[pool].booked(size)

    def _load(self, tx: ReadTx) -> None:
        reports, known, placed = self._read(tx)
        by_host = {one.host: one for one in known if one.binary == "cinder-volume"}
        self._reported = {report.name: report.reported_at for report in reports}
        pools = {
            report.name: _pool(report, by_host.get(report.backend), placed.get(report.name, (0, 0)))
            for report in reports
        }
        # A booking counts as long as the pool has not reported since it was made.
        self._booked = [
            booking for booking in self._booked if self._reported.get(booking[0]) == booking[2]
        ]
        for name, size, _at in self._booked:
            if name in pools:
                pools[name] = pools[name].booked(size)
        self._pools = pools
        self._out = {
            host: OutOfUse(one.disabled, one.frozen, not one.up)
            for host, one in by_host.items()
            if one.disabled or one.frozen or not one.up
        }
        self._loaded_at = time.monotonic()

    def _read(
        self, tx: ReadTx
    ) -> tuple[list[PoolReport], list[Service], dict[str, tuple[int, int]]]:
        return (
            services.all_pools(tx),
            services.all_services(tx, self.down_time),
            dict(volumes.placed(tx)),
        )


def _as_told(pool: Pool, out: Mapping[str, OutOfUse]) -> Pool:
    told = out.get(pool.backend, OutOfUse(disabled=False, frozen=False, down=False))
    return replace(pool, enabled=not told.disabled, frozen=told.frozen, up=not told.down)


def _pool(report: PoolReport, service: Service | None, placed: tuple[int, int]) -> Pool:
    number, gigabytes = placed
    return Pool(
        name=report.name,
        backend=report.backend,
        availability_zone=service.availability_zone if service else "",
        capabilities={"allocated_capacity_gb": gigabytes, **report.capabilities},
        up=service is not None and service.up,
        enabled=service is not None and not service.disabled,
        frozen=service is not None and service.frozen,
        backend_state=(service.backend_state if service else None) or "up",
        volumes=number,
    )
