"""A service that is killed while a volume becomes an image: one whole image comes of it, no half
one, and nothing is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from breezeblock.images.inspection import inspect
from tests.e2e.deployment import Deployment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROLES = ("api", "scheduler", "volume")
NAME = f"0-{'-'.join(ROLES)}"
GIB = 1 << 30


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.exists() else []


async def test_a_killed_service_finishes_the_image_when_it_is_back() -> None:
    deployment = Deployment({}, roles=(ROLES,))
    images, scratch = deployment.data / "images", deployment.data / "scratch"
    try:
        await deployment.start()
        volume = (await deployment.create_volume())["id"]
        action = {"os-volume_upload_image": {"image_name": "copy", "disk_format": "raw"}}
        reply = await deployment.volume("POST", f"/volumes/{volume}/action", action)
        assert reply.status_code == 202, reply.text
        ident = reply.json()["os-volume_upload_image"]["image_id"]
        async with asyncio.timeout(60):
            while not files(scratch):
                await asyncio.sleep(0.01)
        deployment.kill(NAME)
        assert not (images / f"{ident}.raw").exists()
        deployment.launch(NAME, ROLES)
        await deployment.until_ready()
        await deployment.until_volume_is("available", volume, patience=120)
        names = [path.name for path in files(images)]
        assert names == [f"{ident}.raw", f"{ident}.raw.json"]
        found = inspect(images / f"{ident}.raw", "raw", max_gigabytes=1)
        assert found.virtual_bytes == GIB
        assert files(scratch) == []
        assert (await deployment.volume("GET", "/messages")).json()["messages"] == []
    finally:
        await deployment.stop()
