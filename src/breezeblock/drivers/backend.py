"""A backend in a volume service: a driver, its threads, its name.

Drivers are plain synchronous code; this is where they meet the services, which are not. Calls run
on threads of the backend's own, so many at a time, and a slow backend cannot hold up another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from importlib.metadata import entry_points
from typing import Any, TypeVar

from breezeblock.drivers.base import BackendConfig, BackendStats, Driver, StillWorking
from breezeblock.drivers.watching import watched
from breezeblock.telemetry import metrics

T = TypeVar("T")


def load_driver(name: str) -> Callable[[BackendConfig], Driver]:
    """What makes the driver registered under this name. Raises ValueError that lists all."""
    known = {point.name: point for point in entry_points(group="breezeblock.drivers")}
    if name not in known:
        raise ValueError(f"there is no driver {name!r}; known: {', '.join(sorted(known))}")
    driver: Callable[[BackendConfig], Driver] = known[name].load()
    return driver


class Backend:
    """One configured backend. `name` is host@backend, as the scheduler and the queues know it."""

    def __init__(self, driver: Driver, *, availability_zone: str, threads: int) -> None:
        self.driver = driver
        self.name = f"{driver.config.host}@{driver.config.name}"
        self.availability_zone = availability_zone
        self.threads = threads
        self.ready = False
        self.answered_at = float("-inf")
        """When a call last succeeded, or was at work still, by the monotonic clock."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"driver-{driver.config.name}")

    @classmethod
    def open(
        cls, driver_name: str, config: BackendConfig, *, availability_zone: str, threads: int
    ) -> Backend:
        """Load and construct the driver; touches no storage yet. Raises ValueError."""
        driver = load_driver(driver_name)(config)
        return cls(driver, availability_zone=availability_zone, threads=threads)

    @property
    def queue(self) -> str:
        """The topic that the backend takes its work from."""
        return f"volume.{self.name}"

    async def call(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a method of the driver on one of the backend's threads. Raises DriverError.

        What it logs has the request and operation of whoever calls.
        """
        run = partial(copy_context().run, watched, self.name, method)
        future = self._pool.submit(run, *args, **kwargs)
        in_flight = metrics.driver_calls_in_flight.labels(self.name)
        in_flight.inc()
        # Not when we stop waiting for it: the thread is then still at it.
        future.add_done_callback(lambda _: in_flight.dec())
        try:
            answer: T = await asyncio.wrap_future(future)
        except StillWorking:
            self.answered_at = time.monotonic()
            raise
        self.answered_at = time.monotonic()
        return answer

    async def setup(self) -> None:
        """Connect to the storage. Raises DriverError; may be tried again."""
        await self.call(self.driver.setup)
        self.ready = True

    def close(self) -> None:
        self.driver.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def reports(self, stats: BackendStats) -> dict[str, dict[str, Any]]:
        """Full pool name → what the scheduler is told of it (shared facts, scheduler.md)."""
        shared = {
            "vendor_name": stats.vendor_name,
            "driver_version": stats.driver_version,
            "storage_protocol": stats.storage_protocol,
            "volume_backend_name": self.driver.config.name,
            "backend_state": "up",
            **stats.extra,
        }
        reports = {}
        for pool in stats.pools:
            figures = {
                "pool_name": pool.name,
                "total_capacity_gb": pool.total_capacity_gb,
                "free_capacity_gb": pool.free_capacity_gb,
                "provisioned_capacity_gb": pool.provisioned_capacity_gb,
                "reserved_percentage": pool.reserved_percentage,
                "max_over_subscription_ratio": pool.max_over_subscription_ratio,
                "thin_provisioning_support": pool.thin_provisioning_support,
                "thick_provisioning_support": pool.thick_provisioning_support,
                "multiattach": pool.multiattach,
                "online_extend_support": pool.online_extend_support,
            }
            reports[f"{self.name}#{pool.name}"] = {**shared, **figures, **pool.extra}
        return reports
