"""Images end to end: a real qcow2 file, in a folder or in a real Glance, becomes a volume whose
bytes a host reads over its export. API, scheduler, volume service and the local driver are real."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from breezeblock.config import build
from breezeblock.drivers.base import ConnectionInfo
from breezeblock.services.process import Process
from tests.contract.hosts import Host
from tests.engines.process import free_port

GIB = 1 << 30
MIB = 1 << 20
PATIENCE = 60.0

Shelve = Callable[[str, bytes], str]
"""Put an image into the image service: its format and the file's bytes; returns its id."""


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
            if shown["status"] not in ("creating", "downloading"):
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


@pytest.fixture(params=["folder", "glance"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], Shelve]:
    """How the image service is configured, and how an image gets into it."""
    if request.param == "folder":
        folder = tmp_path / "images"
        folder.mkdir()

        def put(disk_format: str, content: bytes) -> str:
            name = f"image-{len(list(folder.iterdir()))}"
            (folder / f"{name}.{disk_format}").write_bytes(content)
            return name

        return {"folder": str(folder)}, put
    endpoint = request.getfixturevalue("glance").endpoint

    def upload(disk_format: str, content: bytes) -> str:
        with httpx2.Client(base_url=f"{endpoint}/v2", timeout=PATIENCE) as http:
            http.headers["X-Auth-Token"] = "ada:abba"
            told = {"name": "disk", "disk_format": disk_format, "container_format": "bare"}
            image = http.post("/images", json=told).json()
            kind = {"Content-Type": "application/octet-stream"}
            http.put(f"/images/{image['id']}/file", content=content, headers=kind)
            return str(image["id"])

    return {"endpoint": endpoint, "token": "admin:service"}, upload


def a_disk(path: Path, byte: int) -> bytes:
    """A qcow2 disk of 1 GiB that holds the byte in its first MiB, and the next one in its last."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G"], check=True)
    writes = (f"write -P {byte} 0 1M", f"write -P {byte + 1} {GIB - MIB} 1M")
    commands = [part for write in writes for part in ("-c", write)]
    command = ["qemu-io", "-f", "qcow2", *commands, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path.read_bytes()


def leading_to(backing: Path, path: Path) -> None:
    """A qcow2 disk whose content is another file's."""
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "raw", str(path)]
    subprocess.run([*make, "1G"], check=True)


async def test_a_qcow2_image_becomes_a_volume_and_another_one_its_content(
    tmp_path: Path, shelf: tuple[dict[str, str], Shelve]
) -> None:
    images, shelve = shelf
    host = Host("host-a", tmp_path / "host-a")
    async with running(tmp_path, images) as service:
        volume = await service.volume(shelve("qcow2", a_disk(tmp_path / "one", 1)))
        assert (volume["status"], volume["bootable"]) == ("available", "true")
        assert volume["volume_image_metadata"]["disk_format"] == "qcow2"
        async with service.attached(volume["id"], host) as info:
            with host.open(info) as disk:
                assert disk.gib == 1
                assert disk.reads(1, length=MIB)
                assert disk.reads(0, offset=MIB, length=16 * MIB)
                assert disk.reads(2, offset=GIB - MIB, length=MIB)
                assert disk.write(9, offset=MIB)

        other = await service.volume(shelve("qcow2", a_disk(tmp_path / "two", 5)))
        image = other["volume_image_metadata"]["image_id"]
        action = {"os-reimage": {"image_id": image}}
        await service.call("POST", f"/volumes/{volume['id']}/action", action)
        volume = await service.settled(volume["id"])
        assert volume["status"] == "available"
        assert volume["volume_image_metadata"]["image_id"] == image
        async with service.attached(volume["id"], host) as info:
            with host.open(info) as disk:
                assert disk.reads(5, length=MIB)
                assert disk.reads(0, offset=MIB)
                assert disk.reads(6, offset=GIB - MIB, length=MIB)
        assert list((tmp_path / "data" / "scratch").iterdir()) == []


async def test_an_image_that_leads_to_a_file_of_this_host_shows_it_to_nobody(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"\x07" * MIB)
    leading_to(secret, folder / "leading.qcow2")
    async with running(tmp_path, {"folder": str(folder)}) as service:
        volume = await service.volume("leading")
        assert volume["status"] == "error"
        told = (await service.call("GET", "/messages"))["messages"]
        assert "not safe to open (backing_file" in told[0]["user_message"]
