"""The whole block storage service in one process: API, scheduler, volume service, fake backends.

The one place that assembles it for tests. Callers are those of `catalog_fixture`: a token says
user, project and role. Requests go through HTTP, work through the bus and the engine; nothing is
called behind the API's back except to put a row into a state that no call leads to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import msgspec

from breezeblock.api.application import Application
from breezeblock.api.routes import ROUTES
from breezeblock.auth.authenticators import Authenticator
from breezeblock.bus.memory import MemoryBus
from breezeblock.config import Config, build
from breezeblock.drivers.backend import Backend
from breezeblock.images.base import ImageService
from breezeblock.images.opening import open_images, open_staging
from breezeblock.images.packing import Packing
from breezeblock.images.staging import Staging
from breezeblock.model.volumes import Volume
from breezeblock.operations.engine import Engine
from breezeblock.operations.explain import explain
from breezeblock.operations.waiting import Waiter
from breezeblock.operations.wakes import send_wakes
from breezeblock.scheduler.registry import load_filters, load_weighers
from breezeblock.store import schema, services, snapshots, volumes
from breezeblock.store.store import ReadTx, Store, WriteTx
from breezeblock.store.tables import operations
from breezeblock.web.app import make_app
from breezeblock.web.call import Enforcer
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.service import block_storage
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.doors import SCHEDULER, Doors, Scheduling
from breezeblock.workflows.pool_view import PoolView
from breezeblock.workflows.registry import REGISTRY
from tests.new_database import new_store
from tests.service.catalog_fixture import POLICY, PROJECT, Caller, Cloud, Personas
from tests.service.fake_driver import FakeDriver

WAIT_FOR_A_CLIENT_OR_TIME = ("hold_volume", "check_volume", "check_snapshot")
SOON = 10.0
"""Work that is due only after so many seconds waits for its time: a test that wants it done lets
the time pass."""
PATIENCE = 60.0
"""Seconds that open work may take."""


@dataclass(frozen=True)
class House(Cloud):
    """The running service, its backends, and shortcuts for what tests need first."""

    drivers: list[FakeDriver] = field(default_factory=list)
    engine: Engine | None = None
    images: Path = Path("unused")

    @property
    def driver(self) -> FakeDriver:
        return self.drivers[0]

    async def quiet(self) -> None:
        """Wait until no operation is open but those that wait for a client, or for their time."""
        deadline = time.monotonic() + PATIENCE
        while waiting := await self.app.store.read(_open_operations):
            assert time.monotonic() < deadline, f"still open after {PATIENCE} s: {waiting}"
            await asyncio.sleep(0.01)

    def image(self, file: str = "debian.raw", content: bytes = b"Debian", **said: Any) -> str:
        """An image file in the folder, and what is said beside it; its name."""
        (self.images / file).write_bytes(content)
        if said:
            (self.images / f"{file}.json").write_bytes(msgspec.json.encode(said))
        return file

    def late(self, file: str, content: bytes) -> AbstractContextManager[Any]:
        """Within, the image file is replaced just before a volume service fetches it."""

        def fetch(staging: Staging, *given: Any) -> Any:
            self.image(file, content)
            return as_it_is(staging, *given)

        as_it_is = Staging.fetch
        return patch.object(Staging, "fetch", fetch)

    async def volume(self, size: int = 1, caller: Caller | None = None, **wishes: Any) -> str:
        """A new volume, made by the API and settled; its id."""
        caller = caller or self.member
        reply = await caller.post("/volumes", {"volume": {"size": size, **wishes}})
        assert reply.status_code == 202, reply.text
        await self.quiet()
        return str(reply.json()["volume"]["id"])

    async def snapshot(self, volume_id: str, **wishes: Any) -> str:
        """A new snapshot, settled; its id."""
        body = {"snapshot": {"volume_id": volume_id, **wishes}}
        reply = await self.member.post("/snapshots", body)
        assert reply.status_code == 202, reply.text
        await self.quiet()
        return str(reply.json()["snapshot"]["id"])

    async def attachment(self, volume_id: str, host: str = "", server: str = "") -> str:
        """An attachment, reserved or (with a host) connected; its id."""
        wishes: dict[str, Any] = {"volume_uuid": volume_id}
        wishes |= {"instance_uuid": server} if server else {}
        wishes |= {"connector": {"host": host, "mountpoint": "/dev/vdb"}} if host else {}
        reply = await self.member.post("/attachments", {"attachment": wishes})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["attachment"]["id"])

    async def in_use(self, volume_id: str, host: str = "compute1", server: str = "") -> str:
        """Attach the volume to its end; the attachment's id."""
        ident = await self.attachment(volume_id, host, server)
        reply = await self.member.post(f"/attachments/{ident}/action", {"os-complete": None})
        assert reply.status_code == 204, reply.text
        return ident

    async def multiattach_type(self) -> str:
        await self.new_type("shared", extra_specs={"multiattach": "<is> True"})
        return "shared"

    async def act(
        self,
        volume_id: str,
        action: str,
        value: Any = None,
        caller: Caller | None = None,
        version: str = "3.71",
    ) -> httpx2.Response:
        """One action on a volume."""
        caller = caller or self.member
        return await caller.post(f"/volumes/{volume_id}/action", {action: value}, version)

    async def add_pool(self, name: str = "pool1", **told: Any) -> str:
        """A further pool of the first backend, which says this of itself; its full name."""
        self.driver.pools[name] = told
        backend = Backend(self.driver, availability_zone="nova", threads=1)
        reports = backend.reports(self.driver.stats())
        await self.app.store.write(partial(_report, backend=backend, reports=reports))
        return f"{backend.name}#{name}"

    async def messages(self, caller: Caller | None = None) -> list[str]:
        """What users of the caller's project were told."""
        reply = await (caller or self.member).get("/messages")
        return [one["user_message"] for one in reply.json()["messages"]]

    async def show(self, volume_id: str, caller: Caller | None = None) -> dict[str, Any]:
        reply = await (caller or self.member).get(f"/volumes/{volume_id}")
        assert reply.status_code == 200, reply.text
        shown: dict[str, Any] = reply.json()["volume"]
        return shown

    async def status(self, volume_id: str) -> str:
        """The volume's status, or "gone"."""
        found = await self.row(volume_id)
        return found.status if found else "gone"

    async def come_due(self, workflow: str) -> None:
        """As `pass_time`; what follows from it is done, too."""
        await self.pass_time(workflow)
        await self.quiet()

    async def pass_time(self, workflow: str) -> None:
        """Let the time pass that these operations wait for, and have them done."""
        assert self.engine is not None
        await self.app.store.write(lambda tx: _make_due(tx, workflow))
        while await self.app.store.read(lambda tx: _is_due(tx, workflow)):
            await self.engine.poll()
            await asyncio.sleep(0.01)

    async def row(self, volume_id: str) -> Volume | None:
        return await self.app.store.read(lambda tx: volumes.find(tx, volume_id))

    async def put(self, volume_id: str, **values: Any) -> None:
        """Bring a volume into a state that no call leads to, or not now."""
        await self.app.store.write(lambda tx: volumes.update(tx, volume_id, **values))

    async def put_snapshot(self, snapshot_id: str, **values: Any) -> None:
        await self.app.store.write(lambda tx: snapshots.update(tx, snapshot_id, **values))


def _open_operations(tx: ReadTx) -> list[Any]:
    statement = operations.select().where(
        operations.c.state == "open",
        operations.c.workflow.not_in(WAIT_FOR_A_CLIENT_OR_TIME),
        operations.c.due_at <= tx.clock() + SOON,
    )
    return list(tx.rows(statement))


def _make_due(tx: WriteTx, workflow: str) -> None:
    waiting = operations.c.state == "open", operations.c.workflow == workflow
    tx.run(operations.update().where(*waiting).values(due_at=0.0))


def _is_due(tx: ReadTx, workflow: str) -> bool:
    statement = operations.select().where(
        operations.c.state == "open",
        operations.c.workflow == workflow,
        operations.c.due_at <= tx.clock(),
    )
    return tx.first(statement) is not None


@asynccontextmanager
async def open_house(
    directory: Path,
    drivers: Sequence[FakeDriver] | None = None,
    authenticator: Authenticator | None = None,
    policy: Enforcer = POLICY,
    zones: Iterable[str] = ("nova",),
    database: str = "",
    **settings: Any,
) -> AsyncIterator[House]:
    """A house over these backends, one a zone; `settings` are the configuration's.

    `database` is a SQLAlchemy URL; by default SQLite in the directory.
    """
    config = build({"host": "node1", "data": str(directory), **settings})
    (directory / "images").mkdir(exist_ok=True)
    images = open_images(config)
    known = list(drivers) if drivers is not None else [FakeDriver()]
    zone_of = list(zones)
    backends = [
        Backend(driver, availability_zone=zone_of[number % len(zone_of)], threads=4)
        for number, driver in enumerate(known)
    ]
    store = Store(database) if database else new_store(directory / "breezeblock.sqlite")
    bus = MemoryBus()
    await bus.start()
    if database:
        schema.upgrade(store)
    await schema.ensure_default_type(store, config.default_volume_type)
    store.on_commit = partial(send_wakes, bus)
    engine = _engine(config, store, bus, backends, images)
    await engine.start()
    await _serve(engine, backends)
    waiter = Waiter(store, bus, "tests")
    await waiter.start()
    app = Application(config, store, waiter, images=images)
    asgi = make_app(
        block_storage(max_limit=config.api.max_limit),
        ROUTES,
        app=app,
        authenticator=authenticator or Personas(),
        policy=policy,
        idempotency=Idempotency(store, lease=config.operations.lease, patience=5.0),
    )
    transport = httpx2.ASGITransport(app=asgi)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://cloud") as client:
            yield House(app, client, known, engine, directory / "images")
    finally:
        for backend in backends:
            backend.close()
        await engine.close()
        await bus.close()
        await images.close()
        store.close()


def _engine(
    config: Config, store: Store, bus: MemoryBus, backends: list[Backend], images: ImageService
) -> Engine:
    staging = open_staging(config, images)
    doors = Doors(
        store,
        pools=PoolView(store, down_time=config.service_down_time, max_age=0.0),
        scheduling=Scheduling(load_filters(), load_weighers()),
        backends={backend.name: backend for backend in backends},
        images=images,
        staging=staging,
        packing=Packing(staging.scratch),
    )
    late = sweep_backend.overtaken
    return Engine(store, bus, REGISTRY, doors, explain, host="node1", poll=0.5, overtaken=late)


async def _serve(engine: Engine, backends: list[Backend]) -> None:
    await engine.serve(SCHEDULER, in_flight=8)
    for backend in backends:
        await backend.setup()
        reports = backend.reports(await backend.call(backend.driver.stats))
        await engine.store.write(partial(_report, backend=backend, reports=reports))
        await engine.serve(backend.queue, in_flight=4)


def _report(tx: WriteTx, backend: Backend, reports: dict[str, dict[str, Any]]) -> None:
    zone = backend.availability_zone
    services.report(tx, services.VOLUME, backend.name, zone, backend_state="up")
    services.report_pools(tx, backend.name, reports)


__all__ = ["PROJECT", "House", "open_house"]
