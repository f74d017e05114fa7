"""Volumes that are made for a new server: in its owner's project, and never left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from breezeblock.compute.api import made_volumes
from breezeblock.compute.api.routes import ROUTES
from breezeblock.compute.workflows import create_server
from breezeblock.model.errors import Unavailable
from breezeblock.operations.submit import Caller
from breezeblock.store import operations, servers
from breezeblock.store.store import WriteTx
from breezeblock.web.app import make_app
from breezeblock.web.service import compute
from tests.service.compute.cloud import POLICY, ComputeCloud, Tokens, open_compute
from tests.service.house import House

SERVICE_USER = "nova:services:admin"
NOWHERE = "00000000-0000-4000-8000-000000000000"
BLANK = {"source_type": "blank", "destination_type": "volume", "volume_size": 1}


async def nothing_is_left(cloud: ComputeCloud) -> bool:
    """No server, and none of the volumes that were made for one."""
    await cloud.quiet()
    volumes = (await cloud.house.member.get("/volumes")).json()["volumes"]
    servers = (await cloud.member.call("GET", "/servers")).json()["servers"]
    return (volumes, servers, cloud.house.driver.sizes) == ([], [], {})


async def ask_for(cloud: ComputeCloud, *devices: Any, **headers: str) -> httpx2.Response:
    """POST /servers with these devices."""
    wanted = {"name": "one", "flavorRef": "tiny", "block_device_mapping_v2": devices}
    sent = {"X-Auth-Token": cloud.member.token, **headers}
    body = {"server": wanted}
    return await cloud.client.request("POST", "/v2.1/servers", json=body, headers=sent)


async def test_a_volume_that_cannot_be_made_fails_the_server(cloud: ComputeCloud) -> None:
    await cloud.house.new_type("nowhere", extra_specs={"volume_backend_name": "none"})
    device = {**BLANK, "volume_type": "nowhere"}
    shown = await cloud.show(await cloud.server(block_device_mapping_v2=[BLANK, device]))
    assert shown["status"] == "ERROR"
    assert "could not be made" in shown["fault"]["message"]
    assert (await cloud.house.member.get("/volumes")).json()["volumes"] == []
    assert cloud.house.driver.sizes == {}


@pytest.mark.parametrize(
    ("device", "status", "says"),
    [
        ({**BLANK, "volume_size": 5000}, 403, "VolumeSizeExceedsAvailableQuota"),
        ({**BLANK, "volume_type": "unheard-of"}, 400, "unheard-of"),
        ({**BLANK, "source_type": "snapshot", "uuid": NOWHERE}, 400, NOWHERE),
        ({**BLANK, "source_type": "image", "uuid": NOWHERE}, 400, NOWHERE),
    ],
)
async def test_what_block_storage_does_not_want_to_make_is_said_at_once(
    cloud: ComputeCloud, device: Any, status: int, says: str
) -> None:
    reply = await ask_for(cloud, BLANK, device)
    assert (reply.status_code, says in reply.text) == (status, True), reply.text
    assert await nothing_is_left(cloud)


async def test_a_block_storage_that_stays_away_leaves_no_server(cloud: ComputeCloud) -> None:
    cloud.network.fail("POST", "/volumes", 503, times=4)
    assert (await ask_for(cloud, BLANK)).status_code == 503
    assert await nothing_is_left(cloud)


async def test_one_that_comes_back_is_asked_again(cloud: ComputeCloud) -> None:
    cloud.network.fail("POST", "/volumes", 503, times=1)
    server = await cloud.server(block_device_mapping_v2=[BLANK])
    assert list(cloud.disks(server).values()) == ["/dev/vdb"]


async def test_with_a_key_the_request_goes_on_when_block_storage_is_back(
    cloud: ComputeCloud,
) -> None:
    cloud.network.fail("POST", "/volumes", 503, times=4)
    first = await ask_for(cloud, BLANK, **{"Idempotency-Key": "once"})
    assert first.status_code == 503
    again = await ask_for(cloud, BLANK, **{"Idempotency-Key": "once"})
    assert again.status_code == 202, again.text
    await cloud.quiet()
    assert list(cloud.disks(again.json()["server"]["id"]).values()) == ["/dev/vdb"]
    assert len(cloud.house.driver.sizes) == 1


async def test_a_server_whose_volumes_nobody_makes_says_so(
    still: ComputeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API's process has died over it, after block storage had made the first one."""

    async def die(*_args: Any) -> None:
        raise Unavailable("killed")

    monkeypatch.setattr(made_volumes, "make", die)
    monkeypatch.setattr(create_server, "LOOKS_FOR_API", 1)
    assert (await ask_for(still, BLANK)).status_code == 503
    [server] = (await still.member.call("GET", "/servers")).json()["servers"]
    await still.house.volume(name=f"{server['id']}-vdb")
    await still.drive()
    shown = await still.show(server["id"])
    assert (shown["status"], "were not made" in shown["fault"]["message"]) == ("ERROR", True)
    assert still.house.driver.sizes == {}


async def test_volumes_that_are_made_too_late_go(
    still: ComputeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API's process slept until the server was given up."""
    ordinary = create_server.hand_over

    def too_late(tx: WriteTx, caller: Caller, ordered: create_server.Ordered, made: Any) -> None:
        servers.delete(tx, ordered.server.id)
        operations.amend(tx, operations.lock_open(tx, ordered.server.id).id, state="failed")
        ordinary(tx, caller, ordered, made)

    monkeypatch.setattr(create_server, "hand_over", too_late)
    assert (await ask_for(still, BLANK)).status_code == 202
    await still.house.quiet()
    assert len(still.house.driver.sizes) == 1
    await still.drive()
    assert await nothing_is_left(still)


# -- block storage behind a password, or a token: one service user makes compute's calls ----------


@pytest.fixture
async def guarded(tmp_path: Path, house: House) -> AsyncIterator[ComputeCloud]:
    async with open_compute(tmp_path, house, service_user=SERVICE_USER) as opened:
        yield opened


async def test_a_service_user_has_them_made_in_the_callers_project(guarded: ComputeCloud) -> None:
    server = await guarded.server(block_device_mapping_v2=[BLANK])
    [volume] = guarded.disks(server)
    shown = (await guarded.house.member.get(f"/volumes/{volume}")).json()["volume"]
    assert (shown["name"], shown["status"]) == (f"{server}-vdb", "in-use")
    assert shown["user_id"] == "member-user"


async def test_a_service_user_finds_them_again_to_remove_them(guarded: ComputeCloud) -> None:
    reply = await ask_for(guarded, BLANK, {**BLANK, "volume_size": 5000})
    assert reply.status_code == 403
    assert await nothing_is_left(guarded)


async def test_where_callers_cannot_be_passed_on_nothing_is_made(guarded: ComputeCloud) -> None:
    storage = replace(guarded.app.block_storage, callers_header="")
    told = replace(guarded.app, block_storage=storage)
    app = make_app(compute(), ROUTES, app=told, authenticator=Tokens(), policy=POLICY)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://cloud") as client:
        reply = await ask_for(replace(guarded, client=client), BLANK)
    assert (reply.status_code, "create the volume first" in reply.text) == (400, True)
    assert await nothing_is_left(guarded)
