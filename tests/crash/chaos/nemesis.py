"""The nemesis: does to the stage what the plan says, and mends it again.

The data directory of the backend is never touched: what a disk has acknowledged stays there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress

from tests.crash.chaos.plan import Fault, Round, rounds
from tests.crash.chaos.stage import Stage
from tests.crash.chaos.tally import Tally
from tests.engines.process import PrivateServer

RECOVERS_WITHIN = 8.0
"""Seconds that the services are given to come up before the next fault, at most."""


class Nemesis:
    """Runs the plan of a seed for some time."""

    def __init__(self, stage: Stage, seed: int, tally: Tally, kinds: Collection[str] = ()) -> None:
        self._stage = stage
        self._plan = rounds(seed, kinds)
        self._tally = tally
        self._down: set[str] = set()
        self._do = {
            "kill": self._kill,
            "freeze": self._freeze,
            "restart": self._restart,
            "daemon kill": self._kill_daemon,
            "broker kill": self._kill_engine,
            "broker freeze": self._freeze_engine,
            "database kill": self._kill_engine,
            "database freeze": self._freeze_engine,
        }

    async def run(self, until: float) -> None:
        """Fault after fault until the time has come; everything is up again then, or coming up."""
        for planned in self._plan:
            if not planned.hasty:
                await self._breathe(min(until, time.monotonic() + RECOVERS_WITHIN))
            await asyncio.sleep(planned.pause)
            if time.monotonic() >= until:
                return
            await self._perform(planned)
            self._raise_the_fallen()

    async def _breathe(self, until: float) -> None:
        """Wait until all is up: on a slow machine there would be faults and no work otherwise."""
        while time.monotonic() < until and not await self._stage.is_up():
            await asyncio.sleep(0.3)

    async def _perform(self, planned: Round) -> None:
        await asyncio.gather(*(self._do[fault.kind](fault) for fault in planned.faults))

    def _raise_the_fallen(self) -> None:
        """A service that ends by itself is a problem; the run goes on with it started again."""
        for name in self._stage.fallen():
            code = self._stage.deployment.processes[name].returncode
            self._tally.wrong("service-ended", name, f"{name} ended by itself, with status {code}.")
            self._stage.launch(name)

    def _begin(self, fault: Fault, victim: str) -> None:
        self._tally.faults[fault.kind] += 1
        self._tally.note(f"{fault.kind} {victim}, for {fault.lasts} s")

    # -- services ----------------------------------------------------------------------------------

    def _service(self, fault: Fault) -> str:
        """The one that is picked, or the next that is up."""
        names = list(self._stage.services)
        first = int(fault.pick * len(names))
        return next(name for name in names[first:] + names if name not in self._down)

    async def _kill(self, fault: Fault) -> None:
        name = self._service(fault)
        self._down.add(name)
        self._begin(fault, name)
        self._stage.kill(name)
        await asyncio.sleep(fault.lasts)
        self._stage.launch(name)
        self._down.remove(name)

    async def _freeze(self, fault: Fault) -> None:
        name = self._service(fault)
        self._down.add(name)
        self._begin(fault, name)
        self._stage.freeze(name)
        await asyncio.sleep(fault.lasts)
        self._stage.thaw(name)
        self._down.remove(name)

    async def _restart(self, fault: Fault) -> None:
        name = self._service(fault)
        self._down.add(name)
        self._begin(fault, name)
        if not await self._stage.end(name):
            self._tally.wrong("does-not-stop", name, f"{name} did not stop on SIGTERM.")
        self._stage.launch(name)
        self._down.remove(name)

    async def _kill_daemon(self, fault: Fault) -> None:
        found = self._stage.daemons()
        if not found:
            self._tally.note("no storage daemon runs that could be killed")
            return
        pid = found[int(fault.pick * len(found))]
        self._begin(fault, str(pid))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    # -- engines -----------------------------------------------------------------------------------

    def _engine(self, fault: Fault) -> PrivateServer:
        return self._stage.broker if fault.victim == "broker" else self._stage.database

    async def _kill_engine(self, fault: Fault) -> None:
        engine = self._engine(fault)
        self._begin(fault, "")
        await asyncio.to_thread(engine.kill)
        await asyncio.sleep(fault.lasts)
        await asyncio.to_thread(engine.start)

    async def _freeze_engine(self, fault: Fault) -> None:
        engine = self._engine(fault)
        self._begin(fault, "")
        engine.pause()
        await asyncio.sleep(fault.lasts)
        engine.resume()
