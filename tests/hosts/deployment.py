"""Breezeblock on three hosts: one that controls, two that hold volumes and run guests.

`control` has the API, the scheduler, the compute API, RabbitMQ and PostgreSQL; `one` and `two` have
a backend each, named as the host, and QEMU. Beside these, both serve the backend `shared`, whose
volumes are on a file system that both reach. It is in a zone of its own, so whoever asks for the
zone `nova` gets a volume on `one` or `two`. Nobody listens on loopback: callers are known by HTTP
basic authentication, volumes go over TLS.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aio_pika
import bcrypt
import httpx2
from sqlalchemy.exc import SQLAlchemyError

from breezeblock.bus.amqp_topology import name_on_broker
from breezeblock.config import load
from breezeblock.doctor.findings import Diagnosis
from breezeblock.doctor.visit import visit
from breezeblock.exports.files import Locks
from breezeblock.store import servers
from breezeblock.store.store import Store, StoreUnavailable
from tests.e2e.deployment import BREEZEBLOCK, PATIENCE, Deployment, guest_kernel, toml
from tests.engines.postgres import Postgres
from tests.engines.rabbitmq import RabbitMQ
from tests.hosts.network import Host, Network

ROLES = {
    "control": ("api", "scheduler", "compute-api"),
    "one": ("volume", "compute-agent"),
    "two": ("volume", "compute-agent"),
}
DOWN_TIME = 6.0
PASSWORD = "secret"
_HOLDER = """
import asyncio, sys, time
from breezeblock.store import volumes
from breezeblock.store.store import Store

def lock(tx):
    volumes.lock(tx, sys.argv[2])
    print("locked", flush=True)
    time.sleep(3600)

asyncio.run(Store(sys.argv[1], threads=1).write(lock))
"""
USERS = {"ada": ("admin", "member"), "breezeblock": ("admin", "service")}


class Hosts(Deployment):
    """The deployment; its network, broker and database are the caller's."""

    def __init__(self, network: Network, broker: RabbitMQ, database: Postgres) -> None:
        super().__init__({}, tuple(ROLES.values()))
        self.network = network
        self.broker = broker
        self.database = database.create_database("hosts")
        self.compute_database = database.create_database("hosts_compute")
        self._compute_hosts = Store(self.compute_database, threads=1)
        # Not by any proxy of this machine: hosts in namespaces are nobody else's.
        login = ("ada", PASSWORD)
        self.http = httpx2.AsyncClient(timeout=PATIENCE, auth=login, trust_env=False)

    @property
    def volume_url(self) -> str:
        return f"http://{self.network['control'].address}:{self.port}/v3"

    @property
    def compute_url(self) -> str:
        return f"http://{self.network['control'].address}:{self.compute_port}/v2.1"

    @property
    def all_data(self) -> tuple[Path, ...]:
        return tuple(self.data_of(name) for name in ROLES)

    def data_of(self, host: str) -> Path:
        return self.home / host / "data"

    async def start(self) -> None:
        """Start all hosts; returns when both backends and both hypervisors can be had."""
        for name, roles in ROLES.items():
            self.launch(name, roles)
        async with asyncio.timeout(PATIENCE):
            while await self._missing():
                self.check()
                await asyncio.sleep(0.1)
        for name in ("one", "two", "shared"):
            await self._make_type(name)

    def launch(self, name: str, roles: tuple[str, ...], **environment: str) -> None:
        """Start a host's process in its namespace; its log is <home>/<name>.log."""
        home = self.home / name
        home.mkdir(exist_ok=True)
        config = home / "config.toml"
        config.write_text(toml(self._settings(self.network[name])))
        bare = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        command = (str(BREEZEBLOCK), "run", *roles, "--config", str(config))
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.network[name].place.entry, *command],
                stdout=log,
                stderr=log,
                cwd=home,
                env={**bare, **environment},
            )

    async def stop(self) -> None:
        await super().stop()
        self._compute_hosts.close()

    async def diagnosis(self) -> Diagnosis:
        """What `breezeblock doctor` finds."""
        return await visit(load(self.home / "control" / "config.toml"), repair=False, patience=60)

    async def service(self, binary: str, host: str) -> dict[str, Any]:
        """A service as `openstack volume service list` shows it."""
        shown = (await self.volume("GET", f"/os-services?binary={binary}&host={host}")).json()
        [found] = shown["services"]
        return dict(found)

    async def until_volume_service_is(self, state: str, host: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.service("cinder-volume", host))["state"] != state:
                await asyncio.sleep(0.1)

    async def operations_on(self, resource: str) -> list[dict[str, Any]]:
        reply = await self.volume("GET", f"/operations?resource_id={resource}")
        assert reply.status_code == 200, reply.text
        return list(reply.json()["operations"])

    async def until_worked_on(self, volumes: Sequence[str], hosts: set[str]) -> dict[str, str]:
        """Which host works on each volume, once all are worked on by these hosts."""
        async with asyncio.timeout(PATIENCE):
            while True:
                newest = {volume: (await self.operations_on(volume))[-1] for volume in volumes}
                found = {
                    volume: str(one["worker"]).partition(":")[0] for volume, one in newest.items()
                }
                if set(found.values()) <= hosts:
                    return found
                await asyncio.sleep(0.1)

    async def volumes(self) -> list[str]:
        """The ids of all volumes."""
        return [one["id"] for one in (await self.volume("GET", "/volumes")).json()["volumes"]]

    async def volumes_of(self, server: str) -> set[str]:
        """The volumes that compute says the server has, or gets, or gives back."""
        reply = await self.compute("GET", f"/servers/{server}/os-volume_attachments")
        return {one["volumeId"] for one in reply.json()["volumeAttachments"]}

    async def until_consumed(self, topic: str, *, by: int) -> None:
        """Return when the broker believes so many services to be there for a topic's messages."""
        connection = await aio_pika.connect(self.broker.url)
        async with connection, asyncio.timeout(PATIENCE):
            channel = await connection.channel()
            while True:
                queue = await channel.get_queue(name_on_broker(topic))
                if queue.declaration_result.consumer_count == by:
                    return
                await asyncio.sleep(0.2)

    @contextmanager
    def transaction_on(self, host: str, volume: str) -> Iterator[None]:
        """A process on the host has a transaction open that has locked the volume's row.

        In the end it is killed: is the host cut off by then, the database does not hear of it.
        """
        entry = self.network[host].place.entry
        holder = subprocess.Popen(
            [*entry, sys.executable, "-c", _HOLDER, self.database, volume], stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"locked\n"
            yield
        finally:
            holder.kill()
            holder.wait()

    def locks_of_the_shared_backend(self) -> Locks:
        """Whoever holds a volume's lock stops the driver there, on whatever host it runs."""
        return Locks(self._shared / "locks", patience=60)

    def exports_of(self, host: str) -> list[str]:
        """The volumes that the host's storage daemons serve, each as often as it is served."""
        return [
            json.loads(words[words.index("--export") + 1])["name"]
            for words in _commands("qemu-storage-daemon")
            if str(self.data_of(host)) in " ".join(words)
        ]

    async def until_logged(self, host: str, *words: str) -> None:
        """Return when a line of the host's log has all the words."""
        path = self.home / f"{host}.log"
        async with asyncio.timeout(PATIENCE):
            while True:
                lines = (await asyncio.to_thread(path.read_text, errors="replace")).splitlines()
                if any(all(word in line for word in words) for line in lines):
                    return
                await asyncio.sleep(0.1)

    @property
    def _shared(self) -> Path:
        return self.home / "shared"

    async def _missing(self) -> bool:
        """Whether something that the tests need is not there yet."""
        try:
            shown = (await self.volume("GET", "/os-services?binary=cinder-volume")).json()
            up = {one["host"] for one in shown["services"] if one["state"] == "up"}
            pools = (await self.volume("GET", "/scheduler-stats/get_pools")).json()["pools"]
            hypervisors = await self._compute_hosts.read(lambda tx: servers.hosts(tx, DOWN_TIME))
        except (httpx2.HTTPError, StoreUnavailable, SQLAlchemyError, KeyError, ValueError):
            return True
        ready = {one.name for one in hypervisors if one.up}
        return len(up) < 3 or len(pools) < 3 or ready != {"one", "two"}

    async def _make_type(self, name: str) -> None:
        """A type whose volumes go to one backend."""
        wanted = {"name": name, "extra_specs": {"volume_backend_name": name}}
        reply = await self.volume("POST", "/types", {"volume_type": wanted})
        assert reply.status_code == 200, reply.text

    def _settings(self, host: Host) -> dict[str, Any]:
        control = self.network["control"].address
        return {
            "host": host.name,
            "data": str(self.data_of(host.name)),
            "database": self.database,
            "bus": self.broker.url,
            "report_interval": 1.0,
            "service_down_time": DOWN_TIME,
            "api": {"listen": control, "port": self.port, "operation_timeout": 8.0},
            "auth": {"strategy": "basic", "users": list(_users())},
            "operations": {"lease": 4.0, "poll": 0.5},
            "quota": {"volumes": 1000, "gigabytes": 100_000, "snapshots": 1000},
            "compute": {
                **self._compute(host),
                "listen": control,
                "port": self.compute_port,
                "database": self.compute_database,
                "operation_timeout": 12.0,
                "detach_timeout": 5.0,
                "block_storage_user": "breezeblock",
                "block_storage_password": PASSWORD,
            },
            "backends": self._backends(host),
        }

    def _compute(self, host: Host) -> Mapping[str, str]:
        return {"host": host.name, "ip": host.address, **guest_kernel()}

    def _backends(self, host: Host) -> list[dict[str, Any]]:
        if host.name == "control":
            return []
        shared = {"path": str(self._shared)}
        return [
            {"name": host.name, "options": {"nbd_listen": f"tcp://{host.address}"}},
            {"name": "shared", "host": "shared", "availability_zone": "shared", "options": shared},
        ]


def _users() -> Iterator[dict[str, Any]]:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    for name, roles in USERS.items():
        yield {"name": name, "password": hashed, "project_id": "0f1e", "roles": list(roles)}


def _commands(program: str) -> Iterator[list[str]]:
    """The command lines of the program's processes."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].endswith(program):
            yield words
