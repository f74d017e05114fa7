"""Transfers on PostgreSQL, where transactions run side by side: nothing is given twice, nothing
counted wrongly, and nobody waits for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from breezeblock.model.ids import new_id
from breezeblock.model.invariants import check_live
from breezeblock.store import facts
from tests.engines.postgres import Postgres
from tests.service.catalog_fixture import OTHER, PROJECT, Caller
from tests.service.house import House, open_house

TIMES = 6


@pytest.fixture
async def house(postgres: Postgres, tmp_path: Path) -> AsyncIterator[House]:
    database = postgres.create_database(f"transfers_{new_id().replace('-', '')}")
    quota = {"volumes": -1, "snapshots": -1, "gigabytes": -1}
    async with open_house(tmp_path, database=database, quota=quota) as opened:
        yield opened


async def offer(house: House, owner: Caller, *, snapshot: bool = False) -> dict[str, Any]:
    """A new volume of the owner's on offer."""
    volume = await house.volume(caller=owner)
    if snapshot:
        await owner.post("/snapshots", {"snapshot": {"volume_id": volume}})
        await house.quiet()
    reply = await owner.post("/volume-transfers", {"transfer": {"volume_id": volume}})
    assert reply.status_code == 202, reply.text
    made: dict[str, Any] = reply.json()["transfer"]
    return made


async def accept(made: dict[str, Any], caller: Caller) -> httpx2.Response:
    body = {"accept": {"auth_key": made["auth_key"]}}
    return await caller.post(f"/volume-transfers/{made['id']}/accept", body)


async def assert_sound(house: House) -> None:
    rows = await house.app.store.read(facts.read)
    assert [str(one) for one in check_live(rows, {})] == []


async def test_of_many_who_accept_at_once_one_gets_it(house: House) -> None:
    made = await offer(house, house.member, snapshot=True)
    callers = [house.caller("member", f"{number}{OTHER[1:]}") for number in range(2, 8)]
    replies = await asyncio.gather(*(accept(made, one) for one in callers))
    assert sorted(reply.status_code for reply in replies) == [202, 404, 404, 404, 404, 404]
    volume = await house.row(made["volume_id"])
    assert volume is not None
    (winner,) = [
        one for one, reply in zip(callers, replies, strict=True) if reply.status_code == 202
    ]
    assert volume.project_id == winner.token.split(":")[1]
    await assert_sound(house)


async def test_accepted_and_withdrawn_at_once_is_one_of_both(house: House) -> None:
    for _ in range(TIMES):
        made = await offer(house, house.member)
        taken, withdrawn = await asyncio.gather(
            accept(made, house.other), house.member.delete(f"/volume-transfers/{made['id']}")
        )
        assert sorted((taken.status_code, withdrawn.status_code)) == [202, 404]
        volume = await house.row(made["volume_id"])
        assert volume is not None
        assert volume.project_id == (OTHER if taken.status_code == 202 else PROJECT)
    await assert_sound(house)


async def test_two_projects_that_give_each_other_volumes_do_not_wait_for_each_other(
    house: House,
) -> None:
    mine = [await offer(house, house.member, snapshot=True) for _ in range(TIMES)]
    theirs = [await offer(house, house.other, snapshot=True) for _ in range(TIMES)]
    taken = [accept(one, house.other) for one in mine]
    given = [accept(one, house.member) for one in theirs]
    replies = await asyncio.gather(*taken, *given)
    assert {reply.status_code for reply in replies} == {202}
    await assert_sound(house)


async def test_the_last_place_in_a_quota_goes_to_one_volume(house: House) -> None:
    made = [await offer(house, house.member) for _ in range(TIMES)]
    limit = {"quota_set": {"volumes": 1}}
    assert (await house.admin.put(f"/os-quota-sets/{OTHER}", limit)).status_code == 200
    replies = await asyncio.gather(*(accept(one, house.other) for one in made))
    assert sorted(reply.status_code for reply in replies) == [202, *[413] * (TIMES - 1)]
    await assert_sound(house)


async def test_a_snapshot_is_deleted_or_goes_along(house: House) -> None:
    for _ in range(TIMES):
        made = await offer(house, house.member, snapshot=True)
        (snapshot,) = (await house.member.get("/snapshots")).json()["snapshots"]
        taken, deleted = await asyncio.gather(
            accept(made, house.other), house.member.delete(f"/snapshots/{snapshot['id']}")
        )
        assert (taken.status_code, deleted.status_code) in ((202, 404), (202, 202), (400, 202))
        await house.quiet()
        if taken.status_code == 202:
            await house.other.delete(f"/snapshots/{snapshot['id']}")
            await house.quiet()
        await assert_sound(house)


async def test_a_volume_that_is_force_deleted_meanwhile_is_nobodys(house: House) -> None:
    for _ in range(TIMES):
        made = await offer(house, house.member, snapshot=False)
        taken, _ = await asyncio.gather(
            accept(made, house.other),
            house.act(made["volume_id"], "os-force_delete", None, house.admin),
        )
        assert taken.status_code in (202, 400, 404)
        await house.quiet()
        assert await house.status(made["volume_id"]) == "gone"
        await assert_sound(house)
