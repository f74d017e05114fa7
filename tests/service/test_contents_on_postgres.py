"""revert, os-unmanage and os-volume_upload_image on PostgreSQL, where transactions run side by
side: whoever comes first wins, the others are refused, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.model.ids import new_id
from tests.engines.postgres import Postgres
from tests.service.house import House, open_house
from tests.service.sweeps import violations

TIMES = 6
UPLOAD = {"image_name": "copy", "disk_format": "qcow2"}


@pytest.fixture
async def house(postgres: Postgres, tmp_path: Path) -> AsyncIterator[House]:
    database = postgres.create_database(f"contents_{new_id().replace('-', '')}")
    async with open_house(tmp_path, database=database) as opened:
        yield opened


async def test_one_of_those_who_want_the_same_volume_gets_it(house: House) -> None:
    for _ in range(TIMES):
        volume = await house.volume()
        snapshot = await house.snapshot(volume)
        all_asked = threading.Event()  # before that nobody who got it is done with it
        house.driver.gates = dict.fromkeys(("revert", "readable", "extend"), all_asked)
        replies = await asyncio.gather(
            house.act(volume, "revert", {"snapshot_id": snapshot}),
            house.act(volume, "os-volume_upload_image", UPLOAD),
            house.act(volume, "os-extend", {"new_size": 2}),
            house.act(volume, "os-volume_upload_image", UPLOAD),
        )
        all_asked.set()
        codes = sorted(reply.status_code for reply in replies)
        assert codes[0] == 202 and codes[1:] == [code for code in codes[1:] if code in (400, 409)]
        await house.quiet()
        assert await house.status(volume) == "available"
        assert await violations(house) == []
        await house.member.delete(f"/volumes/{volume}?cascade=true")
        await house.quiet()


async def test_a_snapshot_is_reset_while_its_volume_is_put_back_to_it(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    reset = {"os-reset_status": {"status": "available"}}
    for _ in range(TIMES):
        first, second = await asyncio.gather(
            house.act(volume, "revert", {"snapshot_id": snapshot}),
            house.admin.post(f"/snapshots/{snapshot}/action", reset),
        )
        assert (first.status_code, second.status_code) == (202, 202)
        await house.quiet()
        await house.come_due("check_snapshot")
        assert await house.status(volume) in ("available", "error")
        assert await violations(house) == []
        await house.act(volume, "os-reset_status", {"status": "available"}, house.admin)
        await house.come_due("check_volume")


async def test_a_volume_is_unmanaged_or_deleted(house: House) -> None:
    for _ in range(TIMES):
        volume = await house.volume()
        replies = await asyncio.gather(
            house.act(volume, "os-unmanage", None, house.admin),
            house.member.delete(f"/volumes/{volume}"),
            house.act(volume, "os-unmanage", None, house.admin),
        )
        codes = sorted(reply.status_code for reply in replies)
        assert codes[0] == 202 and set(codes[1:]) <= {400, 404, 409}
        await house.quiet()
        assert await house.status(volume) == "gone"
        assert await violations(house) == []
        assert house.driver.sizes == {}
