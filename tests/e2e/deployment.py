"""Deployments for end-to-end tests: real processes of `breezeblock run`, in either shape.

`one_process` is what a newcomer starts; `spread_out` is each role a process of its own (two volume
services on one backend) on a private RabbitMQ and PostgreSQL. Tests that are given a `Deployment`
cannot tell them apart, and that is the point.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from breezeblock.compute import guest_agent
from breezeblock.compute.guest_directory import GuestDirectory
from breezeblock.compute.guest_image import ensure_guest_image
from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.local import LocalDriver
from tests.e2e.guests import IMAGE_CACHE
from tests.engines.process import free_port

REPOSITORY = Path(__file__).parents[2]
BREEZEBLOCK = REPOSITORY / ".venv" / "bin" / "breezeblock"
PATIENCE = 60.0


@dataclass
class Deployment:
    """A running deployment. `roles` are the processes; each is a list of role names."""

    settings: Mapping[str, Any]
    roles: tuple[tuple[str, ...], ...]
    home: Path = field(
        default_factory=lambda: Path(tempfile.mkdtemp(prefix=f"breezeblock-e2e-{os.getpid()}-"))
    )
    port: int = field(default_factory=free_port)
    compute_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.http = httpx2.AsyncClient(timeout=PATIENCE, headers={"X-Auth-Token": "admin:admin"})

    @property
    def volume_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v3"

    @property
    def compute_url(self) -> str:
        return f"http://127.0.0.1:{self.compute_port}/v2.1"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def all_data(self) -> tuple[Path, ...]:
        """The data directories of all processes."""
        return (self.data,)

    async def start(self) -> None:
        """Start all processes and wait until requests are served to their end."""
        for number, roles in enumerate(self.roles):
            self.launch(f"{number}-{'-'.join(roles)}", roles)
        await self.until_ready()

    def launch(self, name: str, roles: tuple[str, ...], **environment: str) -> None:
        """Start one process; its log is <home>/<name>.log. The environment may change options."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(BREEZEBLOCK), "run", *roles, "--config", str(self._config())],
                stdout=log,
                stderr=log,
                cwd=self.home,
                env={**os.environ, **environment},
                process_group=0,  # what it starts is counted with it, and Ctrl-C is ours alone
            )

    def _config(self) -> Path:
        path = self.home / "config.json"
        if not path.exists():
            tree = {
                "data": str(self.data),
                "report_interval": 1.0,
                "service_down_time": 6.0,
                "api": {"port": self.port},
                "operations": {"lease": 4.0, "poll": 0.5},
                "quota": {"volumes": 1000, "gigabytes": 100_000, "snapshots": 1000},
                **self.settings,
                "compute": {
                    "port": self.compute_port,
                    **guest_kernel(),
                    **self.settings.get("compute", {}),
                },
            }
            path.write_text(toml(tree))
        return path

    async def until_ready(self) -> None:
        root = self.volume_url.removesuffix("/v3")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                reply = await self.http.get(f"{root}/healthcheck")
                pools = await self.volume("GET", "/scheduler-stats/get_pools")
                if reply.status_code == 200 and pools.json()["pools"] and await self._hosts_up():
                    return
            except (httpx2.HTTPError, KeyError, ValueError):
                pass
            self.check()
            assert time.monotonic() < deadline, f"not ready: {self.logs()}"
            await asyncio.sleep(0.1)

    async def _hosts_up(self) -> bool:
        """Whether servers can be had, where there is a compute service at all."""
        if not any(not roles or "compute" in roles for roles in self.roles):
            return True
        root = self.compute_url.removesuffix("/v2.1")
        return (await self.http.get(f"{root}/healthcheck")).status_code == 200

    def check(self) -> None:
        """Every process still runs."""
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} has ended: {self.logs()}"

    def logs(self) -> str:
        texts = [f"{log.name}:\n{log.read_text()[-3000:]}" for log in self.home.glob("*.log")]
        return "\n".join(texts)

    def kill(self, name: str) -> None:
        """SIGKILL one process; its log stays."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    async def stop(self) -> None:
        """Stop everything in an orderly way, then what services leave running on purpose."""
        await self.http.aclose()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for data in self.all_data:
            _end_guests(data / "guests")
            for backend in (data / "backends").glob("*"):
                LocalDriver(BackendConfig(backend.name, "any", backend)).stop_all()
        shutil.rmtree(self.home, ignore_errors=True)

    # -- requests ----------------------------------------------------------------------------------

    async def volume(
        self, method: str, path: str, body: Any = None, version: str = "3.71"
    ) -> httpx2.Response:
        """One request to the block storage API."""
        headers = {"OpenStack-API-Version": f"volume {version}"}
        return await self.http.request(
            method, f"{self.volume_url}{path}", json=body, headers=headers
        )

    async def compute(
        self, method: str, path: str, body: Any = None, version: str = "2.90"
    ) -> httpx2.Response:
        """One request to the compute API."""
        headers = {"OpenStack-API-Version": f"compute {version}"}
        return await self.http.request(
            method, f"{self.compute_url}{path}", json=body, headers=headers
        )

    async def create_volume(self, size: int = 1, **values: Any) -> dict[str, Any]:
        """A volume, waited for until it is not `creating` any more."""
        reply = await self.volume("POST", "/volumes", {"volume": {"size": size, **values}})
        assert reply.status_code == 202, reply.text
        return await self.settled("volumes", "volume", reply.json()["volume"]["id"])

    async def create_server(self, name: str, **wishes: Any) -> str:
        """A server with our own kernel and no volume, waited for until it is ACTIVE; its id."""
        flavors = (await self.compute("GET", "/flavors")).json()["flavors"]
        wanted = {"name": name, "flavorRef": flavors[0]["id"], "networks": "none", **wishes}
        reply = await self.compute("POST", "/servers", {"server": wanted})
        assert reply.status_code == 202, reply.text
        ident = str(reply.json()["server"]["id"])
        deadline = time.monotonic() + PATIENCE
        while True:
            found = (await self.compute("GET", f"/servers/{ident}")).json()["server"]
            if found["status"] != "BUILD":
                break
            assert time.monotonic() < deadline, f"{found}\n{self.logs()}"
            await asyncio.sleep(0.1)
        assert found["status"] == "ACTIVE", found
        return ident

    async def attach(self, server: str, volume: str, version: str = "2.90") -> None:
        """Attach a volume; from version 2.101 on the answer comes before that is done."""
        reply = await self.request_to_attach(server, volume, version)
        assert reply.status_code in (200, 202), reply.text

    async def request_to_attach(
        self, server: str, volume: str, version: str = "2.90"
    ) -> httpx2.Response:
        """What compute answers to the request, good or bad."""
        body = {"volumeAttachment": {"volumeId": volume}}
        path = f"/servers/{server}/os-volume_attachments"
        return await self.compute("POST", path, body, version)

    async def detach(self, server: str, volume: str) -> None:
        """Detach a volume, waited for until it is free."""
        path = f"/servers/{server}/os-volume_attachments/{volume}"
        reply = await self.compute("DELETE", path)
        assert reply.status_code == 202, reply.text
        await self.until_volume_is("available", volume)

    @asynccontextmanager
    async def inside(self, server: str) -> AsyncIterator[guest_agent.GuestAgent]:
        """A shell in the server's guest."""
        found = (GuestDirectory.of(data / "guests", server) for data in self.all_data)
        directory = next(one for one in found if one.exists)
        async with guest_agent.connect(directory.agent_socket, patience=120) as agent:
            yield agent

    async def settled(
        self, collection: str, kind: str, ident: str, patience: float = PATIENCE
    ) -> dict[str, Any]:
        """The resource, once its status is none that passes."""
        deadline = time.monotonic() + patience
        passing = (
            *("creating", "downloading", "deleting", "extending"),
            *("attaching", "detaching", "reserved"),
        )
        while True:
            found = await self.volume("GET", f"/{collection}/{ident}")
            assert found.status_code == 200, found.text
            resource: dict[str, Any] = found.json()[kind]
            if resource["status"] not in passing:
                return resource
            assert time.monotonic() < deadline, f"{resource}\n{self.logs()}"
            await asyncio.sleep(0.05)

    async def until_volume_is(
        self, status: str, ident: str, patience: float = PATIENCE
    ) -> dict[str, Any]:
        """The volume, once it has the status: for what goes on after a request is answered."""
        deadline = time.monotonic() + patience
        while True:
            found = await self.volume("GET", f"/volumes/{ident}")
            volume: dict[str, Any] = found.json()["volume"]
            if volume["status"] == status:
                return volume
            assert time.monotonic() < deadline, f"{volume}\n{self.logs()}"
            await asyncio.sleep(0.05)

    async def until_gone(self, path: str, patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while (await self.volume("GET", path)).status_code != 404:
            assert time.monotonic() < deadline, f"{path} is still there\n{self.logs()}"
            await asyncio.sleep(0.05)


def one_process(**settings: Any) -> Deployment:
    """What `breezeblock run` gives a newcomer."""
    return Deployment(settings, roles=((),))


def spread_out(database: str, compute_database: str, bus: str, **settings: Any) -> Deployment:
    """Each role a process of its own; two volume services share the one backend."""
    settings = {"database": database, "bus": bus, **settings}
    settings["compute"] = {"database": compute_database}
    return Deployment(
        settings,
        roles=(("api",), ("scheduler",), ("volume",), ("volume",), ("compute",)),
    )


def guest_kernel() -> dict[str, str]:
    """What servers without a bootable volume start: options of `compute`."""
    image = ensure_guest_image(IMAGE_CACHE, print)
    return {"kernel": str(image.kernel), "initrd": str(image.initrd)}


def _end_guests(guests: Path) -> None:
    for pid_file in guests.glob("*/*pid*"):
        try:
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            continue


def toml(tree: Mapping[str, Any], prefix: str = "") -> str:
    """Plain data as TOML; JSON's texts, numbers and arrays are TOML's, too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in tree.items() if _is_plain(value)]
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += [f"[{prefix}{key}]", toml(value, f"{prefix}{key}.")]
        elif not _is_plain(value):
            for one in value:
                lines += [f"[[{prefix}{key}]]", toml(one, f"{prefix}{key}.")]
    return "\n".join(lines)


def _is_plain(value: Any) -> bool:
    tables = isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    return not isinstance(value, Mapping) and not tables
