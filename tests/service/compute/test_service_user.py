"""Block storage behind a password: one service user makes all calls for all owners."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.compute.cloud import ComputeCloud, open_compute
from tests.service.house import House

SERVICE_USER = "nova:services:admin"


@pytest.fixture
async def cloud(tmp_path: Path, house: House) -> AsyncIterator[ComputeCloud]:
    async with open_compute(tmp_path, house, service_user=SERVICE_USER) as opened:
        yield opened


async def test_owners_volumes_are_attached_and_detached(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    assert (await cloud.attach(server, volume)).status_code == 200
    assert await cloud.house.status(volume) == "in-use"
    await cloud.detach(server, volume)
    await cloud.quiet()
    assert await cloud.house.status(volume) == "available"


async def test_the_service_users_sight_is_not_the_callers(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    foreign = await cloud.house.volume(caller=cloud.house.other)
    assert (await cloud.attach(server, foreign)).status_code == 404
    device = {"source_type": "volume", "uuid": foreign}
    wanted = {"name": "x", "flavorRef": "tiny", "block_device_mapping_v2": [device]}
    assert (await cloud.member.call("POST", "/servers", {"server": wanted})).status_code == 400
    assert await cloud.house.status(foreign) == "available"
