"""Idempotency-Key on PostgreSQL, where transactions run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.model.ids import new_id
from tests.engines.postgres import Postgres
from tests.service.house import House, open_house
from tests.service.mortal import check_done_once
from tests.service.posts import POSTS
from tests.service.test_idempotency import ONE, Sender, count
from tests.service.test_idempotency_crashes import NO_LIMIT, BlockStorage


@pytest.fixture
async def house(postgres: Postgres, tmp_path: Path) -> AsyncIterator[House]:
    database = postgres.create_database(f"idempotency_{new_id().replace('-', '')}")
    async with open_house(tmp_path, database=database, quota=NO_LIMIT) as house:
        yield house


async def test_concurrent_duplicates_make_one_volume(house: House) -> None:
    send = Sender(house.client)
    replies = await asyncio.gather(*(send("/volumes", ONE) for _ in range(20)))
    assert {(reply.status_code, reply.content) for reply in replies} == {(202, replies[0].content)}
    await house.quiet()
    assert await count(house, "volumes") == 1


async def test_concurrent_duplicates_connect_once(house: House) -> None:
    send = Sender(house.client)
    body = {"attachment": {"volume_uuid": await house.volume(), "connector": {"host": "compute1"}}}
    replies = await asyncio.gather(*(send("/attachments", body) for _ in range(20)))
    assert {(reply.status_code, reply.content) for reply in replies} == {(200, replies[0].content)}
    assert await count(house, "attachments") == 1


@pytest.mark.parametrize("name", ["POST /volumes", "POST /attachments with a connector"])
async def test_a_request_that_dies_at_any_instant_is_done_once(house: House, name: str) -> None:
    await check_done_once(BlockStorage(house), lambda: POSTS[name](house))
