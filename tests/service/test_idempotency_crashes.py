"""Idempotency-Key when the api process dies: at every instant of every POST, the same is true.

The request, sent again to another process, gives the answer of an undisturbed one and leaves the
same behind; sent a third time, it gives that answer word for word and leaves nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from breezeblock.api.routes import ROUTES
from breezeblock.model.ids import new_id
from breezeblock.web.app import make_app
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.service import block_storage
from tests.service.catalog_fixture import POLICY, PROJECT, Personas
from tests.service.footprint import contents, footprint, told
from tests.service.house import House, open_house
from tests.service.mortal import MortalStore, lapse, sent_to
from tests.service.posts import POSTS, Post

NO_LIMIT = {"volumes": -1, "snapshots": -1, "gigabytes": -1}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, quota=NO_LIMIT) as opened:
        yield opened


def test_there_is_a_request_for_every_post_of_the_api() -> None:
    wanted = {route.describe() for route in ROUTES if route.method == "POST"}
    assert {name for name in wanted if name not in POSTS} == set()


@pytest.mark.parametrize("name", POSTS)
async def test_a_request_that_dies_at_any_instant_is_done_once(house: House, name: str) -> None:
    plain = await POSTS[name](house)
    before = await contents(house.app.store)
    expected = told(await house.client.post(**_request(plain)))
    assert expected[0] < 300, expected
    await house.quiet()
    left = footprint(before, await contents(house.app.store))

    for instant in range(100):
        post = await POSTS[name](house)
        before = await contents(house.app.store)
        request = _request(post, new_id())
        survived, hanging = await _died(house, instant, request)
        await house.quiet()
        await lapse(house.app.store)
        second = await house.client.post(**request)
        await house.quiet()
        third = await house.client.post(**request)
        await house.quiet()
        assert told(second) == expected, f"instant {instant}"
        assert footprint(before, await contents(house.app.store)) == left, f"instant {instant}"
        assert (third.status_code, third.content) == (second.status_code, second.content)
        assert third.headers["idempotency-replayed"] == "true"
        hanging.cancel()
        if survived:
            assert instant > 3
            return
    raise AssertionError("the request never came to its end")


def _request(post: Post, key: str | None = None) -> dict[str, Any]:
    headers = {
        "X-Auth-Token": f"{post.role}-user:{PROJECT}:{post.role}",
        "OpenStack-API-Version": "volume 3.71",
        **({"Idempotency-Key": key} if key else {}),
    }
    return {"url": f"/v3{post.path}", "json": post.body, "headers": headers}


async def _died(
    house: House, instant: int, request: dict[str, Any]
) -> tuple[bool, asyncio.Task[Any]]:
    """Send the request to a process that dies at this instant; whether it answered before."""
    store = MortalStore(house.app.store, instant)
    asgi = make_app(
        block_storage(),
        ROUTES,
        app=replace(house.app, store=store),
        authenticator=Personas(),
        policy=POLICY,
        idempotency=Idempotency(store, lease=20.0, patience=5.0),  # type: ignore[arg-type]
    )
    answer, hanging = await sent_to(store, asgi, "POST", **request)
    return answer is not None, hanging
