"""The volume service: serves backends, each with a queue of its own, and reports their pools.

A backend counts as up because its driver has just answered a self-test, or because work on it has
succeeded, not because a timer lives. A test that is not answered holds up no other backend's.
With each report it sees to it that the next inventory sweep of the backend is planned.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from breezeblock.config import Config, ConfigError
from breezeblock.drivers.backend import Backend
from breezeblock.drivers.base import BackendConfig
from breezeblock.operations.engine import Engine
from breezeblock.services.pool_figures import PoolFigures
from breezeblock.services.reporting import Reporter
from breezeblock.store import services, volumes
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
    """Keeps the backends connected and reported, and takes their work off the queues.

    `troubles` says which backends cannot take work now, and why.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        backends: Mapping[str, Backend],
        report_interval: float,
        inventory_interval: float,
        *,
        down_time: float = 60.0,
    ) -> None:
        self.store = store
        self.engine = engine
        self.backends = backends
        self.report_interval = report_interval
        self.inventory_interval = inventory_interval
        self.troubles: dict[str, str] = dict.fromkeys(backends, "It is not set up yet.")
        self._reporters = {
            name: Reporter(
                engine, services.VOLUME, name, backend.availability_zone, down_time=down_time
            )
            for name, backend in backends.items()
        }
        self._figures = {name: PoolFigures(name) for name in backends}
        self._serving: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to serve every backend; one that is away does not hold up the others."""
        self._tasks = [asyncio.create_task(self._serve(one)) for one in self.backends.values()]

    async def withdraw(self) -> None:
        """Say that no more work is taken here; what runs may go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for reporter in self._reporters.values():
            await reporter.withdraw()

    async def close(self) -> None:
        if self._tasks:
            await self.withdraw()
        for backend in self.backends.values():
            backend.close()
            self._figures[backend.name].forget()

    @property
    def ready(self) -> bool:
        """Whether at least one backend has been set up; `troubles` says what is amiss with any."""
        return bool(self._serving)

    async def _serve(self, backend: Backend) -> None:
        await self._reporters[backend.name].begin()
        while not backend.ready:
            try:
                await self._ask(backend, backend.setup())
            except Exception as error:
                log.error("backend does not start", backend=backend.name, error=str(error))
                await self._down(backend, f"It cannot be set up: {error}")
                await asyncio.sleep(SETUP_RETRY)
        await self._test(backend)
        await self.engine.serve(backend.queue, in_flight=backend.threads)
        self._serving.add(backend.name)
        # While it was away, or we were, either may have changed.
        await self._plan(lambda tx: sweep_backend.request(tx, backend.name))
        while True:
            await asyncio.sleep(self.report_interval)
            await self._test(backend)

    async def _test(self, backend: Backend) -> None:
        """Test the backend by asking for its figures, and tell the schedulers."""
        began = time.monotonic()
        try:
            stats = await self._ask(backend, backend.call(backend.driver.stats))
        except Exception as error:
            if backend.answered_at >= began:
                log.warning("self-test failed while work succeeds", backend=backend.name)
                await self._up(backend)
                return
            log.error("backend does not answer", backend=backend.name, error=str(error))
            await self._down(backend, f"It does not answer: {error}")
            return
        await self._up(backend, backend.reports(stats))

    async def _ask(self, backend: Backend, question: Coroutine[Any, Any, T]) -> T:
        """What the driver answers, if it ever does. Raises what it raises.

        No second question is asked meanwhile: it would take one more of the driver's threads. Each
        `report_interval` the backend is up because work on it has succeeded since, or down because
        nothing has for as long as patience lasts.
        """
        asked = asyncio.ensure_future(question)
        patience = self._reporters[backend.name].patience
        since, began, looked = datetime.now(UTC), time.monotonic(), time.monotonic()
        try:
            while not (await asyncio.wait({asked}, timeout=self.report_interval))[0]:
                if backend.ready and backend.answered_at >= looked:
                    await self._up(backend)
                elif time.monotonic() - max(began, backend.answered_at) > patience:
                    log.error("backend is silent", backend=backend.name, since=since.isoformat())
                    silence = (
                        f"Its driver has answered nothing since {since:%Y-%m-%d %H:%M:%S} UTC."
                    )
                    await self._down(backend, silence)
                looked = time.monotonic()
            return asked.result()
        finally:
            asked.cancel()

    async def _up(self, backend: Backend, reports: dict[str, dict[str, Any]] | None = None) -> None:
        """It works, and these are its figures if it has told any. A process that cannot look for
        work is no use to it, however well the backend does."""
        reporter = self._reporters[backend.name]
        if blind := self.engine.idle_reason(reporter.patience):
            await self._down(backend, blind)
            return

        def more(tx: WriteTx) -> None:
            if reports is not None:
                services.report_pools(tx, backend.name, reports)
            sweep_backend.request(tx, backend.name, delay=self.inventory_interval)

        self.troubles.pop(backend.name, None)
        await reporter.works(more)
        if reports is not None:
            await self._tell_figures(backend, reports)

    async def _tell_figures(self, backend: Backend, reports: dict[str, dict[str, Any]]) -> None:
        try:
            placed = await self.store.read(lambda tx: volumes.placed(tx, backend.name))
        except StoreUnavailable as error:
            log.warning("database away", error=error.in_full)
        else:
            self._figures[backend.name].tell(reports, placed)

    async def _down(self, backend: Backend, why: str) -> None:
        """Let no new work come here, and show why, until a test or work succeeds."""
        self.troubles[backend.name] = why
        self._figures[backend.name].forget()
        await self._reporters[backend.name].trouble(why)

    async def _plan(self, request: Callable[[WriteTx], object]) -> None:
        """Have it done if that can be written down now; else the next report sees to it."""
        try:
            await self.store.write(request)
        except StoreUnavailable as error:
            log.warning("database away", error=error.in_full)
        except Exception:
            log.exception("sweep not planned")
