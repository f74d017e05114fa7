"""The scheduler's pools, and the capabilities of a backend, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from breezeblock.api import capabilities, pools, services, types
from breezeblock.store import services as rows
from tests.service.catalog_fixture import Cloud, open_cloud

FAST: dict[str, Any] = {
    "total_capacity_gb": 100,
    "free_capacity_gb": 40,
    "tier": "gold",
    "multiattach": True,
}
FULL: dict[str, Any] = {
    "total_capacity_gb": 0,
    "free_capacity_gb": 0,
    "tier": "iron",
    "multiattach": False,
}
ROUTES = (*pools.ROUTES, *types.ROUTES, *services.ROUTES, *capabilities.ROUTES)


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, ROUTES) as opened:
        await opened.report_backend("h@b", fast=FAST, full=FULL)
        yield opened


async def names(cloud: Cloud, query: str = "", version: str = "3.71") -> list[str]:
    reply = await cloud.admin.get(f"/scheduler-stats/get_pools{query}", version)
    assert reply.status_code == 200, reply.text
    return [pool["name"] for pool in reply.json()["pools"]]


async def test_pools_have_names_only(cloud: Cloud) -> None:
    reply = await cloud.admin.get("/scheduler-stats/get_pools")
    assert reply.json() == {"pools": [{"name": "h@b#fast"}, {"name": "h@b#full"}]}


async def test_detail_adds_what_the_pool_reported(cloud: Cloud) -> None:
    reply = await cloud.admin.get("/scheduler-stats/get_pools?detail=True")
    found = reply.json()["pools"][0]["capabilities"]
    assert FAST.items() <= found.items()
    assert len(found["timestamp"]) == len("2026-01-31T10:20:30.000000")


async def test_what_was_placed_is_counted(cloud: Cloud) -> None:
    await cloud.report_backend("h@b", **{"7": FAST})
    await cloud.new_volume("__DEFAULT__", 7)
    reply = await cloud.admin.get("/scheduler-stats/get_pools?detail=1")
    assert reply.json()["pools"][0]["capabilities"]["allocated_capacity_gb"] == 7


async def test_a_pool_whose_service_takes_no_work_is_not_listed(cloud: Cloud) -> None:
    named = {"binary": "cinder-volume", "host": "h@b"}
    await cloud.admin.put("/os-services/disable", named)
    assert await names(cloud) == []
    await cloud.admin.put("/os-services/enable", named)
    await cloud.admin.put("/os-services/freeze", {"host": "h@b"})
    assert await names(cloud) == []
    await cloud.admin.put("/os-services/thaw", {"host": "h@b"})
    await cloud.app.store.write(lambda tx: rows.withdraw(tx, "cinder-volume", "h@b"))
    assert await names(cloud) == []


async def test_filters_begin_with_3_28(cloud: Cloud) -> None:
    assert await names(cloud, "?name=h@b%23full", "3.27") == ["h@b#fast", "h@b#full"]
    assert await names(cloud, "?name=h@b%23full", "3.28") == ["h@b#full"]


async def test_up_to_3_30_any_capability_filters_by_its_own_kind(cloud: Cloud) -> None:
    assert await names(cloud, "?tier=gold", "3.30") == ["h@b#fast"]
    assert await names(cloud, "?multiattach=false", "3.30") == ["h@b#full"]
    assert await names(cloud, "?free_capacity_gb=40.0", "3.30") == ["h@b#fast"]
    assert await names(cloud, "?nosuch=1", "3.30") == []


async def test_from_3_31_only_the_listed_filters_are_taken(cloud: Cloud) -> None:
    reply = await cloud.admin.get("/scheduler-stats/get_pools?tier=gold", "3.31")
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])


async def test_a_volume_type_passes_the_pools_through_the_filters_without_a_size(
    cloud: Cloud,
) -> None:
    made = await cloud.new_type("gold", extra_specs={"tier": "gold"})
    iron = await cloud.new_type("iron", extra_specs={"tier": "iron"})
    assert await names(cloud, "?volume_type=gold") == ["h@b#fast"]
    assert await names(cloud, f"?volume_type={made['id']}") == ["h@b#fast"]
    assert await names(cloud, f"?volume_type={iron['id']}") == ["h@b#full"]
    assert len(await names(cloud, "?volume_type=gold", "3.34")) == 2


async def test_an_unknown_volume_type_is_not_found(cloud: Cloud) -> None:
    reply = await cloud.admin.get("/scheduler-stats/get_pools?volume_type=nope")
    assert reply.status_code == 404


async def test_a_wrong_detail_is_refused(cloud: Cloud) -> None:
    assert (await cloud.admin.get("/scheduler-stats/get_pools?detail=maybe")).status_code == 400


async def test_pools_are_for_administrators(cloud: Cloud) -> None:
    assert (await cloud.member.get("/scheduler-stats/get_pools")).status_code == 403


async def test_capabilities_are_what_the_backend_reported(cloud: Cloud) -> None:
    reply = await cloud.admin.get("/capabilities/h@b")
    found = reply.json()
    assert reply.status_code == 200
    assert found["namespace"] == "OS::Storage::Capabilities::h@b"
    assert found["pool_name"] == "fast"
    assert found["replication_targets"] == []
    assert list(found["properties"]) == ["multiattach"]
    assert found["properties"]["multiattach"]["type"] == "boolean"


async def test_a_machine_stands_for_its_backend(cloud: Cloud) -> None:
    shown = (await cloud.admin.get("/capabilities/h")).json()
    assert shown["namespace"] == "OS::Storage::Capabilities::h@b"


async def test_capabilities_of_an_unknown_backend_are_not_found(cloud: Cloud) -> None:
    for host in ("h@nope", "nope", "h@b%23fast", "h@"):
        assert (await cloud.admin.get(f"/capabilities/{host}")).status_code == 404
    assert (await cloud.member.get("/capabilities/h@b")).status_code == 403
