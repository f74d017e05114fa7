"""What the two databases do differently: JSON in conditions, casts, locks, nulls in an order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.model.ids import new_id
from tests.engines.postgres import Postgres
from tests.service.house import House, open_house


@pytest.fixture
async def house(postgres: Postgres, tmp_path: Path) -> AsyncIterator[House]:
    database = postgres.create_database(f"volumes_{new_id().replace('-', '')}")
    async with open_house(tmp_path, database=database) as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("size=2", ["b"]),
        ("size=[1, 2]", ["a", "b"]),
        ("size=nonsense", []),
        ("bootable=true", ["b"]),
        ("consumes_quota=false", []),
        ("metadata={'k': 'v'}", ["a"]),
        ("metadata={'k\"': 'v'}", []),
        ("metadata={'readonly': 'True'}", ["b"]),
        ("metadata={'attached_mode': 'rw'}", []),
        ("created_at=gt:2020-01-01T00:00:00", ["a", "b"]),
        ("migration_status=None", ["a", "b"]),
        ("host=node1@fast", ["a", "b"]),
        ("size~=1", ["a"]),
        ("metadata~=k", ["a"]),
        ("status=['available', 'error']", ["a", "b"]),
        ("snapshot_id=5", []),
    ],
)
async def test_lists_are_filtered(house: House, query: str, names: list[str]) -> None:
    await house.volume(1, name="a", metadata={"k": "v"})
    second = await house.volume(2, name="b")
    await house.act(second, "os-set_bootable", {"bootable": True})
    await house.act(second, "os-update_readonly_flag", {"readonly": True})
    reply = await house.admin.get(f"/volumes/detail?sort=name:asc&{query}")
    assert reply.status_code == 200, reply.text
    assert [one["name"] for one in reply.json()["volumes"]] == names


@pytest.mark.parametrize("way", ["asc", "desc"])
async def test_pages_go_on_over_nulls(house: House, way: str) -> None:
    names: list[str | None] = [None, "a", None, "b"]
    for name in names:
        await house.volume(name=name)
    found: list[str | None] = []
    path = f"/volumes?limit=1&sort=name:{way}"
    while path:
        page = (await house.member.get(path)).json()
        found += [one["name"] for one in page["volumes"]]
        links = page.get("volumes_links", [])
        path = links[0]["href"].removeprefix("http://cloud/v3") if links else ""
    ascending = [None, None, "a", "b"]
    assert found == (ascending if way == "asc" else ascending[::-1])


async def test_the_summary_counts_and_sums(house: House) -> None:
    await house.volume(1, metadata={"k": "v"})
    await house.volume(2)
    shown = (await house.member.get("/volumes/summary")).json()["volume-summary"]
    assert shown == {"total_count": 2, "total_size": 3, "metadata": {"k": ["v"]}}


async def test_snapshots_are_found_by_their_volumes_zone_and_host(house: House) -> None:
    ident = await house.snapshot(await house.volume())
    listed = await house.admin.get("/snapshots?availability_zone=nova&host=node1")
    assert [one["id"] for one in listed.json()["snapshots"]] == [ident]


async def test_of_many_who_reserve_a_volume_at_once_one_gets_it(house: House) -> None:
    volume = await house.volume()
    bodies = [{"attachment": {"volume_uuid": volume, "instance_uuid": new_id()}} for _ in range(6)]
    replies = await asyncio.gather(*(house.member.post("/attachments", one) for one in bodies))
    assert sorted(reply.status_code for reply in replies) == [200, 400, 400, 400, 400, 400]


async def test_attach_and_detach_work(house: House) -> None:
    volume = await house.volume()
    ident = await house.in_use(volume)
    assert await house.status(volume) == "in-use"
    await house.member.delete(f"/attachments/{ident}")
    assert await house.status(volume) == "available"
    await house.member.delete(f"/volumes/{volume}")
    await house.quiet()
    assert await house.status(volume) == "gone"
