"""The world of compute: its API, agents and guests on a stage, before a healthy block storage.

    world = ComputeWorld()                 a compute API, one agent, and all of `world.World` behind
    reply = await world.ask("POST", "/servers", {"server": {…}})      as clients do
    await world.recover()                  a fresh agent, its look at the guests, sweeps, …
    world.violations()                     what must not be, here and in block storage

As `world.World`, and with the same verbs. The doors of compute are its store, the bus, the
hypervisor (`host`: guests are data that outlive every agent) and block storage (`http`: each call
is one effect, what block storage does about it is its own affair and knows no faults here).

`disks_out_of_reach` is looked at before every effect: the order of unplugging a device and taking
its export away cannot be seen from the end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import httpx2

from breezeblock.auth.policy import Policy
from breezeblock.compute.agent import Agent
from breezeblock.compute.api.application import Application
from breezeblock.compute.api.policy import DEFAULTS
from breezeblock.compute.api.routes import ROUTES
from breezeblock.compute.block_storage import BlockStorage
from breezeblock.compute.doors import Doors, LocalHost, queue_of
from breezeblock.compute.explain import explain
from breezeblock.compute.hypervisor import GuestState
from breezeblock.compute.late import overtaken
from breezeblock.compute.workflows.registry import REGISTRY
from breezeblock.config import Config, build
from breezeblock.model.invariants import Violation
from breezeblock.model.invariants.servers import (
    SeenAttachment,
    SeenGuest,
    ServerFacts,
    Surroundings,
    check_live,
    check_quiet,
    disks_out_of_reach,
)
from breezeblock.operations.engine import Engine
from breezeblock.operations.sweep import end_overdue
from breezeblock.operations.waiting import Waiter
from breezeblock.store import server_facts, servers
from breezeblock.web.app import AsgiApp, make_app
from breezeblock.web.service import compute
from tests.crash.asgi import Reply, request
from tests.crash.compute_faults import Refused
from tests.crash.database import guarded
from tests.crash.stage import BEGINNING, Actor, Order, Remains, Stage, When
from tests.crash.virtual_time import idle
from tests.crash.world import (
    _FIRST_DUE,
    LEASE,
    ROUNDS,
    WAITS,
    ZONE,
    Backends,
    NeverQuiet,
    World,
    _at_once,
)
from tests.crash.world import first_day as storage_first_day
from tests.service.catalog_fixture import PROJECT
from tests.service.compute.cloud import HOST, KERNEL, Tokens
from tests.service.compute.fakes import Effects, FakeHypervisor

POLICY = Policy(defaults=DEFAULTS)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Beyond:
    """What compute acts on, and what survives it: guests, and all of block storage."""

    hypervisor: FakeHypervisor
    storage: Remains[Backends]

    def copy(self) -> Beyond:
        return Beyond(self.hypervisor.copy(), self.storage)

    def state(self) -> Any:
        return self.hypervisor.state(), self.storage


class HostDoor:
    """An agent's way to the hypervisor: each call is an effect of that agent."""

    def __init__(self, actor: Actor, hypervisor: FakeHypervisor) -> None:
        self._actor = actor
        self._hypervisor = hypervisor

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._hypervisor, verb)

        def call(*args: Any) -> Coroutine[Any, Any, Any]:
            return self._actor.effect("host", verb, partial(method, *args))

        return call


class StorageDoor(httpx2.AsyncBaseTransport):
    """An actor's way to the block storage API: each request is an effect of that actor."""

    def __init__(self, actor: Actor, storage: World) -> None:
        self._actor = actor
        self._storage = storage

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode().removeprefix("/v3")
        label = f"{request.method} {_UUID.sub('*', path.partition('?')[0])}"
        headers = {key: request.headers[key] for key in _SENT if key in request.headers}
        headers["x-auth-token"] += ":member"
        body = httpx2.Response(200, content=request.content).json() if request.content else None
        ask = partial(self._storage.call, request.method, path, body, headers=headers)
        try:
            reply: Reply = await self._actor.effect("http", label, ask)
        except Refused as error:
            fault = {"fault": {"code": error.status, "message": "made up"}}
            return httpx2.Response(error.status, json=fault)
        if reply.json is None:
            return httpx2.Response(reply.status)
        return httpx2.Response(reply.status, json=reply.json)


_SENT = ("x-auth-token", "x-service-token", "openstack-api-version", "idempotency-key")


class AgentProcess(Actor):
    """A compute agent and its engine."""

    engine: Engine
    agent: Agent


class ComputeWorld(Stage[Beyond]):
    """See the module's text. `remains`: begin where another world was left (`remains()`)."""

    def __init__(self, remains: Remains[Beyond] | None = None, *, hire: int = 1) -> None:
        super().__init__(remains or first_day())
        self.storage = World(self.outside.storage)
        self.hypervisor.reaches = lambda volume_id: (volume_id, HOST) in self._exports()
        self.out_of_reach: list[Violation] = []
        self._plugged: Any = None
        self.api = Actor(self, "api")
        self.actors.append(self.api)
        waiter = Waiter(self.api.store, self.api.bus, "api")
        self.listen(self.api, waiter.topic, waiter._heard)
        self._application = Application(_config(), self.api.store, waiter, self._client(self.api))
        self._hired = 0
        for _ in range(hire):
            self.hire()

    def _client(self, actor: Actor) -> BlockStorage:
        http = httpx2.AsyncClient(transport=StorageDoor(actor, self.storage), trust_env=False)
        return BlockStorage(http, "http://cloud/v3")

    # -- who is here ---------------------------------------------------------------------------

    @property
    def workers(self) -> list[AgentProcess]:
        """The agents that live."""
        return [one for one in self.actors if isinstance(one, AgentProcess) and one.alive]

    @property
    def hypervisor(self) -> FakeHypervisor:
        return self.outside.hypervisor

    def hire(self) -> AgentProcess:
        """A fresh agent of the host, with an identity of its own."""
        self._hired += 1
        process = AgentProcess(self, f"agent{self._hired}")
        door: Any = HostDoor(process, self.hypervisor)
        doors = Doors(process.store, self._client(process), LocalHost.of(_config(), door))
        engine = Engine(
            process.store,
            process.bus,
            REGISTRY,
            doors,
            explain,
            host=HOST,
            lease=LEASE,
            overtaken=overtaken,
        )
        engine.worker = f"{HOST}:{self._hired}:{self._hired}"
        process.engine = engine
        process.agent = Agent(engine, doors, ZONE, report_interval=10.0)
        self.actors.append(process)
        _at_once(engine.serve(queue_of(HOST), in_flight=4))
        return process

    # -- what clients do -----------------------------------------------------------------------

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str = "member",
        version: str = "2.101",
    ) -> Reply:
        """A request to the compute API; `/servers` stands for `/v2.1/servers`."""
        told = {
            "x-auth-token": f"{role}-user:{PROJECT}:{role}",
            "openstack-api-version": f"compute {version}",
        }
        _HERE.set(self._application)
        return await request(_api(), method, f"/v2.1{path}", body, told)

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> Reply:
        """As `call`, and all work that follows from it is done, too."""
        task = self.spawn(self.call(method, path, body, **how))
        await self.settle(task)
        return task.result()

    # -- time and work -------------------------------------------------------------------------

    async def settle(self, *clients: asyncio.Task[Any], within: float = WAITS) -> None:
        """As `World.settle`, for the work of compute and of block storage."""
        for _ in range(ROUNDS):
            await idle()
            if not self.workers:
                return
            everybody = [*self.storage.workers, *self.workers]
            found = [await self.storage._poll(worker) for worker in everybody]
            if any(found):
                continue
            waiting = self.api.alive and not all(one.done() for one in clients)
            pauses = [self._next_due(within), self.storage._next_due(within)]
            pause = min((one for one in pauses if one is not None), default=None)
            if pause is None and not waiting:
                return
            await self.pass_time(min(pause or 2.0, 2.0) if waiting else pause or 0.0)
            self.report()
        raise NeverQuiet(f"after {ROUNDS} looks: {self.trails()}")

    def _next_due(self, within: float) -> float | None:
        first = self.read(lambda tx: tx.scalar(_FIRST_DUE))
        if first is None or first > self.clock + within:
            return None
        return max(first - self.clock, 0.0) + 0.01

    async def take_over(self, *clients: asyncio.Task[Any]) -> None:
        """An agent, fresh if none lives, looks at what it finds, and does what is left when the
        leases have expired."""
        self.report()
        if not self.workers:
            self.hire()
            await self._look(*clients)
        await self.settle(*clients)

    async def recover(self, *clients: asyncio.Task[Any]) -> None:
        """What a deployment does after a crash: it takes over, ends what is overdue, and looks
        after its guests, until it is quiet."""
        await self.take_over(*clients)
        await end_overdue(self.workers[0].engine, _config().operations.deadline)
        await self._look(*clients)

    async def _look(self, *clients: asyncio.Task[Any]) -> None:
        """The agent's look after its guests, which it takes when it starts and now and then."""
        for process in self.workers:
            look = self.spawn(process.agent._look())
            await self.settle(*clients, look)

    def report(self) -> None:
        """Host and backends say that they are there, as they do every few seconds."""
        self.write(lambda tx: servers.report_host(tx, HOST, ZONE, {}))
        self.storage.report()

    async def _point(self, actor: Actor, kind: str, label: str, when: When) -> Order:
        self._watch_disks()
        return await super()._point(actor, kind, label, when)

    # -- what is true --------------------------------------------------------------------------

    def remains(self) -> Remains[Beyond]:
        self.outside.storage = self.storage.remains()
        return super().remains()

    def facts(self) -> ServerFacts:
        return self.read(server_facts.read)

    def surroundings(self) -> Surroundings:
        """What the host and block storage show of themselves at this moment."""
        guests = [
            SeenGuest(
                guest.uuid,
                HOST,
                guest.state is not GuestState.STOPPED,
                frozenset(disk.volume_id for disk in guest.disks),
            )
            for guest in self.hypervisor.guests.values()
        ]
        exports = self._exports()
        attachments = [
            SeenAttachment(
                one.id,
                one.volume_id,
                one.instance_uuid or "",
                one.host if (one.volume_id, one.host) in exports else None,
            )
            for one in self.storage.facts().attachments
        ]
        return Surroundings({HOST}, guests, attachments)

    def _exports(self) -> frozenset[tuple[str, str]]:
        return frozenset().union(*(driver.exports for driver in self.storage.drivers))

    def _watch_disks(self) -> None:
        plugged = (tuple(self.hypervisor.guests.values()), self._exports())
        if plugged != self._plugged:
            self._plugged = plugged
            self.out_of_reach += disks_out_of_reach(self.surroundings())

    def violations(self, *, quiet: bool = True) -> list[Violation]:
        """What must not be, now that all work is done (`quiet`), or at any moment."""
        self._watch_disks()
        check = check_quiet if quiet else check_live
        found = check(self.facts(), self.surroundings())
        return [*self.out_of_reach, *found, *self.storage.violations(quiet=quiet)]

    def trails(self) -> str:
        """What the operations tell of themselves, for a failed test."""
        mine = "\n".join(
            f"{one.workflow} on {one.resource_id}: {one.state} at {one.step}, epoch {one.epoch}, "
            f"{one.failure or one.result}\n" + "\n".join(f"    {entry}" for entry in one.trail)
            for one in self.facts().operations
        )
        return f"{mine}\n-- block storage\n{self.storage.trails()}"

    async def close(self) -> None:
        self._closed = True
        await self.storage.close()
        await super().close()


# -- made once a process -----------------------------------------------------------------------

_HERE: ContextVar[Application] = ContextVar("compute application")


class _ApplicationHere:
    """Stands for the application of the world that the request is made in."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_HERE.get(), name)


@cache
def _api() -> AsgiApp:
    here = _ApplicationHere()
    return make_app(compute(), ROUTES, app=here, authenticator=Tokens(), policy=POLICY)


@cache
def _config() -> Config:
    return build({"compute": {"host": HOST, "kernel": KERNEL}})


@cache
def first_day() -> Remains[Beyond]:
    """One host without guests, before block storage as it is on its first day."""
    beyond = Beyond(FakeHypervisor(Effects()), storage_first_day())
    stage: Stage[Beyond] = Stage(Remains(guarded(), BEGINNING, beyond))
    stage.write(lambda tx: servers.report_host(tx, HOST, ZONE, {}))
    return stage.remains()
