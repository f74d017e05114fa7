"""The stage: every role a process of its own, on a private RabbitMQ and PostgreSQL.

Two volume services share one backend. Times are short, so that a run of two minutes sees many
leases run out; what they mean is the same.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.local import LocalDriver
from tests.contract.drivers import daemons
from tests.crash.chaos.plan import LEASE
from tests.e2e.deployment import Deployment
from tests.engines.postgres import Postgres
from tests.engines.process import free_port
from tests.engines.rabbitmq import RabbitMQ

ROLES = (("api",), ("scheduler",), ("volume",), ("volume",), ("compute",))
BACKEND = "local"
QUOTA = {"volumes": 12, "snapshots": 12, "gigabytes": 45}
DEADLINE = 40.0
STOPS_WITHIN = 25.0
STARTS_WITHIN = 180.0
"""Seconds; generous, for machines that have other things to do."""
REPORTING = {"cinder-scheduler", "cinder-volume"}


def settings(databases: Mapping[str, str], bus: str, port: int) -> Mapping[str, Any]:
    """What differs from the defaults."""
    return {
        "database": databases["block storage"],
        "bus": bus,
        "report_interval": 1.0,
        "service_down_time": 5.0,
        "api": {"port": port, "operation_timeout": 8.0},
        "operations": {"lease": LEASE, "poll": 0.5, "deadline": DEADLINE},
        "quota": QUOTA,
        "compute": {
            "database": databases["compute"],
            "operation_timeout": 12.0,
            "detach_timeout": 5.0,
        },
    }


class Stage:
    """The running deployment and its engines. `start`, then `stop`."""

    def __init__(self) -> None:
        self.broker = RabbitMQ()
        self.database = Postgres()
        self.deployment: Deployment
        self.urls: dict[str, str] = {}

    async def start(self) -> None:
        await asyncio.gather(
            asyncio.to_thread(self.broker.start), asyncio.to_thread(self.database.start)
        )
        names = {"block storage": "chaos", "compute": "chaos_compute"}
        self.urls = {part: self.database.create_database(name) for part, name in names.items()}
        port = free_port()
        self.deployment = Deployment(settings(self.urls, self.broker.url, port), ROLES, port=port)
        for name in self.services:
            self.launch(name)
        if not await self.until_up():
            raise RuntimeError(f"the services do not start: {self.deployment.logs()}")

    @property
    def services(self) -> dict[str, tuple[str, ...]]:
        """Name of each process → its roles."""
        return {f"{number}-{'-'.join(roles)}": roles for number, roles in enumerate(ROLES)}

    async def until_up(self) -> bool:
        """Wait until all services are up; whether they are in time."""
        deadline = time.monotonic() + STARTS_WITHIN
        while not await self.is_up():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.3)
        return True

    async def is_up(self) -> bool:
        """Whether both APIs answer, and all services have reported of late."""
        one = self.deployment
        try:
            async with asyncio.timeout(3):
                told = (await one.volume("GET", "/os-services")).json()["services"]
                compute = one.compute_url.removesuffix("/v2.1")
                reply = await one.http.get(f"{compute}/healthcheck")
        except (httpx2.HTTPError, TimeoutError, KeyError, ValueError):
            return False
        binaries = {service["binary"] for service in told if service["state"] == "up"}
        all_up = all(service["state"] == "up" for service in told)
        return reply.status_code == 200 and all_up and binaries >= REPORTING

    @property
    def backend_directory(self) -> Path:
        return self.deployment.data / "backends" / BACKEND

    # -- what may be done to a service -------------------------------------------------------------

    def kill(self, name: str) -> None:
        self.deployment.kill(name)

    def launch(self, name: str) -> None:
        self.deployment.launch(name, self.services[name])

    def freeze(self, name: str) -> None:
        self.deployment.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.deployment.processes[name].send_signal(signal.SIGCONT)

    async def end(self, name: str) -> bool:
        """Ask it to stop; whether it did so in time (killed otherwise)."""
        process = self.deployment.processes.pop(name)
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
        return True

    def fallen(self) -> list[str]:
        """Services that have ended although nobody made them."""
        return [
            name
            for name, process in self.deployment.processes.items()
            if process.poll() is not None
        ]

    def daemons(self) -> list[int]:
        """Process ids of the storage daemons of our exports, in the order of the volumes' ids."""
        found = []
        for pid_file in sorted(self.backend_directory.glob("exports/*/pid")):
            try:
                found.append(int(pid_file.read_text()))
                Path(f"/proc/{found[-1]}/stat").read_text()
            except (OSError, ValueError):
                continue
        return found

    def daemons_left(self) -> list[str]:
        """Command lines of all storage daemons that serve from our directory."""
        return daemons(self.backend_directory)

    # -- the end -----------------------------------------------------------------------------------

    def driver(self) -> LocalDriver:
        """The backend as one more process would open it."""
        return LocalDriver(BackendConfig(BACKEND, os.uname().nodename, self.backend_directory))

    async def end_services(self) -> list[str]:
        """Stop them all in an orderly way; those that did not."""
        names = list(self.deployment.processes)
        ended = await asyncio.gather(*(self.end(name) for name in names))
        return [name for name, well in zip(names, ended, strict=True) if not well]

    def keep_logs(self, directory: Path) -> None:
        """Copy all logs to a directory that outlives the run."""
        directory.mkdir(parents=True, exist_ok=True)
        for log in self.deployment.home.glob("*.log"):
            shutil.copy(log, directory)
        for engine in (self.broker, self.database):
            (directory / f"{type(engine).__name__.lower()}.log").write_text(engine.log())

    async def stop(self) -> None:
        """End everything and remove it."""
        try:
            if hasattr(self, "deployment"):
                for process in self.deployment.processes.values():
                    process.send_signal(signal.SIGCONT)
                await self.deployment.stop()
        finally:
            self.broker.remove()
            self.database.remove()
