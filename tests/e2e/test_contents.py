"""Contents end to end: what a host has written comes back, from an image and from a snapshot."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from breezeblock.images.inspection import inspect
from tests.contract.hosts import Host
from tests.e2e.in_process import PATIENCE, Service, running

GIB = 1 << 30
MIB = 1 << 20


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host("host-a", tmp_path / "host-a")


@pytest.fixture(params=["folder-raw", "folder-qcow2", "glance-qcow2"])
def wanted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], str]:
    """How the image service is configured, and the format to upload in (raw ones are large)."""
    service, _, disk_format = request.param.partition("-")
    if service == "folder":
        return {"folder": str(tmp_path / "images")}, disk_format
    endpoint = request.getfixturevalue("glance").endpoint
    return {"endpoint": endpoint, "token": "admin:service"}, disk_format


async def a_volume(service: Service, **wishes: Any) -> str:
    made = await service.call("POST", "/volumes", {"volume": {"size": 1, **wishes}})
    ident = str(made["volume"]["id"])
    assert (await service.settled(ident))["status"] == "available"
    return ident


async def act(service: Service, volume: str, action: str, value: Any = None) -> Any:
    return await service.call("POST", f"/volumes/{volume}/action", {action: value})


async def shown_snapshot(service: Service, ident: str) -> dict[str, Any]:
    shown: dict[str, Any] = (await service.call("GET", f"/snapshots/{ident}"))["snapshot"]
    return shown


async def write(service: Service, host: Host, volume: str, byte: int, offset: int = 0) -> None:
    async with service.attached(volume, host) as info:
        with host.open(info) as disk:
            assert disk.write(byte, offset=offset, length=MIB) and disk.flush()


async def reads(service: Service, host: Host, volume: str, byte: int, offset: int = 0) -> bool:
    async with service.attached(volume, host) as info:
        with host.open(info) as disk:
            return disk.reads(byte, offset=offset, length=MIB)


@pytest.mark.timeout(300)
async def test_a_volume_comes_back_from_the_image_that_it_became(
    tmp_path: Path, host: Host, wanted: tuple[dict[str, str], str]
) -> None:
    images, disk_format = wanted
    async with running(tmp_path, images) as service:
        volume = await a_volume(service)
        await write(service, host, volume, 7)
        await write(service, host, volume, 8, GIB - MIB)
        metadata = {"metadata": {"os_type": "linux"}}
        await act(service, volume, "os-set_image_metadata", metadata)
        wish = {"image_name": "copy", "disk_format": disk_format, "visibility": "shared"}
        shown = (await act(service, volume, "os-volume_upload_image", wish))[
            "os-volume_upload_image"
        ]
        assert (shown["image_name"], shown["visibility"]) == ("copy", "shared")
        assert (await service.settled(volume))["status"] == "available"
        assert (await service.call("GET", "/messages"))["messages"] == []
        assert list((tmp_path / "data" / "scratch").iterdir()) == []

        file = await the_image(images, shown["image_id"], disk_format, tmp_path / "image")
        assert inspect(file, disk_format, max_gigabytes=1).virtual_bytes == GIB

        copy = await a_volume(service, imageRef=shown["image_id"])
        assert await reads(service, host, copy, 7)
        assert await reads(service, host, copy, 8, GIB - MIB)
        assert await reads(service, host, copy, 0, GIB // 2)
        known = (await service.settled(copy))["volume_image_metadata"]
        assert (known["os_type"], known["image_id"]) == ("linux", shown["image_id"])
        await write(service, host, volume, 9)
        assert await reads(service, host, copy, 7)


async def the_image(images: dict[str, str], ident: str, disk_format: str, copy: Path) -> Path:
    """The image's file, as others get it."""
    if "folder" in images:
        return Path(images["folder"]) / f"{ident}.{disk_format}"
    headers = {"X-Auth-Token": images["token"]}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as glance:
        path = f"{images['endpoint']}/v2/images/{ident}"
        told = (await glance.get(path)).json()
        assert (told["status"], told["disk_format"]) == ("active", disk_format)
        assert (told["name"], told["visibility"]) == ("copy", "shared")
        assert (told["os_type"], told["owner"]) == ("linux", "abba")
        content = (await glance.get(f"{path}/file")).content
        await asyncio.to_thread(copy.write_bytes, content)
    return copy


async def test_a_volume_is_put_back_to_its_snapshot(tmp_path: Path, host: Host) -> None:
    async with running(tmp_path, {"folder": str(tmp_path / "images")}) as service:
        volume = await a_volume(service)
        await write(service, host, volume, 1)
        body = {"snapshot": {"volume_id": volume}}
        snapshot = (await service.call("POST", "/snapshots", body))["snapshot"]["id"]
        while (await shown_snapshot(service, snapshot))["status"] != "available":
            await asyncio.sleep(0.1)
        await write(service, host, volume, 2)
        await write(service, host, volume, 3, GIB - MIB)
        for _ in range(2):
            await act(service, volume, "revert", {"snapshot_id": snapshot})
            assert (await service.settled(volume))["status"] == "available"
            assert await reads(service, host, volume, 1)
            assert await reads(service, host, volume, 0, GIB - MIB)
            await write(service, host, volume, 4)
        copy = await a_volume(service, snapshot_id=snapshot)
        assert await reads(service, host, copy, 1)


async def test_an_unmanaged_volume_is_found_by_its_paper(tmp_path: Path, host: Host) -> None:
    async with running(tmp_path, {"folder": str(tmp_path / "images")}) as service:
        volume = await a_volume(service)
        await write(service, host, volume, 1)
        await act(service, volume, "os-unmanage")
        while (await service.call("GET", "/volumes"))["volumes"]:
            await asyncio.sleep(0.1)
        (backend,) = service.process.volume.backends.values()
        path = backend.driver.options.path
        told = json.loads((path / "released" / f"{volume}.json").read_text())
        with (path / "layers" / told["head"]).open("rb") as file:
            assert file.read(MIB) == b"\1" * MIB
