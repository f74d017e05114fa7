"""The compute service: its API, and the agent on a compute host. Either, or both in one process.

They share the compute database and the bus, and nothing else; block storage is reached over HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from breezeblock.auth.authenticators import Authenticator
from breezeblock.auth.identity import COMPUTE
from breezeblock.compute.agent import Agent
from breezeblock.compute.api.application import Application
from breezeblock.compute.api.policy import DEFAULTS
from breezeblock.compute.api.routes import ROUTES
from breezeblock.compute.block_storage import BlockStorage, open_block_storage
from breezeblock.compute.doors import Doors, LocalHost, compute_host, iscsi_initiator
from breezeblock.compute.explain import explain
from breezeblock.compute.hypervisor import Hypervisor
from breezeblock.compute.late import overtaken
from breezeblock.compute.qemu import QemuHypervisor
from breezeblock.compute.workflows.registry import REGISTRY
from breezeblock.config import Config
from breezeblock.model.ids import new_id
from breezeblock.operations.engine import Engine
from breezeblock.operations.sweep import end_overdue
from breezeblock.operations.waiting import Waiter
from breezeblock.services.api import authenticator, check_listen, policy
from breezeblock.store import idempotency_keys, servers
from breezeblock.store.store import Store, StoreUnavailable
from breezeblock.web.app import AsgiApp, make_app
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.server import HttpServer
from breezeblock.web.service import compute

if TYPE_CHECKING:
    from breezeblock.services.process import Process

log = structlog.get_logger()

GUESTS = "guests"
"""Folder of the guests, in the data directory."""


async def start_compute(
    process: Process, store: Store, hypervisor: Hypervisor | None = None
) -> None:
    """Start the process's compute roles and register their closing. Raises ConfigError, OSError.

    `hypervisor`: another one than this host's QEMU, for tests.
    """
    config, stack = process.config, process.stack
    if "compute-api" in process.roles:
        check_listen(config, "compute.listen", config.compute.listen)
    storage = open_block_storage(config)
    stack.push_async_callback(storage.close)
    local = None
    if "compute-agent" in process.roles:
        runs = hypervisor or QemuHypervisor(
            config.data_dir / GUESTS, config.compute.accelerator, iscsi_initiator(config)
        )
        local = LocalHost.of(config, runs)
    doors = Doors(store, storage, local)
    engine = Engine(
        store,
        process.bus,
        REGISTRY,
        doors,
        explain,
        host=compute_host(config),
        lease=config.operations.lease,
        poll=config.operations.poll,
        overtaken=overtaken,
    )
    await engine.start()
    stack.push_async_callback(engine.close)
    if local is not None:
        agent = Agent(engine, doors, config.availability_zone, config.report_interval)
        await agent.start()
        stack.push_async_callback(agent.close)
    # Before the host is said to be away it takes no more work.
    stack.push_async_callback(engine.leave)
    if "compute-api" in process.roles:
        waiter = Waiter(store, process.bus, f"compute-api.{new_id()}")
        await waiter.start()
        sweep = asyncio.create_task(_sweep(engine, config))
        stack.push_async_callback(_cancel, sweep)
        callers = authenticator(config, COMPUTE)
        stack.push_async_callback(callers.close)
        app = compute_app(config, store, waiter, storage, callers)
        server = HttpServer(app, config.compute.listen, config.compute.port)
        await process._serve("compute-api", server)


def compute_app(
    config: Config, store: Store, waiter: Waiter, storage: BlockStorage, callers: Authenticator
) -> AsgiApp:
    """The compute API as an ASGI application."""
    return make_app(
        compute(max_limit=config.api.max_limit, project_id_regex=config.api.project_id_regex),
        ROUTES,
        app=Application(config, store, waiter, storage),
        authenticator=callers,
        policy=policy(config, DEFAULTS),
        ready=lambda: _any_host_up(config, store),
        idempotency=Idempotency(
            store, lease=config.operations.lease, patience=config.compute.operation_timeout
        ),
    )


async def _any_host_up(config: Config, store: Store) -> bool:
    """Whether a server could be started now: what the compute API's health check says."""
    try:
        hosts = await store.read(lambda tx: servers.hosts(tx, config.service_down_time))
    except StoreUnavailable:
        return False
    return any(host.up for host in hosts)


async def _sweep(engine: Engine, config: Config) -> None:
    """End what no agent has come for in time, so that no server stays in a passing state.

    Idempotency keys whose time is over are forgotten here, too.
    """
    while True:
        try:
            await engine.store.write(idempotency_keys.forget_expired)
            await end_overdue(engine, config.operations.deadline)
        except StoreUnavailable as error:
            log.warning("database away", error=error.in_full)
        except Exception:
            log.exception("sweep failed")
        await asyncio.sleep(config.report_interval)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
