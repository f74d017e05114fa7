"""A block storage API in process, on a database of its own, with callers of every persona.

For the tests of what surrounds volumes. A token is `user:project:role`; the rows that services
would write (reports, volumes, operations) are put into the store by the helpers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from breezeblock.api.application import Application
from breezeblock.auth.authenticators import Authenticator, Unauthenticated
from breezeblock.auth.identity import Identity
from breezeblock.auth.policy import Policy
from breezeblock.bus.memory import MemoryBus
from breezeblock.config import Config, build
from breezeblock.model.usage import of_volume
from breezeblock.model.volumes import Volume
from breezeblock.operations.waiting import Waiter
from breezeblock.store import quotas, services, volume_types, volumes
from breezeblock.store.schema import ensure_default_type
from breezeblock.store.store import WriteTx
from breezeblock.web.app import make_app
from breezeblock.web.routes import Route
from breezeblock.web.service import block_storage
from tests.new_database import new_store

T = TypeVar("T")

PROJECT = "0c1d2e3f405162738495a6b7c8d9eaf0"
OTHER = "1c1d2e3f405162738495a6b7c8d9eaf1"
POLICY = Policy()


class Personas(Authenticator):
    """Believes the token `user:project:role`."""

    async def identify(
        self, headers: Mapping[str, str], method: str = "", path: str = ""
    ) -> Identity:
        if "x-auth-token" not in headers:
            raise Unauthenticated("There is no token.")
        user, project, role = headers["x-auth-token"].split(":")
        is_service = "x-service-token" in headers
        return Identity.with_roles(user, project, {role}, is_service=is_service)


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the API; `/types` stands for `/v3/types`."""

    client: httpx2.AsyncClient
    token: str

    async def call(
        self, method: str, path: str, body: Any = None, version: str = "3.71"
    ) -> httpx2.Response:
        headers = {"X-Auth-Token": self.token, "OpenStack-API-Version": f"volume {version}"}
        return await self.client.request(method, f"/v3{path}", json=body, headers=headers)

    async def get(self, path: str, version: str = "3.71") -> httpx2.Response:
        return await self.call("GET", path, None, version)

    async def post(self, path: str, body: Any, version: str = "3.71") -> httpx2.Response:
        return await self.call("POST", path, body, version)

    async def put(self, path: str, body: Any, version: str = "3.71") -> httpx2.Response:
        return await self.call("PUT", path, body, version)

    async def delete(self, path: str, version: str = "3.71") -> httpx2.Response:
        return await self.call("DELETE", path, None, version)


@dataclass(frozen=True)
class Cloud:
    """The API, and the hands of the services that work behind it."""

    app: Application
    client: httpx2.AsyncClient

    def caller(self, role: str, project: str = PROJECT) -> Caller:
        return Caller(self.client, f"{role}-user:{project}:{role}")

    @property
    def admin(self) -> Caller:
        return self.caller("admin")

    @property
    def member(self) -> Caller:
        return self.caller("member")

    @property
    def other(self) -> Caller:
        return self.caller("member", OTHER)

    @property
    def reader(self) -> Caller:
        return self.caller("reader")

    async def new_type(self, name: str, **fields: Any) -> dict[str, Any]:
        """A volume type, made by the API."""
        if "is_public" in fields:
            fields["os-volume-type-access:is_public"] = fields.pop("is_public")
        reply = await self.admin.post("/types", {"volume_type": {"name": name, **fields}})
        assert reply.status_code == 200, reply.text
        made: dict[str, Any] = reply.json()["volume_type"]
        return made

    async def new_volume(self, type_name: str, size: int = 1, project: str = PROJECT) -> str:
        """A volume of the type as a finished create leaves it, quota included."""

        def insert(tx: WriteTx) -> str:
            volume_type = volume_types.resolve(tx, type_name)
            volume = Volume(
                id=f"{size:08d}-0000-4000-8000-{len(volumes.placed(tx)):012d}",
                project_id=project,
                user_id="u",
                size=size,
                status="available",
                host=f"h@b#{size}",
                volume_type_id=volume_type.id,
                created_at=tx.now,
            )
            quotas.charge(tx, project, of_volume(size, volume_type.name), {})
            volumes.insert(tx, volume)
            return volume.id

        return await self.app.store.write(insert)

    async def report_backend(
        self, backend: str, zone: str = "nova", **pools: Mapping[str, Any]
    ) -> None:
        """What a volume service writes of a backend (host@backend) and its pools."""

        def report(tx: WriteTx) -> None:
            services.report(tx, "cinder-volume", backend, zone, backend_state="up")
            told = {f"{backend}#{name}": {"pool_name": name, **one} for name, one in pools.items()}
            services.report_pools(tx, backend, told)

        await self.app.store.write(report)

    async def report_scheduler(self, host: str) -> None:
        await self.app.store.write(lambda tx: services.report(tx, "cinder-scheduler", host, "nova"))


@asynccontextmanager
async def open_cloud(
    directory: Path, routes: Iterable[Route], **settings: Any
) -> AsyncIterator[Cloud]:
    """A cloud with these routes; `settings` are the configuration's."""
    config: Config = build(settings)
    store = new_store(directory / "db.sqlite")
    try:
        await ensure_default_type(store, config.default_volume_type)
        app = Application(config, store, Waiter(store, MemoryBus(), "test"))
        asgi = make_app(block_storage(), routes, app=app, authenticator=Personas(), policy=POLICY)
        transport = httpx2.ASGITransport(app=asgi)
        async with httpx2.AsyncClient(transport=transport, base_url="http://cloud") as client:
            yield Cloud(app, client)
    finally:
        store.close()
