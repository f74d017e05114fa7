"""Breezeblock in the test's own process, on real files: all but the compute service.

For tests of what volumes hold; those of processes that die have `deployment`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from breezeblock.config import build
from breezeblock.drivers.base import ConnectionInfo
from breezeblock.services.process import Process
from tests.contract.hosts import Host
from tests.engines.process import free_port

PATIENCE = 60.0
PASSING = ("creating", "downloading", "deleting", "reverting", "uploading", "unmanaging")


class Service:
    """A running Breezeblock and a client of it."""

    def __init__(self, process: Process, client: httpx2.AsyncClient) -> None:
        self.process = process
        self._client = client

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"OpenStack-API-Version": "volume 3.71"}
        reply = await self._client.request(method, path, json=body, headers=headers)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None

    async def settled(self, volume: str) -> dict[str, Any]:
        for _ in range(int(PATIENCE / 0.1)):
            shown: dict[str, Any] = (await self.call("GET", f"/volumes/{volume}"))["volume"]
            if shown["status"] not in PASSING:
                return shown
            await asyncio.sleep(0.1)
        raise AssertionError(f"it stays {shown['status']}")

    async def volume(self, image: str) -> dict[str, Any]:
        body = {"volume": {"size": 1, "imageRef": image}}
        made = await self.call("POST", "/volumes", body)
        return await self.settled(made["volume"]["id"])

    @asynccontextmanager
    async def attached(self, volume: str, host: Host) -> AsyncIterator[ConnectionInfo]:
        wanted = {"volume_uuid": volume, "connector": host.connector}
        made = (await self.call("POST", "/attachments", {"attachment": wanted}))["attachment"]
        info = made["connection_info"]
        yield ConnectionInfo(info["driver_volume_type"], info)
        await self.call("DELETE", f"/attachments/{made['id']}")


@asynccontextmanager
async def running(home: Path, images: dict[str, str]) -> AsyncIterator[Service]:
    port = free_port()
    config = build(
        {
            "data": str(home / "data"),
            "report_interval": 1.0,
            "api": {"port": port},
            "images": images,
        }
    )
    process = Process(config, ["api", "scheduler", "volume"])
    await process.start()
    client = httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/v3",
        timeout=PATIENCE,
        headers={"X-Auth-Token": "admin:abba"},
    )
    try:
        yield Service(process, client)
    finally:
        await client.aclose()
        for backend in process.volume.backends.values() if process.volume else ():
            backend.driver.stop_all()  # type: ignore[attr-defined]
        await process.close()
