"""The compute service in one process, before the real block storage service, over a fake host.

The one place that assembles it for tests. Users are tokens `user:project[:role]`, to both services.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from breezeblock.auth.authenticators import Authenticator
from breezeblock.auth.identity import Identity
from breezeblock.auth.policy import Policy
from breezeblock.bus.memory import MemoryBus
from breezeblock.compute.agent import Agent
from breezeblock.compute.api.application import Application
from breezeblock.compute.api.policy import DEFAULTS
from breezeblock.compute.api.routes import ROUTES
from breezeblock.compute.block_storage import BlockStorage
from breezeblock.compute.doors import Doors, LocalHost, queue_of
from breezeblock.compute.explain import explain
from breezeblock.compute.workflows.registry import REGISTRY
from breezeblock.config import Config, build
from breezeblock.operations.engine import Engine
from breezeblock.operations.waiting import Waiter
from breezeblock.operations.wakes import send_wakes
from breezeblock.store import operations
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import operations as table
from breezeblock.web.app import make_app
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.service import compute
from tests.new_database import new_store
from tests.service.catalog_fixture import OTHER, PROJECT
from tests.service.compute.fakes import Crash, Effects, FakeHypervisor, Network
from tests.service.house import House

HOST = "compute1"
POLICY = Policy(defaults=DEFAULTS)
KERNEL = "/boot/vmlinuz"


class Tokens(Authenticator):
    """Believes the token `user:project[:role]`; a second token makes the caller a service."""

    async def identify(
        self, headers: Mapping[str, str], method: str = "", path: str = ""
    ) -> Identity:
        user, project, role = f"{headers['x-auth-token']}:member".split(":")[:3]
        service = {"service"} if "x-service-token" in headers else set()
        return Identity.with_roles(user, project, {role, *service})


@dataclass(frozen=True)
class User:
    """Somebody who calls the compute API; `/servers` stands for `/v2.1/servers`."""

    client: httpx2.AsyncClient
    token: str

    async def call(
        self, method: str, path: str, body: Any = None, version: str = "2.90"
    ) -> httpx2.Response:
        headers = {"X-Auth-Token": self.token, "OpenStack-API-Version": f"compute {version}"}
        return await self.client.request(method, f"/v2.1{path}", json=body, headers=headers)


@dataclass
class ComputeCloud:
    """Both services, their fakes, and shortcuts for what tests need first."""

    house: House
    app: Application
    engine: Engine
    agent: Agent
    client: httpx2.AsyncClient
    hypervisor: FakeHypervisor
    network: Network
    effects: Effects

    @property
    def member(self) -> User:
        return User(self.client, f"member-user:{PROJECT}")

    @property
    def other(self) -> User:
        return User(self.client, f"member-user:{OTHER}")

    @property
    def reader(self) -> User:
        return User(self.client, f"reader-user:{PROJECT}:reader")

    @property
    def admin(self) -> User:
        return User(self.client, f"admin-user:{PROJECT}:admin")

    async def create(self, user: User | None = None, **wishes: Any) -> str:
        """A server that is asked for; its id."""
        wanted = {"name": "one", "flavorRef": "tiny", "networks": "none", **wishes}
        reply = await (user or self.member).call("POST", "/servers", {"server": wanted})
        assert reply.status_code == 202, reply.text
        return str(reply.json()["server"]["id"])

    async def server(self, **wishes: Any) -> str:
        """A server, settled; its id."""
        ident = await self.create(**wishes)
        await self.quiet()
        return ident

    async def show(self, server: str, version: str = "2.90") -> dict[str, Any]:
        reply = await self.member.call("GET", f"/servers/{server}", version=version)
        assert reply.status_code == 200, reply.text
        shown: dict[str, Any] = reply.json()["server"]
        return shown

    async def attach(
        self, server: str, volume: str, version: str = "2.90", **wishes: Any
    ) -> httpx2.Response:
        body = {"volumeAttachment": {"volumeId": volume, **wishes}}
        path = f"/servers/{server}/os-volume_attachments"
        return await self.member.call("POST", path, body, version)

    async def detach(self, server: str, volume: str) -> httpx2.Response:
        path = f"/servers/{server}/os-volume_attachments/{volume}"
        return await self.member.call("DELETE", path)

    async def attachments(self, server: str, version: str = "2.90") -> list[dict[str, Any]]:
        path = f"/servers/{server}/os-volume_attachments"
        reply = await self.member.call("GET", path, version=version)
        assert reply.status_code == 200, reply.text
        listed: list[dict[str, Any]] = reply.json()["volumeAttachments"]
        return listed

    async def act(self, server: str, action: str, value: Any = None) -> httpx2.Response:
        return await self.member.call("POST", f"/servers/{server}/action", {action: value})

    def disks(self, server: str) -> dict[str, str]:
        """Volume → device name, as the guest has them."""
        return {disk.volume_id: disk.device for disk in self.hypervisor.guests[server].disks}

    async def storage_attachments(self, volume: str) -> list[dict[str, Any]]:
        reply = await self.house.member.get(f"/attachments/detail?volume_id={volume}")
        listed: list[dict[str, Any]] = reply.json()["attachments"]
        return listed

    async def quiet(self, waits_for: str = "") -> None:
        """Wait until no operation is open on either side, but for one that waits for this."""
        while await self.app.store.read(lambda tx: _open(tx, waits_for)):
            await asyncio.sleep(0.01)
        await self.house.quiet()

    async def drive(self) -> None:
        """Do the agent's work by hand, to its end; a death on the way is followed by a successor.

        For clouds whose agent does not serve.
        """
        while waiting := await self.app.store.read(_open):
            for ident, queue in waiting:
                try:
                    await self.engine.run(ident, queue)
                except Crash:
                    worker = self.engine.worker
                    await self.app.store.write(
                        lambda tx, worker=worker: operations.release_leases(tx, worker)
                    )
            await asyncio.sleep(0.005)
        await self.house.quiet()


def _open(tx: ReadTx, waits_for: str = "") -> list[tuple[str, str]]:
    statement = table.select().where(table.c.state == "open").order_by(table.c.opened_at)
    return [
        (row.id, row.queue)
        for row in tx.rows(statement)
        if not (waits_for and row.trail[-1].get("note") == waits_for and row.due_at > tx.clock())
    ]


@asynccontextmanager
async def open_compute(
    directory: Path, house: House, *, serves: bool = True, service_user: str = "", **settings: Any
) -> AsyncIterator[ComputeCloud]:
    """The compute service before this house; `settings` are the configuration's for compute.

    With `serves=False` the host reports itself but does no work: `ComputeCloud.drive` does.
    `service_user` is the token of a user who makes all calls to block storage.
    """
    config: Config = build({"compute": {"host": HOST, "kernel": KERNEL, **settings}})
    effects = Effects()
    hypervisor = FakeHypervisor(effects)
    network = Network(house.client._transport, effects)
    http = httpx2.AsyncClient(transport=network)
    storage = BlockStorage(http, "http://cloud/v3")
    if service_user:
        headers = {"X-Auth-Token": service_user}
        storage = replace(
            storage, headers=headers, acts_for_owners=False, callers_header="x-auth-token"
        )
    store = new_store(directory / "compute.sqlite")
    bus = MemoryBus()
    await bus.start()
    store.on_commit = partial(send_wakes, bus)
    doors = Doors(store, storage, LocalHost.of(config, hypervisor))
    engine = Engine(store, bus, REGISTRY, doors, explain, host=HOST, poll=0.2)
    agent = Agent(engine, doors, "nova", report_interval=3600.0)
    waiter = Waiter(store, bus, "tests")
    await waiter.start()
    app = Application(config, store, waiter, storage)
    asgi = make_app(
        compute(),
        ROUTES,
        app=app,
        authenticator=Tokens(),
        policy=POLICY,
        idempotency=Idempotency(store, lease=config.operations.lease, patience=5.0),
    )
    transport = httpx2.ASGITransport(app=asgi)
    client = httpx2.AsyncClient(transport=transport, base_url="http://compute")
    cloud = ComputeCloud(house, app, engine, agent, client, hypervisor, network, effects)
    try:
        if serves:
            await engine.start()
            await agent.start()
        else:
            await agent.report()
        yield cloud
    finally:
        await agent.close()
        await engine.close()
        await client.aclose()
        await http.aclose()
        await bus.close()
        store.close()


__all__ = ["HOST", "ComputeCloud", "open_compute", "queue_of"]
