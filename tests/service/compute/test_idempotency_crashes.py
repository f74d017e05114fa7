"""Idempotency-Key when the compute API's process dies at any instant of any POST."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from breezeblock.compute.api.routes import ROUTES
from breezeblock.compute.workflows import create_server
from breezeblock.store.store import Store
from breezeblock.web.app import make_app
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.service import compute
from tests.service.catalog_fixture import PROJECT
from tests.service.compute.cloud import POLICY, ComputeCloud, Tokens, open_compute
from tests.service.footprint import contents
from tests.service.house import open_house
from tests.service.mortal import MortalStore, Post, check_done_once

NO_LIMIT = {"volumes": -1, "snapshots": -1, "gigabytes": -1}
TINY = {"name": "one", "flavorRef": "tiny", "networks": "none"}


@dataclass(frozen=True)
class Compute:
    """The compute API, for `check_done_once`. Block storage has a footprint, too."""

    cloud: ComputeCloud

    @property
    def client(self) -> httpx2.AsyncClient:
        return self.cloud.client

    @property
    def store(self) -> Store:
        return self.cloud.app.store

    def dying(self, store: MortalStore) -> Any:
        return make_app(
            compute(),
            ROUTES,
            app=replace(self.cloud.app, store=store),  # type: ignore[arg-type]
            authenticator=Tokens(),
            policy=POLICY,
            idempotency=Idempotency(store, lease=20.0, patience=5.0),  # type: ignore[arg-type]
        )

    def request(self, post: Post, key: str | None) -> dict[str, Any]:
        headers = {
            "X-Auth-Token": f"{post.role}-user:{PROJECT}:{post.role}",
            "OpenStack-API-Version": "compute 2.90",
            **({"Idempotency-Key": key} if key else {}),
        }
        return {"url": f"/v2.1{post.path}", "json": post.body, "headers": headers}

    async def contents(self) -> Counter[Any]:
        return await contents(self.store) + await contents(self.cloud.house.app.store)

    async def quiet(self) -> None:
        """Until nothing is done any more; what waits for a request to be repeated may wait."""
        await self.cloud.quiet(waits_for=create_server.FOR_API)


async def _create(cloud: ComputeCloud) -> Post:
    return Post("/servers", {"server": TINY})


async def _create_with_a_volume(cloud: ComputeCloud) -> Post:
    disk = {"source_type": "volume", "uuid": await cloud.house.volume(), "boot_index": "0"}
    return Post("/servers", {"server": {**TINY, "block_device_mapping_v2": [disk]}})


async def _create_with_a_volume_to_be_made(cloud: ComputeCloud) -> Post:
    disk = {"source_type": "blank", "destination_type": "volume", "volume_size": 1}
    return Post("/servers", {"server": {**TINY, "block_device_mapping_v2": [disk]}})


async def _create_several(cloud: ComputeCloud) -> Post:
    return Post("/servers", {"server": {**TINY, "min_count": 2}})


async def _attach(cloud: ComputeCloud) -> Post:
    server, volume = await cloud.server(), await cloud.house.volume()
    body = {"volumeAttachment": {"volumeId": volume}}
    return Post(f"/servers/{server}/os-volume_attachments", body)


async def _stop(cloud: ComputeCloud) -> Post:
    return Post(f"/servers/{await cloud.server()}/action", {"os-stop": None})


async def _start(cloud: ComputeCloud) -> Post:
    server = await cloud.server()
    await cloud.act(server, "os-stop")
    await cloud.quiet()
    return Post(f"/servers/{server}/action", {"os-start": None})


async def _reboot(cloud: ComputeCloud) -> Post:
    return Post(f"/servers/{await cloud.server()}/action", {"reboot": {"type": "HARD"}})


async def _volumes_grew(cloud: ComputeCloud) -> Post:
    server = await cloud.server()
    volumes = [await cloud.house.volume(), await cloud.house.volume()]
    for volume in volumes:
        await cloud.attach(server, volume)
    events = [{"name": "volume-extended", "server_uuid": server, "tag": one} for one in volumes]
    return Post("/os-server-external-events", {"events": events}, "admin")


POSTS: dict[str, Callable[[ComputeCloud], Awaitable[Post]]] = {
    "POST /servers": _create,
    "POST /servers with a volume": _create_with_a_volume,
    "POST /servers with a volume to be made": _create_with_a_volume_to_be_made,
    "POST /servers several": _create_several,
    "POST /servers/{server_id}/os-volume_attachments": _attach,
    "POST /servers/{server_id}/action (os-stop)": _stop,
    "POST /servers/{server_id}/action (os-start)": _start,
    "POST /servers/{server_id}/action (reboot)": _reboot,
    "POST /os-server-external-events": _volumes_grew,
}


def test_there_is_a_request_for_every_post_of_the_api() -> None:
    wanted = {route.describe() for route in ROUTES if route.method == "POST"}
    assert {name for name in wanted if name not in POSTS} == set()


@pytest.mark.parametrize("name", POSTS)
async def test_a_request_that_dies_at_any_instant_is_done_once(tmp_path: Path, name: str) -> None:
    async with (
        open_house(tmp_path, authenticator=Tokens(), quota=NO_LIMIT) as house,
        open_compute(tmp_path, house) as cloud,
    ):
        await check_done_once(Compute(cloud), lambda: POSTS[name](cloud))
