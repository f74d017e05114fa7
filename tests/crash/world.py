"""The world of block storage: an API, workers and storage backends on a stage.

    world = World()                        two backends, an API, one worker; inside a VirtualLoop
    reply = await world.call("POST", "/volumes", {"volume": {"size": 1}})      as clients do
    await world.settle()                   messages, polls and time, until no work is left
    world.worker.freeze()                  the worker is dead (or late: `thaw()`)
    await world.recover()                  a fresh worker, expired leases, sweeps, until it is quiet
    world.violations()                     what must not be: the invariants over rows and backends
    await world.close()

Real are the API (routes, handlers, policy), the workflows, the engine, the sweeps, the schema and
every transaction; fake are the drivers, the bus and the time. Each effect of API and workers is a
point at which `world.plan` decides what happens (`stage.py`); `faults.py` holds the plans.

From plain synchronous code (a Hypothesis state machine): `run(coroutine)` of this module, or an
`asyncio.Runner(loop_factory=VirtualLoop)` of your own.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from breezeblock.api.application import Application
from breezeblock.api.routes import ROUTES
from breezeblock.config import Config, build
from breezeblock.drivers.backend import Backend
from breezeblock.drivers.base import TemporaryError
from breezeblock.model.invariants import Facts, Violation, check_live, check_quiet
from breezeblock.operations.engine import Engine
from breezeblock.operations.explain import explain
from breezeblock.operations.sweep import end_overdue, move_on_stranded
from breezeblock.operations.waiting import Waiter
from breezeblock.scheduler.registry import load_filters, load_weighers
from breezeblock.store import facts, services
from breezeblock.store.store import StoreUnavailable, WriteTx
from breezeblock.store.tables import operations, pools, volume_types
from breezeblock.store.tables import services as service_rows
from breezeblock.web.app import AsgiApp, make_app
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.service import block_storage
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.doors import SCHEDULER, Doors, Scheduling
from breezeblock.workflows.pool_view import PoolView
from breezeblock.workflows.registry import REGISTRY
from tests.crash.asgi import Reply, request
from tests.crash.database import guarded
from tests.crash.shelf import PackingDoor, Shelf, ShelfDoor, StagingDoor
from tests.crash.stage import BEGINNING, Actor, Remains, Stage
from tests.crash.virtual_time import VirtualLoop, idle
from tests.service.catalog_fixture import POLICY, PROJECT, Personas
from tests.service.fake_driver import FakeDriver

T = TypeVar("T")

HOST = "node1"
ZONE = "nova"
LEASE = 20.0
WAITS = 30.0
"""Work that is due only after so many seconds waits for a client: nobody stays up for it."""
AFTER_A_WHILE = 90.0
"""Checks and second sweeps look when the calls of a frozen worker must have ended."""
ROUNDS = 400
"""How many looks for work may be needed until all is done; more means that it never ends."""


class NeverQuiet(AssertionError):
    """Work goes on and on."""


@dataclass(frozen=True)
class Backends:
    """The storage of a world, and its images. It survives every crash."""

    drivers: tuple[FakeDriver, ...]
    shelf: Shelf = field(default_factory=Shelf)

    def copy(self) -> Backends:
        return Backends(tuple(driver.copy() for driver in self.drivers), self.shelf.copy())

    def state(self) -> Any:
        return [*(driver.state() for driver in self.drivers), self.shelf.state()]


class ServedBackend(Backend):
    """A backend as one worker serves it: each call of its driver is an effect of that worker."""

    def __init__(self, driver: FakeDriver, world: World, actor: Actor) -> None:
        super().__init__(driver, availability_zone=ZONE, threads=1)
        self.ready = True
        self._world = world
        self._actor = actor

    async def call(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        def act() -> T:
            if self.name in self._world.offline:
                raise TemporaryError("The backend does not answer.")
            return method(*args, **kwargs)

        label = f"{self.driver.config.name}.{method.__name__}"
        return await self._actor.effect("driver", label, act)


class Worker(Actor):
    """A scheduler and the volume services of all backends in one process: the real engine."""

    engine: Engine


class World(Stage[Backends]):
    """See the module's text.

    `remains`: begin where another world was left (`remains()`). `hire`: so many workers.
    `patience`: work that is due only after so many seconds is not waited for.
    """

    def __init__(
        self, remains: Remains[Backends] | None = None, *, hire: int = 1, patience: float = WAITS
    ) -> None:
        super().__init__(remains or first_day())
        self.offline: set[str] = set()
        self.patience = patience
        self._checked: tuple[Any, list[Violation]] | None = None
        self.api = Actor(self, "api")
        self.actors.append(self.api)
        waiter = Waiter(self.api.store, self.api.bus, "api")
        self.listen(self.api, waiter.topic, waiter._heard)
        images = ShelfDoor(self.api)
        self._application = Application(_config(), self.api.store, waiter, images=images)
        self._hired = 0
        for _ in range(hire):
            self.hire()

    # -- who is here ---------------------------------------------------------------------------

    @property
    def workers(self) -> list[Worker]:
        """Those that live."""
        return [one for one in self.actors if isinstance(one, Worker) and one.alive]

    @property
    def worker(self) -> Worker:
        return self.workers[0]

    @property
    def drivers(self) -> tuple[FakeDriver, ...]:
        return self.outside.drivers

    def hire(self) -> Worker:
        """A fresh worker, with an identity of its own, that serves every queue."""
        self._hired += 1
        worker = Worker(self, f"worker{self._hired}")
        backends = [self.served(driver, worker) for driver in self.drivers]
        images = ShelfDoor(worker)
        doors = Doors(
            worker.store,
            pools=PoolView(worker.store, down_time=_config().service_down_time, max_age=0.0),
            scheduling=_scheduling(),
            backends={backend.name: backend for backend in backends},
            images=images,
            staging=StagingDoor(images),  # type: ignore[arg-type]
            packing=PackingDoor(worker),  # type: ignore[arg-type]
        )
        engine = Engine(
            worker.store,
            worker.bus,
            REGISTRY,
            doors,
            explain,
            host=HOST,
            lease=LEASE,
            overtaken=sweep_backend.overtaken,
        )
        engine.worker = f"{HOST}:{self._hired}:{self._hired}"
        worker.engine = engine
        self.actors.append(worker)
        for queue in (SCHEDULER, *(backend.queue for backend in backends)):
            _at_once(engine.serve(queue, in_flight=4))
        return worker

    def served(self, driver: FakeDriver, worker: Worker) -> ServedBackend:
        """The backend as this worker serves it."""
        return ServedBackend(driver, self, worker)

    # -- what clients do -----------------------------------------------------------------------

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str = "member",
        project: str = PROJECT,
        version: str = "3.71",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """A request to the API; `/volumes` stands for `/v3/volumes`.

        The answer may need work and time (attachments): then spawn this and `settle()` beside it.
        """
        told = {
            "x-auth-token": f"{role}-user:{project}:{role}",
            "openstack-api-version": f"volume {version}",
            **(headers or {}),
        }
        _HERE.set(self._application)
        return await request(_api(), method, f"/v3{path}", body, told)

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> Reply:
        """As `call`, and all work that follows from it is done, too."""
        task = self.spawn(self.call(method, path, body, **how))
        await self.settle(task)
        return task.result()

    # -- time and work -------------------------------------------------------------------------

    async def settle(self, *clients: asyncio.Task[Any], within: float | None = None) -> None:
        """Go on until nothing is due within so many seconds and these clients have their answers.

        Only the living work. Raises NeverQuiet.
        """
        for _ in range(ROUNDS):
            await idle()
            if not self.workers:
                return
            found = [await self._poll(worker) for worker in self.workers]
            if any(found):
                continue
            waiting = self.api.alive and not all(one.done() for one in clients)
            pause = self._next_due(self.patience if within is None else within)
            if pause is None and not waiting:
                return
            await self.pass_time(min(pause or 2.0, 2.0) if waiting else pause or 0.0)
            self.report()
        raise NeverQuiet(f"after {ROUNDS} looks: {self.trails()}")

    async def _poll(self, worker: Worker) -> int:
        """One look for work; a worker that freezes in it does not hold up the others."""
        task = self.spawn(worker.engine.poll())
        await idle()
        if not task.done():
            return 0
        return 1 if isinstance(task.exception(), StoreUnavailable) else task.result()

    def _next_due(self, within: float) -> float | None:
        """Seconds until open work is due or its lease is over; None when that is not soon."""
        first = self.read(lambda tx: tx.scalar(_FIRST_DUE))
        if first is None or first > self.clock + within:
            return None
        return max(first - self.clock, 0.0) + 0.01

    async def take_over(self, *clients: asyncio.Task[Any]) -> None:
        """A fresh worker, if none lives, does what is left when the leases have expired."""
        if not self.workers:
            self.hire()
        self.report()
        await self.settle(*clients)

    async def recover(self, *clients: asyncio.Task[Any]) -> None:
        """What a deployment does after a crash: it takes over, ends what is overdue and moves what
        is stranded, and looks through its backends when something is wrong there."""
        await self.take_over(*clients)
        if self.read(lambda tx: tx.scalar(_FIRST_DUE)) is not None:
            engine = self.worker.engine
            await end_overdue(engine, _config().operations.deadline)
            await move_on_stranded(engine, _config().service_down_time)
        if self.violations():
            await self.sweep_backends()

    async def sweep_backends(self) -> None:
        """One inventory sweep of each backend, and a second one where the first asks for it.

        It comes by itself, too, only later. A healthy backend need not be swept in every run: that
        this changes nothing is a scenario of its own.
        """
        for driver in self.drivers:
            name = f"{HOST}@{driver.config.name}"
            self.write(partial(sweep_backend.request, backend=name))
        await self.settle(within=max(self.patience, AFTER_A_WHILE))

    def report(self) -> None:
        """The backends that answer say so, as their services do every few seconds."""

        def write(tx: WriteTx) -> None:
            now = tx.clock()
            up = service_rows.c.host.not_in(self.offline)
            tx.run(service_rows.update().where(up).values(reported_at=now))
            tx.run(
                pools.update().where(pools.c.backend.not_in(self.offline)).values(reported_at=now)
            )

        self.write(write)

    # -- what is true --------------------------------------------------------------------------

    def facts(self) -> Facts:
        return self.read(facts.read)

    def violations(self, *, quiet: bool = True) -> list[Violation]:
        """What must not be, now that all work is done (`quiet`), or at any moment."""
        seen = (quiet, self.changes())
        if self._checked is None or self._checked[0] != seen:
            held = {f"{HOST}@{one.config.name}": one.inventory() for one in self.drivers}
            found = (check_quiet if quiet else check_live)(self.facts(), held)
            self._checked = (seen, [*found, *self._still_read()] if quiet else found)
        return self._checked[1]

    def _still_read(self) -> list[Violation]:
        """Volumes that a backend keeps open to its service though nobody reads them any more."""
        return [
            Violation("still-read", ident, f"Volume {ident} is still open to be read.")
            for driver in self.drivers
            for ident in getattr(driver, "being_read", set()) & driver.sizes.keys()
        ]

    def trails(self) -> str:
        """What the operations tell of themselves, for a failed test."""
        return "\n".join(
            f"{one.workflow} on {one.resource_id}: {one.state} at {one.step}, epoch {one.epoch}, "
            f"{one.failure or one.result}\n" + "\n".join(f"    {entry}" for entry in one.trail)
            for one in self.facts().operations
        )


# -- made once a process -----------------------------------------------------------------------

_FIRST_DUE = sa.select(
    sa.func.min(sa.func.max(operations.c.due_at, sa.func.coalesce(operations.c.lease_until, 0.0)))
).where(operations.c.state == "open")

_HERE: ContextVar[Application] = ContextVar("application")


class _ApplicationHere:
    """Stands for the application of the world that the request is made in."""

    # A request with an idempotency key gets a copy with a journal: one of the real application.
    __dataclass_fields__ = Application.__dataclass_fields__
    __class__ = Application  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(_HERE.get(), name)


class _StoreHere:
    """Stands for that application's store."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_HERE.get().store, name)


@cache
def _api() -> AsgiApp:
    service = block_storage(max_limit=_config().api.max_limit)
    here: Any = _ApplicationHere()
    keys = Idempotency(_StoreHere(), LEASE, patience=LEASE)  # type: ignore[arg-type]
    return make_app(
        service, ROUTES, app=here, authenticator=Personas(), policy=POLICY, idempotency=keys
    )


@cache
def _config() -> Config:
    return build({"host": HOST})


@cache
def _scheduling() -> Scheduling:
    return Scheduling(load_filters(), load_weighers())


@cache
def first_day() -> Remains[Backends]:
    """Two backends of one pool each."""
    return begun(FakeDriver("fast", capacity=1000.0), FakeDriver("slow", capacity=900.0))


def begun(*drivers: FakeDriver) -> Remains[Backends]:
    """These backends, reported; the default type and one for shared volumes."""
    backends = [Backend(driver, availability_zone=ZONE, threads=1) for driver in drivers]

    def populate(tx: WriteTx) -> None:
        for name, specs in ((_config().default_volume_type, {}), ("shared", _SHARED)):
            row = {"id": f"{name:_>36}", "name": name, "extra_specs": specs, "created_at": tx.now}
            tx.insert(volume_types, row)
        for backend, driver in zip(backends, drivers, strict=True):
            services.report(tx, services.VOLUME, backend.name, ZONE, backend_state="up")
            services.report_pools(tx, backend.name, backend.reports(driver.stats()))

    stage: Stage[Backends] = Stage(Remains(guarded(), BEGINNING, Backends(drivers)))
    stage.write(populate)
    return stage.remains()


_GARBAGE = gc.get_threshold()
_SHARED = {"multiattach": "<is> True"}


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that does not wait for anything."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Without logs: thousands of faults would fill the screen."""
    before, disabled = structlog.get_config(), logging.root.manager.disable
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    logging.disable()
    try:
        yield
    finally:
        logging.disable(disabled)
        structlog.configure(**before)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it in virtual time, without logs, and without looking for garbage all the time."""
    gc.freeze()
    gc.set_threshold(50_000)
    try:
        with quiet_logs(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(work)
    finally:
        gc.set_threshold(*_GARBAGE)
        gc.unfreeze()
