"""Images end to end: a real qcow2 file, in a folder or in a real Glance, becomes a volume whose
bytes a host reads over its export. API, scheduler, volume service and the local driver are real."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.contract.hosts import Host
from tests.e2e.in_process import PATIENCE, running

GIB = 1 << 30
MIB = 1 << 20

Shelve = Callable[[str, bytes], str]
"""Put an image into the image service: its format and the file's bytes; returns its id."""


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
