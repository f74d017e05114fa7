"""The scheduler service: ranks pools for new work, and ends what nobody can finish.

The sweep is the last safety net. An operation whose service has been away for so long that its
deadline has passed is ended as failed, so that the volume leaves its transient status and its owner
reads why (design, law 3).
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from breezeblock import log_level
from breezeblock.config import Config, ConfigError
from breezeblock.operations.engine import Engine
from breezeblock.operations.sweep import end_overdue, move_on_stranded
from breezeblock.scheduler.registry import load_filters, load_weighers
from breezeblock.store import idempotency_keys, messages, services
from breezeblock.store.store import Store, StoreUnavailable, WriteTx
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
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.engine.serve(SCHEDULER, in_flight=IN_FLIGHT)
        self._task = asyncio.create_task(self._report_and_sweep())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable):
            host = self.config.hostname
            await self.store.write(lambda tx: services.withdraw(tx, SERVICE, host))

    async def _report_and_sweep(self) -> None:
        zone = self.config.availability_zone
        host = self.config.hostname
        while True:
            try:
                wanted = await self.store.write(lambda tx: _report(tx, host, zone))
                if wanted is not None:
                    log_level.change(wanted)
                await self.store.write(messages.forget_expired)
                await self.store.write(idempotency_keys.forget_expired)
                await end_overdue(self.engine, self.config.operations.deadline)
                await move_on_stranded(self.engine, self.config.service_down_time)
            except StoreUnavailable as error:
                log.warning("database away", error=str(error))
            except Exception:
                log.exception("sweep failed")
            await asyncio.sleep(self.config.report_interval)


def _report(tx: WriteTx, host: str, zone: str) -> str | None:
    """That it works, and how much it logs; the log level that it shall take over, if any."""
    services.report(tx, SERVICE, host, zone)
    return services.report_log_level(tx, SERVICE, host, log_level.current())
