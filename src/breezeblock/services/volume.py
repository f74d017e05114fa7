"""The volume service: serves backends, each with a queue of its own, and reports their pools.

A backend counts as up because its driver has just answered a self-test, not because a timer lives.
With each report it sees to it that the next inventory sweep of the backend is planned.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import structlog

from breezeblock import log_level
from breezeblock.config import Config, ConfigError
from breezeblock.drivers.backend import Backend
from breezeblock.drivers.base import BackendConfig
from breezeblock.operations.engine import Engine
from breezeblock.store import services
from breezeblock.store.store import Store, StoreUnavailable, WriteTx
from breezeblock.workflows import sweep_backend

T = TypeVar("T")
log = structlog.get_logger()

SETUP_RETRY = 5.0


def open_backends(config: Config) -> dict[str, Backend]:
    """The configured backends, by host@backend; none is connected yet. Raises ConfigError."""
    opened = {}
    for told in config.backends:
        driver_config = BackendConfig(
            name=told.name,
            host=told.host or config.hostname,
            state_dir=config.data_dir / "backends" / told.name,
            options=told.options,
        )
        try:
            backend = Backend.open(
                told.driver,
                driver_config,
                availability_zone=told.availability_zone or config.availability_zone,
                threads=told.threads,
            )
        except ValueError as error:
            raise ConfigError(f"backends: {told.name}: {error}") from error
        opened[backend.name] = backend
    return opened


class VolumeService:
    """Keeps the backends connected and reported, and takes their work off the queues."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        backends: dict[str, Backend],
        report_interval: float,
        inventory_interval: float,
    ) -> None:
        self.store = store
        self.engine = engine
        self.backends = backends
        self.report_interval = report_interval
        self.inventory_interval = inventory_interval
        self.troubles: dict[str, str] = dict.fromkeys(backends, "It is not set up yet.")
        self._serving: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to serve every backend; one that is away does not hold up the others."""
        self._tasks = [asyncio.create_task(self._serve(one)) for one in self.backends.values()]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for backend in self.backends.values():
            with contextlib.suppress(StoreUnavailable):
                await self.store.write(partial(_withdraw, name=backend.name))
            backend.close()

    @property
    def ready(self) -> bool:
        """Whether at least one backend can take work; `troubles` says why others cannot."""
        return bool(self._serving)

    async def _serve(self, backend: Backend) -> None:
        while not backend.ready:
            try:
                await backend.setup()
            except Exception as error:
                log.error("backend does not start", backend=backend.name, error=str(error))
                self.troubles[backend.name] = f"It cannot be set up: {error}"
                await self._report_down(backend)
                await asyncio.sleep(SETUP_RETRY)
        await self._report(backend)
        await self.engine.serve(backend.queue, in_flight=backend.threads)
        self._serving.add(backend.name)
        # While it was away, or we were, either may have changed.
        await self._tell(lambda tx: sweep_backend.request(tx, backend.name))
        while True:
            await asyncio.sleep(self.report_interval)
            await self._report(backend)

    async def _report(self, backend: Backend) -> None:
        """Test the backend by asking for its figures, and tell the schedulers."""
        try:
            stats = await backend.call(backend.driver.stats)
        except Exception as error:
            log.error("backend does not answer", backend=backend.name, error=str(error))
            self.troubles[backend.name] = f"It does not answer: {error}"
            await self._report_down(backend)
            return
        self.troubles.pop(backend.name, None)
        reports = backend.reports(stats)
        wanted = await self._tell(lambda tx: _report(tx, backend, reports, self.inventory_interval))
        if wanted is not None:
            log_level.change(wanted)

    async def _report_down(self, backend: Backend) -> None:
        """Let no new work come here, and show why, until a test succeeds."""
        await self._tell(lambda tx: _mark_down(tx, backend))

    async def _tell(self, report: Callable[[WriteTx], T]) -> T | None:
        """Write it down if that can be done now; whatever happens to it, the next report comes.

        A backend whose reports ended with an error would be up, and given no work, for ever.
        """
        try:
            return await self.store.write(report)
        except StoreUnavailable as error:
            log.warning("database away", error=str(error))
        except Exception:
            log.exception("report failed")
        return None


def _report(
    tx: WriteTx, backend: Backend, reports: dict[str, dict[str, Any]], inventory_interval: float
) -> str | None:
    services.report(
        tx, "cinder-volume", backend.name, backend.availability_zone, backend_state="up"
    )
    services.report_pools(tx, backend.name, reports)
    sweep_backend.request(tx, backend.name, delay=inventory_interval)
    return services.report_log_level(tx, "cinder-volume", backend.name, log_level.current())


def _mark_down(tx: WriteTx, backend: Backend) -> None:
    services.mark_down(tx, "cinder-volume", backend.name)


def _withdraw(tx: WriteTx, name: str) -> None:
    services.withdraw(tx, "cinder-volume", name)
