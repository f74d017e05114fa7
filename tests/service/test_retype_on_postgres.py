"""Retyping and migrating on PostgreSQL, where transactions run side by side: nothing is counted
wrongly, nobody waits for each other, and of two who want the same volume one is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.model.ids import new_id
from tests.engines.postgres import Postgres
from tests.service.house import House, open_house
from tests.service.sweeps import used, violations

VOLUMES = 6


@pytest.fixture
async def house(postgres: Postgres, tmp_path: Path) -> AsyncIterator[House]:
    database = postgres.create_database(f"retype_{new_id().replace('-', '')}")
    quota = {"volumes": -1, "snapshots": -1, "gigabytes": -1}
    async with open_house(tmp_path, database=database, quota=quota) as opened:
        for name in ("gold", "silver"):
            await opened.new_type(name, extra_specs={"fake:tier": name})
        yield opened


async def test_volumes_that_exchange_their_types_do_not_wait_for_each_other(house: House) -> None:
    types = ("gold", "silver")
    made = [await house.volume(volume_type=types[number % 2]) for number in range(VOLUMES)]
    for ident in made[:2]:
        await house.snapshot(ident)
    for turn in (1, 2, 3):
        wanted = [types[(number + turn) % 2] for number in range(VOLUMES)]
        replies = await asyncio.gather(
            *(
                house.act(ident, "os-retype", {"new_type": name})
                for ident, name in zip(made, wanted, strict=True)
            )
        )
        assert [reply.status_code for reply in replies] == [202] * VOLUMES
        await house.quiet()
        shown = [(await house.show(ident))["volume_type"] for ident in made]
        assert shown == wanted
    counted = await used(house)
    assert (counted["volumes_gold"], counted["snapshots_silver"]) == (VOLUMES // 2, 1)
    assert await house.messages() == []
    assert await violations(house) == []


async def test_of_those_who_ask_at_once_one_is_served(house: House) -> None:
    volume = await house.volume()
    there = await house.add_pool()
    gates = house.driver.gates
    gates["retype"] = gates["move"] = threading.Event()
    replies = await asyncio.gather(
        *(house.act(volume, "os-retype", {"new_type": name}) for name in ("gold", "silver")),
        *(house.act(volume, "os-migrate_volume", {"host": there}, house.admin) for _ in range(2)),
    )
    codes = sorted(reply.status_code for reply in replies)
    assert codes[0] == 202 and set(codes[1:]) <= {400, 409}
    gates["move"].set()
    await house.quiet()
    assert await house.status(volume) == "available"
    assert await violations(house) == []


async def test_a_type_is_deleted_or_given_but_not_both(house: House) -> None:
    for _ in range(VOLUMES):
        volume = await house.volume()
        made = await house.new_type(new_id(), extra_specs={"fake:tier": "rare"})
        retyped, deleted = await asyncio.gather(
            house.act(volume, "os-retype", {"new_type": made["id"]}),
            house.admin.delete(f"/types/{made['id']}"),
        )
        assert (retyped.status_code, deleted.status_code) in ((202, 400), (404, 202))
        await house.quiet()
        assert await house.status(volume) == "available"
    assert await violations(house) == []
