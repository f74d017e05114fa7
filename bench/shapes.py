"""The two shapes of a deployment that benchmarks measure, on real engines that keep their data.

`one_process` is what `breezeblock run` gives a newcomer (SQLite). `spread_out` is the shape in
which Cinder was measured: Keystone, RabbitMQ, a database server, and api, scheduler and volume
service as processes of their own. Both have the driver that costs nothing. Quotas never refuse,
access is not logged, and PostgreSQL flushes each commit to the disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.free_driver import install
from tests.e2e.deployment import Deployment
from tests.engines.keystone import PASSWORD, Keystone
from tests.engines.postgres import Postgres
from tests.engines.process import PrivateServer, free_port, started
from tests.engines.rabbitmq import RabbitMQ

SETTINGS: dict[str, Any] = {
    "log_level": "warning",
    "backends": [{"name": "free", "driver": "free"}],
    "operations": {},  # the times that an operator has
    "quota": {"volumes": -1, "gigabytes": -1, "snapshots": -1},
}
ROLES = ("api", "scheduler", "volume")
"""Processes of the shape that is spread out."""


@dataclass
class Shape:
    """A running deployment: where it is, how clients log in, whose processor time is counted."""

    name: str
    deployment: Deployment
    engines: dict[str, PrivateServer] = field(default_factory=dict)
    login: tuple[str, ...] = ("--auth", "noauth")
    """Options of the load script."""
    monitoring: dict[str, str] = field(default_factory=dict)
    """Where each of our processes says what it has counted."""

    @property
    def services(self) -> dict[str, int]:
        """Process groups of our own, by name."""
        return {name: process.pid for name, process in self.deployment.processes.items()}

    @property
    def groups(self) -> dict[str, int]:
        """Process groups of everything but the client."""
        return self.services | {name: engine.pid for name, engine in self.engines.items()}

    @property
    def database(self) -> str:
        """URL of the block storage database."""
        home = f"sqlite:///{self.deployment.data}/breezeblock.sqlite"
        return str(self.deployment.settings.get("database", home))


@asynccontextmanager
async def one_process(**settings: Any) -> AsyncIterator[Shape]:
    """All roles in one process on SQLite; callers are trusted."""
    deployment = Deployment({**SETTINGS, **settings}, roles=(("api", "scheduler", "volume"),))
    async with _running(deployment) as monitoring:
        yield Shape("one process", deployment, monitoring=monitoring)


@asynccontextmanager
async def spread_out(*, keystone: bool = True, **settings: Any) -> AsyncIterator[Shape]:
    """A process a role on RabbitMQ and PostgreSQL; callers have tokens of Keystone."""
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(started(Postgres(durable=True)))
        rabbitmq = stack.enter_context(started(RabbitMQ()))
        engines: dict[str, PrivateServer] = {"postgres": postgres, "rabbitmq": rabbitmq}
        made: dict[str, Any] = {
            "database": postgres.create_database("bench"),
            "bus": rabbitmq.url,
        }
        login: tuple[str, ...] = ("--auth", "noauth")
        tokens = {"X-Auth-Token": "admin:admin"}
        if keystone:
            identity = stack.enter_context(started(Keystone()))
            engines["keystone"] = identity
            asked = {"auth_url": identity.url, "password": PASSWORD}
            made["auth"] = {"strategy": "keystone", "keystone": asked}
            tokens = {
                "X-Auth-Token": identity.token("admin"),
                "X-Service-Token": identity.token("breezeblock"),
            }
            login = (
                *("--auth", "keystone", "--auth-url", identity.url),
                *("--user", "admin", "--password", PASSWORD),
                *("--service-user", "breezeblock", "--service-password", PASSWORD),
            )
        roles = tuple((role,) for role in ROLES)
        deployment = Deployment({**SETTINGS, **made, **settings}, roles=roles)
        deployment.http.headers.update(tokens)
        async with _running(deployment) as monitoring:
            yield Shape("spread out", deployment, engines, login, monitoring)


@asynccontextmanager
async def _running(deployment: Deployment) -> AsyncIterator[dict[str, str]]:
    driver, monitoring = install(deployment.home / "driver"), {}
    try:
        for roles in deployment.roles:
            name = "-".join(roles) if len(roles) == 1 else "all"
            address = f"127.0.0.1:{free_port()}"
            monitoring[name] = f"http://{address}"
            told = {"BREEZEBLOCK_MONITORING__LISTEN": address}
            deployment.launch(name, roles, **driver, **told)
        await deployment.until_ready()
        yield monitoring
    finally:
        await deployment.stop()
