"""os-extend_volume_completion: the compute service says what became of a growth on its host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from breezeblock.model.ids import new_id
from breezeblock.model.invariants import check_live
from breezeblock.store import facts
from tests.service.catalog_fixture import PROJECT, Caller
from tests.service.house import House


class SlowServers:
    """A compute service that answers when it is let."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.answer = asyncio.Event()

    async def volume_extended(self, servers: list[str], volume_id: str) -> None:
        assert servers
        assert volume_id
        self.told.set()
        await self.answer.wait()


@pytest.fixture
async def servers(house: House) -> AsyncIterator[SlowServers]:
    assert house.engine is not None
    house.engine.doors.servers = SlowServers()
    yield house.engine.doors.servers
    house.engine.doors.servers.answer.set()


async def complete(
    house: House, volume: str, caller: Caller | None = None, **said: Any
) -> httpx2.Response:
    return await house.act(volume, "os-extend_volume_completion", said, caller or house.admin)


async def growing(house: House, servers: SlowServers) -> str:
    """A volume in use that has grown, and whose server is being told."""
    volume = await house.volume(1)
    await house.in_use(volume, server=new_id())
    assert (await house.act(volume, "os-extend", {"new_size": 3})).status_code == 202
    await servers.told.wait()
    assert await house.status(volume) == "extending"
    return volume


async def messages(house: House) -> list[str]:
    reply = await house.member.get("/messages")
    return [one["user_message"] for one in reply.json()["messages"]]


async def assert_grown(house: House, volume: str) -> None:
    await house.quiet()
    shown = await house.show(volume)
    assert (shown["status"], shown["size"]) == ("in-use", 3)
    reply = await house.admin.get(f"/os-quota-sets/{PROJECT}?usage=true")
    assert reply.json()["quota_set"]["gigabytes"]["in_use"] == 3
    rows = await house.app.store.read(facts.read)
    assert [str(one) for one in check_live(rows, {})] == []


@pytest.mark.parametrize("said", [{}, {"error": False}, {"error": None}, {"error": "no"}], ids=str)
async def test_a_host_that_has_followed_ends_the_wait(
    house: House, servers: SlowServers, said: dict[str, Any]
) -> None:
    volume = await growing(house, servers)
    reply = await complete(house, volume, **said)
    assert (reply.status_code, reply.content) == (202, b"")
    assert await house.status(volume) == "in-use"
    servers.answer.set()
    await assert_grown(house, volume)
    assert await messages(house) == []


async def test_a_host_that_has_failed_leaves_a_message(house: House, servers: SlowServers) -> None:
    volume = await growing(house, servers)
    assert (await complete(house, volume, error=True)).status_code == 202
    servers.answer.set()
    await assert_grown(house, volume)
    (told,) = await messages(house)
    assert "host has failed" in told
    assert "restart the server" in told


async def test_it_is_said_once(house: House, servers: SlowServers) -> None:
    volume = await growing(house, servers)
    replies = await asyncio.gather(*(complete(house, volume) for _ in range(3)))
    assert sorted(one.status_code for one in replies) == [202, 400, 400]


async def test_said_too_late_it_is_refused(house: House, servers: SlowServers) -> None:
    volume = await growing(house, servers)
    servers.answer.set()
    await assert_grown(house, volume)
    assert (await complete(house, volume, error=True)).status_code == 400
    assert await house.status(volume) == "in-use"


@pytest.mark.parametrize("status", ["available", "in-use", "error", "extending"])
async def test_a_volume_that_waits_for_no_host_refuses_it(house: House, status: str) -> None:
    volume = await house.volume()
    await house.put(volume, status=status)
    assert (await complete(house, volume)).status_code == 400
    assert await house.status(volume) == status


async def test_other_work_on_the_volume_is_left_alone(house: House) -> None:
    volume = await house.volume()
    assert (await house.act(volume, "os-reserve")).status_code == 202
    await house.put(volume, status="extending")
    reply = await complete(house, volume)
    assert reply.status_code == 400
    assert "does not wait" in reply.json()["badRequest"]["message"]


@pytest.mark.parametrize("said", [{"error": 1}, {"error": "zz"}, {"error": []}, {"x": 1}], ids=str)
async def test_a_wrong_word_is_refused(
    house: House, servers: SlowServers, said: dict[str, Any]
) -> None:
    volume = await growing(house, servers)
    assert (await complete(house, volume, **said)).status_code == 400
    assert await house.status(volume) == "extending"


async def test_it_is_for_administrators(house: House) -> None:
    volume = await house.volume()
    assert (await complete(house, volume, house.member)).status_code == 403
    assert (await complete(house, "nope")).status_code == 404
