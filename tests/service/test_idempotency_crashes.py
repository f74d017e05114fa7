"""Idempotency-Key when the api process dies: at every instant of every POST, the same is true.

The request, sent again to another process, gives the answer of an undisturbed one and leaves the
same behind; sent a third time, it gives that answer word for word and leaves nothing more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from breezeblock.api.routes import ROUTES
from breezeblock.store.store import Store
from breezeblock.web.app import make_app
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.service import block_storage
from tests.service.catalog_fixture import POLICY, PROJECT, Personas
from tests.service.footprint import contents
from tests.service.house import House, open_house
from tests.service.mortal import MortalStore, Post, check_done_once
from tests.service.posts import POSTS

NO_LIMIT = {"volumes": -1, "snapshots": -1, "gigabytes": -1}


@dataclass(frozen=True)
class BlockStorage:
    """The block storage API, for `check_done_once`."""

    house: House

    @property
    def client(self) -> httpx2.AsyncClient:
        return self.house.client

    @property
    def store(self) -> Store:
        return self.house.app.store

    def dying(self, store: MortalStore) -> Any:
        return make_app(
            block_storage(),
            ROUTES,
            app=replace(self.house.app, store=store),  # type: ignore[arg-type]
            authenticator=Personas(),
            policy=POLICY,
            idempotency=Idempotency(store, lease=20.0, patience=5.0),  # type: ignore[arg-type]
        )

    def request(self, post: Post, key: str | None) -> dict[str, Any]:
        headers = {
            "X-Auth-Token": f"{post.role}-user:{PROJECT}:{post.role}",
            "OpenStack-API-Version": "volume 3.71",
            **({"Idempotency-Key": key} if key else {}),
        }
        return {"url": f"/v3{post.path}", "json": post.body, "headers": headers}

    async def contents(self) -> Counter[Any]:
        return await contents(self.store)

    async def quiet(self) -> None:
        await self.house.quiet()


def test_there_is_a_request_for_every_post_of_the_api() -> None:
    wanted = {route.describe() for route in ROUTES if route.method == "POST"}
    assert {name for name in wanted if name not in POSTS} == set()


@pytest.mark.parametrize("name", POSTS)
async def test_a_request_that_dies_at_any_instant_is_done_once(tmp_path: Path, name: str) -> None:
    async with open_house(tmp_path, quota=NO_LIMIT) as house:
        await check_done_once(BlockStorage(house), lambda: POSTS[name](house))


async def test_the_successor_may_die_as_well(tmp_path: Path) -> None:
    name = "POST /attachments with a connector"
    async with open_house(tmp_path, quota=NO_LIMIT) as house:
        await check_done_once(BlockStorage(house), lambda: POSTS[name](house), deaths=2)
