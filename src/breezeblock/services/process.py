"""One process: a store, a bus, and the roles that run in it.

`breezeblock run` makes one with all roles; the same code with one role each is the spread-out
deployment. Roles share nothing but store and bus, so that both shapes behave the same. What only
one role needs is imported where that role starts: each process holds the modules of its roles.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import structlog

from breezeblock.bus import open_bus
from breezeblock.bus.base import Bus
from breezeblock.config import Config, ConfigError
from breezeblock.drivers.backend import Backend
from breezeblock.images.base import ImageService
from breezeblock.images.opening import open_images
from breezeblock.model.errors import InvalidInput
from breezeblock.model.ids import new_id
from breezeblock.operations.engine import Engine
from breezeblock.operations.explain import explain
from breezeblock.operations.waiting import Waiter
from breezeblock.operations.wakes import send_wakes
from breezeblock.services.compute_client import ComputeClient
from breezeblock.services.figures import Figures, OpenOperations
from breezeblock.services.readiness import DatabaseProbe, Readiness
from breezeblock.store import schema
from breezeblock.store.store import Store, StoreUnavailable

if TYPE_CHECKING:
    from breezeblock.services.volume import VolumeService
    from breezeblock.web.server import HttpServer
    from breezeblock.workflows.doors import Doors

log = structlog.get_logger()

ROLES = ("api", "scheduler", "volume", "compute-api", "compute-agent")
ALIASES = {"all": ROLES, "compute": ("compute-api", "compute-agent")}
DATABASE_RETRY = 2.0

TOGETHER = {
    "database": ("api", "scheduler", "volume"),
    "compute.database": ("compute-api", "compute-agent"),
}
"""Roles that work on one database, by the option that says which."""


def resolve_roles(names: Iterable[str]) -> tuple[str, ...]:
    """Roles by name; none means all, `compute` both parts of it. Raises ConfigError."""
    wanted: list[str] = []
    for name in names or ["all"]:
        if name not in ROLES and name not in ALIASES:
            known = ", ".join((*ROLES, *ALIASES))
            raise ConfigError(f"there is no role {name!r}; known: {known}")
        wanted += ALIASES.get(name, (name,))
    return tuple(role for role in ROLES if role in wanted)


def _open_bus(url: str) -> Bus:
    try:
        return open_bus(url)
    except InvalidInput as error:
        raise ConfigError(f"configuration: bus: {error}") from None


def _with_own_user(config: Config, roles: tuple[str, ...]) -> Config:
    if config.auth.strategy != "basic":
        return config
    from breezeblock.auth.between_services import with_own_user

    return with_own_user(config, roles)


class Process:
    """A running deployment, or a part of one. `start`, then `close`."""

    def __init__(self, config: Config, roles: Iterable[str]) -> None:
        self.roles = resolve_roles(roles)
        self.config = _with_own_user(config, self.roles)
        if config.bus.startswith("memory:") and self._spread_out:
            raise ConfigError(
                "bus = 'memory:' joins the roles of one process only; "
                "set bus to an amqp:// address to run them apart."
            )
        self.bus: Bus = _open_bus(config.bus)
        self._refuse_databases_of_its_own()
        self.stack = contextlib.AsyncExitStack()
        self.servers: dict[str, HttpServer] = {}
        self.figures = Figures(self.bus)
        self._databases: dict[str, DatabaseProbe] = {}
        self._running = False
        self._draining = False
        self.volume: VolumeService | None = None

    @property
    def _spread_out(self) -> bool:
        """Whether some role's partners run elsewhere: then they can only meet on a broker."""
        return any(self._partners_elsewhere(option) for option in TOGETHER)

    def _partners_elsewhere(self, option: str) -> str:
        """The roles on this option's database that run in other processes, where one runs here."""
        group = TOGETHER[option]
        elsewhere = [role for role in group if role not in self.roles]
        return ", ".join(elsewhere) if len(elsewhere) < len(group) else ""

    def _refuse_databases_of_its_own(self) -> None:
        """Roles that run apart meet in one database: a file here would be a cloud by itself.

        A credential that was forgotten leads there. Raises ConfigError.
        """
        urls = {
            "database": self.config.database_url,
            "compute.database": self.config.compute_database_url,
        }
        for option, url in urls.items():
            if url.startswith("sqlite") and (others := self._partners_elsewhere(option)):
                raise ConfigError(
                    f"configuration: {option}: the database that is shared with {others} cannot be "
                    f"a SQLite file of this process; set {option} to postgresql+psycopg://…, in "
                    f"the file or as the credential breezeblock_{option}"
                )

    async def start(self) -> None:
        """Bring up all roles; returns when the APIs accept connections.

        Raises ConfigError (also for a port that cannot be had), ValueError (a bad option, a
        database of another release). A database or broker that is away is waited for.
        """
        self.config.data_dir.mkdir(parents=True, exist_ok=True)
        self._claim_data()
        await self._start_monitoring()
        await self.bus.start()
        self.stack.push_async_callback(self.bus.close)
        if set(self.roles) & {"api", "scheduler", "volume"}:
            await self._start_block_storage()
        if set(self.roles) & {"compute-api", "compute-agent"}:
            await self._start_compute()
        self._running = True

    def _claim_data(self) -> None:
        """Without a broker two processes cannot hear each other: they must not share a directory.

        Raises ConfigError when another process has it.
        """
        if not self.config.bus.startswith("memory:"):
            return
        for name in sorted(
            {"compute" if "compute" in role else "block-storage" for role in self.roles}
        ):
            path = self.config.data_dir / f"{name}.lock"
            lock = self.stack.enter_context(path.open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"another process uses {self.config.data_dir}; choose one with --data"
                ) from None

    async def close(self) -> None:
        """Stop in an orderly way: no new work, running steps end, exports and guests stay."""
        self._draining = True
        await self.stack.aclose()

    async def ready(self) -> bool:
        """Whether requests can be served to their end: what the health check says."""
        return (await self.readiness()).ready

    async def readiness(self) -> Readiness:
        """Which parts of this process cannot work now, and why."""
        found = Readiness()
        if self._draining:
            found.missing["process"] = "It is stopping."
        elif not self._running:
            found.missing["process"] = "It is starting."
        for name, probe in self._databases.items():
            if why := await probe.trouble():
                found.missing[name] = why
        if not self.bus.connected:
            found.impaired["bus"] = "The message broker is away; work is found by polling."
        if self.volume is not None:
            away = {f"backend {name}": why for name, why in self.volume.troubles.items()}
            (found.impaired if self.volume.ready else found.missing).update(away)
        return found

    async def _start_monitoring(self) -> None:
        """First of all, so that it is there while others are waited for. Raises ConfigError."""
        told = self.config.monitoring
        if told.listen:
            from breezeblock.services.monitoring import monitoring_server

            await self._serve("monitoring", monitoring_server(told, self.readiness, self.figures))
            log.info("monitoring", port=self.servers["monitoring"].port)

    async def _open_store(self, name: str, url: str) -> Store:
        store = Store(url)
        self.stack.callback(store.close)
        self._databases[name] = DatabaseProbe(store)
        reason = ""
        while True:
            try:
                done = await asyncio.to_thread(
                    schema.upgrade, store, migrate=self.config.migrate_at_start
                )
                break
            except StoreUnavailable as error:
                if (told := " ".join(str(error).split())) != reason:
                    reason = told
                    log.warning("waiting for the database", which=name, reason=reason)
                await asyncio.sleep(DATABASE_RETRY)
        if done:
            log.info("database migrated", migrations=done)
        store.on_commit = lambda wakes: send_wakes(self.bus, wakes)
        return store

    async def _start_block_storage(self) -> None:
        from breezeblock.workflows import sweep_backend
        from breezeblock.workflows.registry import REGISTRY

        config = self.config
        store = await self._open_store("database", config.database_url)
        await schema.ensure_default_type(store, config.default_volume_type)
        compute = ComputeClient(config)
        self.stack.push_async_callback(compute.close)
        images = open_images(config)
        self.stack.push_async_callback(images.close)
        doors = await self._doors(store, compute, images)
        engine = Engine(
            store,
            self.bus,
            REGISTRY,
            doors,
            explain,
            host=config.hostname,
            lease=config.operations.lease,
            poll=config.operations.poll,
            overtaken=sweep_backend.overtaken,
        )
        if "volume" in self.roles:
            self._prepare_volume(store, engine, doors.backends)
        await engine.start()
        self.stack.push_async_callback(engine.close)
        if self.volume is not None:
            await self.volume.start()
            self.stack.push_async_callback(self.volume.withdraw)
        if "scheduler" in self.roles:
            await self._start_scheduler(store, engine)
        # Before a backend is said to be away nothing is scheduled here any more.
        self.stack.push_async_callback(engine.leave)
        if "api" in self.roles:
            await self._start_api(store, compute, images)

    async def _doors(self, store: Store, compute: ComputeClient, images: ImageService) -> Doors:
        """What the steps of this process's roles reach for."""
        from breezeblock.workflows.doors import Doors

        doors = Doors(store, servers=compute, images=images)
        if "scheduler" in self.roles:
            from breezeblock.services.scheduler import scheduling
            from breezeblock.workflows.pool_view import PoolView

            doors.pools = PoolView(store, down_time=self.config.service_down_time)
            doors.scheduling = scheduling(self.config)
        if "volume" in self.roles:
            from breezeblock.images.opening import open_staging
            from breezeblock.images.packing import Packing
            from breezeblock.services.volume import open_backends

            doors.backends = open_backends(self.config)
            doors.staging = open_staging(self.config, images)
            doors.packing = Packing(doors.staging.scratch)
            if doors.backends:
                await asyncio.to_thread(doors.staging.scratch.clear)
        return doors

    def _prepare_volume(
        self, store: Store, engine: Engine, backends: Mapping[str, Backend]
    ) -> None:
        from breezeblock.services.volume import VolumeService

        config = self.config
        self.volume = VolumeService(
            store,
            engine,
            backends,
            config.report_interval,
            config.inventory_interval,
            down_time=config.service_down_time,
        )
        self.figures.volume = self.volume
        self.stack.push_async_callback(self.volume.close)  # after the steps that use drivers

    async def _start_scheduler(self, store: Store, engine: Engine) -> None:
        from breezeblock.services.scheduler import SchedulerService

        self.figures.databases.append(OpenOperations(store))
        scheduler = SchedulerService(store, engine, self.config)
        await scheduler.start()
        self.stack.push_async_callback(scheduler.close)

    async def _start_api(self, store: Store, compute: ComputeClient, images: ImageService) -> None:
        from breezeblock.api.application import Application
        from breezeblock.auth.identity import BLOCK_STORAGE
        from breezeblock.services.api import api_server, authenticator

        waiter = Waiter(store, self.bus, f"api.{new_id()}")
        await waiter.start()
        callers = authenticator(self.config, BLOCK_STORAGE)
        self.stack.push_async_callback(callers.close)
        tools = Application(self.config, store, waiter, compute, images)
        await self._serve("api", api_server(tools, callers, self.ready))

    async def _start_compute(self) -> None:
        from breezeblock.services.compute import start_compute

        store = await self._open_store("compute database", self.config.compute_database_url)
        if "compute-api" in self.roles and store.url != self.config.database_url:
            self.figures.databases.append(OpenOperations(store))
        await start_compute(self, store)

    async def _serve(self, name: str, server: HttpServer) -> None:
        try:
            await server.start()
        except OSError as error:
            why = (error.strerror or str(error)).partition(" (while")[0]
            raise ConfigError(f"{name}: cannot listen on {server.address}: {why}") from None
        self.stack.push_async_callback(server.stop)
        self.servers[name] = server
