"""The scheduler service: ranks pools for new work, and ends what nobody can finish.

The sweep is the last safety net. An operation whose service has been away for so long that its
deadline has passed is ended as failed, so that the volume leaves its transient status and its owner
reads why (design, law 3).
"""

from __future__ import annotations

import asyncio

import structlog

from breezeblock.config import Config, ConfigError
from breezeblock.operations.engine import Engine
from breezeblock.operations.sweep import end_overdue, move_on_stranded
from breezeblock.scheduler.registry import load_filters, load_weighers
from breezeblock.services.reporting import Reporter
from breezeblock.store import idempotency_keys, messages
from breezeblock.store.store import Store, StoreUnavailable
from breezeblock.workflows.doors import SCHEDULER, Scheduling

log = structlog.get_logger()

IN_FLIGHT = 32
SERVICE = "cinder-scheduler"
"""The binary under which schedulers report themselves."""


def scheduling(config: Config) -> Scheduling:
    """The configured filters and weighers. Raises ConfigError that names an unknown one."""
    chosen = config.scheduler
    try:
        return Scheduling(
            filters=load_filters(chosen.filters),
            weighers=load_weighers(tuple(chosen.weighers), chosen.weighers),
            max_candidates=chosen.max_candidates,
        )
    except ValueError as error:
        raise ConfigError(f"scheduler: {error}") from error


class SchedulerService:
    """Takes scheduling work off the queue, and sweeps."""

    def __init__(self, store: Store, engine: Engine, config: Config) -> None:
        self.store = store
        self.engine = engine
        self.config = config
        self._reporter = Reporter(
            engine,
            SERVICE,
            config.hostname,
            config.availability_zone,
            down_time=config.service_down_time,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.engine.serve(SCHEDULER, in_flight=IN_FLIGHT)
        self._task = asyncio.create_task(self._report_and_sweep())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._reporter.withdraw()

    async def _report_and_sweep(self) -> None:
        await self._reporter.begin()
        while True:
            try:
                await self._report()
                await self.store.write(messages.forget_expired)
                await self.store.write(idempotency_keys.forget_expired)
                await end_overdue(self.engine, self.config.operations.deadline)
                await move_on_stranded(self.engine, self.config.service_down_time)
            except StoreUnavailable as error:
                log.warning("database away", error=error.in_full)
            except Exception:
                log.exception("sweep failed")
            await asyncio.sleep(self.config.report_interval)

    async def _report(self) -> None:
        """Say that it works, once it has shown that it could: the pools can be read, work can be
        looked for, and none of it is stuck. Raises StoreUnavailable."""
        await self.engine.doors.pools.pools()
        if reason := self.engine.idle_reason(self._reporter.patience, SCHEDULER):
            log.error("no scheduling", reason=reason)
            await self._reporter.trouble(reason)
        else:
            await self._reporter.works()
