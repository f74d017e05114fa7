"""`breezeblock demo`: both workflows, for real, before the newcomer's eyes.

Starts the whole service in this process on loopback, creates a volume, boots two guests, carries a
text from one to the other on the volume, and shows the way of every request with the time it took.
It talks to the service as any client does, over HTTP. The volume is a local file, or a LUN of a
simulated ONTAP array (`demo_backends.py`).
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from breezeblock.cli import logs
from breezeblock.cli.demo_backends import BACKENDS, BackendUnusableError, LocalBackend, Name
from breezeblock.cli.operations import show
from breezeblock.compute import guest_agent
from breezeblock.compute.guest_directory import GuestDirectory
from breezeblock.compute.guest_image import GuestImage, GuestImageError, ensure_guest_image
from breezeblock.config import Config, build
from breezeblock.model.operation import Operation
from breezeblock.services.process import Process
from breezeblock.store import operations
from breezeblock.store.store import Store

PATIENCE = 180.0
SIZE = 1


class DemoFailed(SystemExit):
    """Something did not come out as promised; the text says what."""


def demo(
    *,
    backend: Name = "local",
    cache: Path = Path(".cache"),
    keep: bool = False,
    log_level: str = "error",
) -> None:
    """Create a volume, attach it to one guest and then another, and show how.

    Parameters
    ----------
    backend
        What the volume is on: files (local), or a simulated ONTAP array (netapp; needs root).
    cache
        Directory for the guest image and the demo's data.
    keep
        Leave the demo's data directory (databases, logs) behind.
    log_level
        debug, info, warning or error.
    """
    logs.set_up(log_level)
    data = cache.resolve() / "demo"
    shutil.rmtree(data, ignore_errors=True)
    storage = BACKENDS[backend](data / "array")
    try:
        asyncio.run(_Demo(Console(), cache.resolve() / "guest", data, storage).run())
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        if not keep:
            shutil.rmtree(data, ignore_errors=True)


class _Demo:
    """One run of the demo; `say` numbers what happens."""

    def __init__(self, console: Console, images: Path, data: Path, backend: LocalBackend) -> None:
        self.console = console
        self.images = images
        self.data = data
        self.backend = backend
        self.began = time.monotonic()
        self.config = Config()
        self.http = httpx2.AsyncClient(timeout=PATIENCE, headers={"X-Auth-Token": "demo:demo"})
        self.requests: list[tuple[str, str]] = []

    def say(self, text: str) -> None:
        elapsed = time.monotonic() - self.began
        self.console.print(f"[dim]{elapsed:6.1f} s[/dim]  {text}", soft_wrap=True, highlight=False)

    async def run(self) -> None:
        """All of it. Who is told to end (SIGTERM) ends what it has started first."""
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            async with self.backend, self.http:
                await self._with_service(ensure_guest_image(self.images, self.say))
        except BackendUnusableError as error:
            raise DemoFailed(f"The demo cannot have this backend: {error}") from None
        except GuestImageError as error:
            raise DemoFailed(f"The demo's guest cannot be made: {error}") from None

    async def _with_service(self, image: GuestImage) -> None:
        if self.backend.introduction:
            self.say(self.backend.introduction)
        port, compute_port = _free_ports(2)
        self.config = build(
            {
                "data": str(self.data),
                "log_level": "error",
                "api": {"port": port},
                "compute": {
                    "port": compute_port,
                    "kernel": str(image.kernel),
                    "initrd": str(image.initrd),
                },
                **self.backend.configuration,
            }
        )
        process = Process(self.config, ["all"])
        try:
            await process.start()
            await self._until_ready()
            self.say(
                f"the service runs in one process: block storage on port {port}, "
                f"compute on port {compute_port}"
            )
            await self._carry_a_text()
            await self._show_ways()
            await self._let_the_backend_tell()
        finally:
            await process.close()

    async def _carry_a_text(self) -> None:
        text = f"a breeze block carries {secrets.token_hex(8)}"
        async with self._server("first") as first, self._server("second") as second:
            volume = await self._create_volume()
            await self._booted(first, second)
            try:
                await self._attach(first, volume)
                async with self._inside(first) as guest:
                    disk = await guest.find_disk(volume)
                    await guest.run(f"printf %s '{text}' | dd of={disk} conv=fsync 2>/dev/null")
                    self.say(f"the first guest, whose kernel calls it {disk}, wrote {text!r}")
                await self._detach(first, volume)
                await self._attach(second, volume)
                async with self._inside(second) as guest:
                    disk = await guest.find_disk(volume)
                    read = await guest.run(f"head -c {len(text)} {disk}")
                if read != text:
                    raise DemoFailed(
                        f"the second guest read {read!r}: these are not the same bytes"
                    )
                self.say(f"the second guest read {read!r}: the same bytes")
                await self._detach(second, volume)
            finally:
                await self._request("DELETE", f"{self.volume_url}/volumes/{volume}")
                await self._gone(f"{self.volume_url}/volumes/{volume}")
        self.say("volume and guests are deleted")

    # -- the two APIs ------------------------------------------------------------------------------

    @property
    def volume_url(self) -> str:
        return self.config.block_storage_endpoint

    @property
    def compute_url(self) -> str:
        return self.config.compute_endpoint

    async def _request(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        headers = {"OpenStack-API-Version": "volume 3.71, compute 2.90"}
        began = time.monotonic()
        reply = await self.http.request(method, url, json=body, headers=headers)
        if reply.status_code >= 400:
            raise DemoFailed(f"{method} {url}: {reply.status_code} {reply.text}")
        if method != "GET":
            path = url.split("/v", 1)[-1].partition("/")[2]
            took = 1000 * (time.monotonic() - began)
            what = f"{method} /{path}  (reply {reply.status_code} after {took:.0f} ms)"
            self.requests.append((what, reply.headers["x-openstack-request-id"]))
        answer: dict[str, Any] = reply.json() if reply.content else {}
        return answer

    async def _until_ready(self) -> None:
        root = self.volume_url.removesuffix("/v3")
        while (await self.http.get(f"{root}/healthcheck")).status_code != 200:
            await asyncio.sleep(0.05)

    async def _create_volume(self) -> str:
        body = {"volume": {"name": "demo", "size": SIZE}}
        volume = (await self._request("POST", f"{self.volume_url}/volumes", body))["volume"]
        url = f"{self.volume_url}/volumes/{volume['id']}"
        with Progress(
            TextColumn("          "),
            SpinnerColumn(),
            TextColumn("volume {task.description}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            console=self.console,
        ) as progress:
            task = progress.add_task(volume["status"], total=2)
            while volume["status"] == "creating":
                await asyncio.sleep(0.02)
                volume = (await self._request("GET", url))["volume"]
                placed = volume.get("os-vol-host-attr:host")
                progress.update(task, completed=1 if placed else 0, description=volume["status"])
            progress.update(task, completed=2, description=volume["status"])
        if volume["status"] != "available":
            raise DemoFailed(f"the volume is {volume['status']}")
        self.say(
            f"volume {volume['id']} ({SIZE} GiB) is available on {volume['os-vol-host-attr:host']}"
        )
        return str(volume["id"])

    @asynccontextmanager
    async def _server(self, name: str) -> AsyncIterator[str]:
        flavors = (await self._request("GET", f"{self.compute_url}/flavors"))["flavors"]
        body = {"server": {"name": name, "flavorRef": flavors[0]["id"], "networks": "none"}}
        server = (await self._request("POST", f"{self.compute_url}/servers", body))["server"]["id"]
        try:
            yield server
        finally:
            await self._request("DELETE", f"{self.compute_url}/servers/{server}")
            await self._gone(f"{self.compute_url}/servers/{server}")

    async def _booted(self, *servers: str) -> None:
        self.say("two guests boot ...")
        for server in servers:
            url = f"{self.compute_url}/servers/{server}"
            while (found := (await self._request("GET", url))["server"])["status"] == "BUILD":
                await asyncio.sleep(0.1)
            if found["status"] != "ACTIVE":
                raise DemoFailed(f"server {server} is {found['status']}: {found.get('fault')}")
        for server in servers:
            async with self._inside(server) as guest:
                await guest.run("true")
        self.say("both guests are up")

    async def _attach(self, server: str, volume: str) -> None:
        url = f"{self.compute_url}/servers/{server}/os-volume_attachments"
        began = time.monotonic()
        answer = await self._request("POST", url, {"volumeAttachment": {"volumeId": volume}})
        await self._volume_is(volume, "in-use")
        took = 1000 * (time.monotonic() - began)
        device = answer["volumeAttachment"]["device"]
        self.say(f"attached to server {server} as {device} in {took:.0f} ms")

    async def _detach(self, server: str, volume: str) -> None:
        url = f"{self.compute_url}/servers/{server}/os-volume_attachments/{volume}"
        began = time.monotonic()
        await self._request("DELETE", url)
        await self._volume_is(volume, "available")
        self.say(f"detached from server {server} in {1000 * (time.monotonic() - began):.0f} ms")

    async def _volume_is(self, volume: str, status: str) -> None:
        url = f"{self.volume_url}/volumes/{volume}"
        deadline = time.monotonic() + PATIENCE
        while (await self._request("GET", url))["volume"]["status"] != status:
            if time.monotonic() > deadline:
                raise DemoFailed(f"volume {volume} did not become {status}")
            await asyncio.sleep(0.02)

    async def _gone(self, url: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while (await self.http.get(url)).status_code != 404:
            if time.monotonic() > deadline:
                raise DemoFailed(f"{url} is still there")
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def _inside(self, server: str) -> AsyncIterator[guest_agent.GuestAgent]:
        directory = GuestDirectory.of(self.data / "guests", server)
        async with guest_agent.connect(directory.agent_socket, patience=PATIENCE) as agent:
            yield agent

    # -- what happened -----------------------------------------------------------------------------

    async def _show_ways(self) -> None:
        """Print the way of each request, from both services' operations in the order of time.

        What the agent asked of block storage on a request's behalf stands behind that request.
        """
        names = {ident: what for what, ident in self.requests}
        found: list[Operation] = []
        for url in (self.config.database_url, self.config.compute_database_url):
            store = Store(url, threads=1)
            found += await store.read(operations.everything)
            store.close()
        for operation in sorted(found, key=lambda one: one.opened_at):
            what = names.get(operation.request_id, "    asked by the compute agent:")
            self.console.print(f"\n{what}", soft_wrap=True, highlight=False)
            show(self.console, operation)

    async def _let_the_backend_tell(self) -> None:
        for line in await self.backend.told():
            self.console.print(line, soft_wrap=True, highlight=False, markup=False)


def _free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody uses now; so the demo can run beside a service."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
