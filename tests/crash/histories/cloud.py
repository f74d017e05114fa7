"""The world of the crash tests, where API processes die, too, and clients may lose their answers.

cloud = Cloud()                          two workers, an API with idempotency keys
sent = await cloud.send("POST", …)       a request; None: its API process has died or sleeps
await cloud.live(700)                    time passes, services report and look for work
await cloud.end()                        all faults over, all sleepers awake, until it is quiet
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from breezeblock.api.application import Application
from breezeblock.api.routes import ROUTES
from breezeblock.model.invariants import Facts, Violation
from breezeblock.operations.sweep import end_overdue, move_on_stranded
from breezeblock.operations.waiting import Waiter
from breezeblock.store.store import StoreUnavailable
from breezeblock.web.app import make_app
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.service import block_storage
from breezeblock.workflows import sweep_backend
from tests.crash.asgi import Reply, request
from tests.crash.histories.weather import Weather
from tests.crash.shelf import ShelfDoor
from tests.crash.stage import Actor
from tests.crash.virtual_time import idle
from tests.crash.world import HOST, LEASE, World, _config
from tests.service.catalog_fixture import POLICY, PROJECT, Personas

PATIENCE = 200
"""How often a client looks whether there is an answer; each time a second may pass."""
LEAPS = 8


class AtOnce(ThreadPoolExecutor):
    """What is given to a thread is done here and now, so that histories can be repeated."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class Cloud(World):
    """See the module's text."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._note)
        self._loop.set_default_executor(AtOnce())
        self.escaped: list[BaseException] = []
        super().__init__(hire=2)
        self.weather = Weather()
        self.plan = self.weather
        self._started = 0
        self._facts: tuple[Any, Facts] | None = None
        self._swept: set[str] = set()
        self._findings: list[Violation] = []
        self.start_api()

    @property
    def clock(self) -> float:
        """As the world's, also between two steps of a history, when its loop stands still."""
        return self._loop.time() + self._offset

    def _note(self, _loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        """Nothing may come out of a task that nobody looks after, but that the database is away."""
        error = told.get("exception")
        if error is not None and not isinstance(error, StoreUnavailable):
            self.escaped.append(error)

    # -- the API -------------------------------------------------------------------------------

    def start_api(self) -> None:
        """A fresh API process; clients go to this one from now on."""
        self._started += 1
        self.api = Actor(self, f"api{self._started}")
        self.actors.append(self.api)
        waiter = Waiter(self.api.store, self.api.bus, self.api.name)
        self.listen(self.api, waiter.topic, waiter._heard)
        config = _config()
        self._app = make_app(
            block_storage(max_limit=config.api.max_limit),
            ROUTES,
            app=Application(config, self.api.store, waiter, images=ShelfDoor(self.api)),
            authenticator=Personas(),
            policy=POLICY,
            idempotency=Idempotency(
                self.api.store, lease=LEASE, patience=config.api.operation_timeout
            ),
        )

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str = "member",
        project: str = PROJECT,
        key: str | None = None,
    ) -> tuple[Reply | None, Actor]:
        """A request as a client makes it: its answer, and the process that it went to.

        None when that process goes no further. Time passes while the client waits.
        """
        headers = {
            "x-auth-token": f"{role}-user:{project}:{role}",
            "openstack-api-version": "volume 3.71",
            **({"idempotency-key": key} if key else {}),
        }
        asked = self.api
        work = request(self._app, method, f"/v3{path}", body, headers)
        task = asyncio.get_running_loop().create_task(work)
        for _ in range(PATIENCE):
            await idle()
            if task.done():
                return task.result(), asked
            if not asked.alive:
                return None, asked
            await self.look_for_work()
            if not task.done() and asked.alive:
                await self.pass_time(1.0)
        raise AssertionError(f"{method} {path} was never answered")

    # -- time ----------------------------------------------------------------------------------

    async def look_for_work(self) -> None:
        """Each worker polls once, as it does every two seconds, if there is anything to find."""
        for worker in self.workers:
            if self._next_due(0.0) is not None:
                await self._poll(worker)

    async def live(self, seconds: float) -> None:
        """Time passes in leaps; after each the services report and look for work."""
        for _ in range(LEAPS):
            await self.pass_time(seconds / LEAPS)
            self.report()
            await self.look_for_work()
            await self.look_for_work()

    async def sweep(self) -> None:
        """What a scheduler does now and then."""
        for worker in self.workers[:1]:
            work = asyncio.gather(
                end_overdue(worker.engine, _config().operations.deadline),
                move_on_stranded(worker.engine, _config().service_down_time),
                return_exceptions=True,
            )
            await idle()
            if work.done():
                for error in work.result():
                    if isinstance(error, BaseException) and not isinstance(error, StoreUnavailable):
                        raise error

    async def wake(self, sleeper: Actor) -> None:
        """It goes on as if no time had passed."""
        sleeper.thaw()
        await idle()

    # -- what is true --------------------------------------------------------------------------

    def facts(self) -> Facts:
        """As those of the world, read once while nothing changes."""
        seen = (self.changes(), self.clock)
        if self._facts is None or self._facts[0] != seen:
            self._facts = (seen, super().facts())
        return self._facts[1]

    def findings(self) -> list[Violation]:
        """The differences between backends and database that sweeps have found since last time."""
        self.note_findings()
        found, self._findings = self._findings, []
        return found

    def note_findings(self) -> None:
        """Keep what sweeps have found since the last time; the database forgets old ones."""
        for one in self.facts().operations:
            ended = one.workflow == sweep_backend.WORKFLOW.name and one.state == "succeeded"
            if ended and one.id not in self._swept:
                self._swept.add(one.id)
                self._findings += msgspec.convert(one.result, sweep_backend.Report).found

    async def end(self) -> None:
        """No more faults. What is frozen wakes up late; then nothing may be left to do."""
        self.weather.clear()
        self.offline.clear()
        if not self.api.alive:
            self.start_api()
        await self.recover()
        self.note_findings()
        for sleeper in self.weather.asleep:
            sleeper.thaw()
        await idle()
        await self.live(120.0)
        await self.recover()
        for seconds in (4000.0, 700.0):  # holds and checks have their time
            await self.live(seconds)
            await self.recover()
            self.note_findings()
        await self.sweep_backends()
        self.note_findings()

    def backend(self, number: int) -> str:
        """The name of one of the backends."""
        return f"{HOST}@{self.drivers[number % len(self.drivers)].config.name}"
