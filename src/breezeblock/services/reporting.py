"""How a process says that a service of it works, and notices that others have fallen silent.

A service (a scheduler, a backend) may have several processes. It is up as long as one of them says
that its last test or work succeeded; each has a row of its own beside that, so that an operator can
see the one that does not, or that is gone, behind the others that go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from breezeblock import log_level
from breezeblock.operations.engine import Engine
from breezeblock.operations.workers import worker_of_host_is_dead
from breezeblock.store import services
from breezeblock.store.store import Store, StoreUnavailable, WriteTx
from breezeblock.telemetry import metrics

T = TypeVar("T")
log = structlog.get_logger()

DEAF = "It hears no wake-ups, as the message broker is away: it finds its work by looking for it."


class Reporter:
    """Speaks for one process and one service."""

    def __init__(
        self, engine: Engine, binary: str, host: str, zone: str, *, down_time: float
    ) -> None:
        self.engine = engine
        self.binary = binary
        self.host = host
        self.zone = zone
        self.down_time = down_time
        self._silent: frozenset[str] = frozenset()

    @property
    def store(self) -> Store:
        return self.engine.store

    @property
    def patience(self) -> float:
        """Seconds that whatever is tested may take: it is down before silence would make it so."""
        return self.down_time / 2

    async def works(self, more: Callable[[WriteTx], object] | None = None) -> None:
        """A test or work has succeeded; `more` goes into the same transaction."""
        state = "up" if self.binary == services.VOLUME else None
        remark = "" if self.engine.bus.connected else DEAF

        def write(tx: WriteTx) -> tuple[str | None, frozenset[str]]:
            services.report(
                tx,
                self.binary,
                self.host,
                self.zone,
                backend_state=state,
                process=self.engine.worker,
                remark=remark,
            )
            if more is not None:
                more(tx)
            wanted = services.report_log_level(tx, self.binary, self.host, log_level.current())
            return wanted, services.silent(tx, self.binary, self.host, self.down_time)

        if told := await self._tell(write):
            wanted, silent = told
            if wanted is not None:
                log_level.change(wanted)
            self._notice(silent)

    async def trouble(self, remark: str) -> None:
        """It cannot do its work now: let nothing new come here, and show why."""

        def write(tx: WriteTx) -> None:
            services.report_trouble(
                tx,
                self.binary,
                self.host,
                self.zone,
                process=self.engine.worker,
                remark=remark,
                down_time=self.down_time,
            )

        await self._tell(write)

    async def begin(self) -> None:
        """Take the places of the processes of this machine that are known to be dead."""
        machine = self.engine.host
        await self._tell(
            lambda tx: services.forget_processes(
                tx, lambda process: worker_of_host_is_dead(process, machine)
            )
        )

    async def withdraw(self) -> None:
        """It stops in an orderly way."""
        process = self.engine.worker
        await self._tell(lambda tx: services.withdraw(tx, self.binary, self.host, process))

    def _notice(self, silent: frozenset[str]) -> None:
        for process in sorted(silent - self._silent):
            log.warning(
                "another process is silent", service=self.binary, host=self.host, process=process
            )
        for process in sorted(self._silent - silent):
            log.info("silence is over", service=self.binary, host=self.host, process=process)
        self._silent = silent
        metrics.silent_processes.labels(self.binary, self.host).set(len(silent))

    async def _tell(self, report: Callable[[WriteTx], T]) -> T | None:
        """Write it down if that can be done now; whatever happens to it, the next report comes.

        A service whose reports ended with an error would be up, and given no work, for ever.
        """
        try:
            return await self.store.write(report)
        except StoreUnavailable as error:
            log.warning("database away", error=error.in_full)
        except Exception:
            log.exception("report failed")
        return None
