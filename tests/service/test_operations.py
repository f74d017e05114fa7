"""What became of a request: the view of operations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from breezeblock.api import operations
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.scheduler.filters import CapacityFilter
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.ranking import rank
from breezeblock.scheduler.request import Request
from breezeblock.scheduler.weighers import CapacityWeigher
from breezeblock.store import operations as rows
from breezeblock.store.store import WriteTx
from breezeblock.workflows.create_volume import Data
from tests.service.catalog_fixture import PROJECT, Cloud, open_cloud

IDENT = "22222222-2222-4222-8222-222222222222"
VOLUME = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, operations.ROUTES) as opened:
        yield opened


async def failed_create(
    cloud: Cloud, request_id: str = "req-1", ident: str = IDENT, resource: str = VOLUME
) -> None:
    """A create that went to the scheduler, tried the one pool that fits, and failed."""
    room = {"total_capacity_gb": 100, "free_capacity_gb": 100}
    pools = [
        Pool("secrethost@b#roomy", "secrethost@b", "nova", room),
        Pool("secrethost@b#full", "secrethost@b", "nova", {**room, "free_capacity_gb": 1}),
        Pool("otherhost@b#off", "otherhost@b", "nova", room, enabled=False),
    ]
    ranking = rank(pools, Request(size=5), [CapacityFilter()], [CapacityWeigher()])
    data = Data(
        type_name="gold",
        candidates=("secrethost@b#roomy",),
        ranking=msgspec.to_builtins(ranking),
        tried=({"pool": "secrethost@b#roomy", "error": "the disk is on fire"},),
    )

    def write(tx: WriteTx) -> None:
        operation = Operation(
            id=ident,
            workflow="create_volume",
            resource_type="volume",
            resource_id=resource,
            project_id=PROJECT,
            user_id="u",
            request_id=request_id,
            step="build",
            queue="volume.secrethost@b",
            data=msgspec.to_builtins(data),
            trail=[{"event": "accepted", "step": "api", "at": tx.clock()}],
        )
        rows.insert(tx, operation)
        held = rows.claim(tx, ident, operation.queue, "secrethost:1:2", 60)
        assert held is not None
        failure = Failure("backend", "The backend refused.", "fire", "Buy water.", True)
        rows.advance(
            tx,
            held,
            {"event": "failed", "step": "build", "worker": "secrethost:1:2", "seconds": 0.5}
            | {"note": "secrethost@b#roomy failed", "epoch": 1, "queue": operation.queue},
            state="failed",
            ended_at=tx.clock(),
            failure=msgspec.to_builtins(failure),
            result={"connection_info": {"auth_password": "hush"}},
        )

    await cloud.app.store.write(write)


async def show(cloud: Cloud, role: str) -> dict[str, Any]:
    reply = await cloud.caller(role).get(f"/operations/{IDENT}", "3.0")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()["operation"]
    return found


async def test_an_operation_says_what_when_and_why(cloud: Cloud) -> None:
    await failed_create(cloud)
    found = await show(cloud, "admin")
    assert found["workflow"] == "create_volume"
    assert (found["resource_type"], found["resource_id"]) == ("volume", VOLUME)
    assert (found["state"], found["step"], found["request_id"]) == ("failed", "build", "req-1")
    assert [entry["event"] for entry in found["trail"]] == ["accepted", "failed"]
    for moment in (found["opened_at"], found["ended_at"], found["trail"][0]["at"]):
        assert len(moment) == len("2026-01-31T10:20:30.000000")
    assert found["failure"] == {
        "code": "backend",
        "message": "The backend refused.",
        "cause": "fire",
        "remedy": "Buy water.",
        "retryable": True,
    }


async def test_operators_see_candidates_refusals_and_failed_pools_by_name(cloud: Cloud) -> None:
    await failed_create(cloud)
    found = await show(cloud, "admin")
    placement = found["placement"]
    assert [one["pool"] for one in placement["candidates"]] == ["secrethost@b#roomy"]
    refused = [(one["pool"], one["filter"]) for one in placement["refusals"]]
    assert refused == [
        ("secrethost@b#full", "CapacityFilter"),
        ("otherhost@b#off", "Readiness"),
    ]
    assert "free 1.00 GiB" in placement["refusals"][0]["reason"]
    assert found["failed_pools"] == [{"pool": "secrethost@b#roomy", "error": "the disk is on fire"}]
    assert found["trail"][1]["worker"] == "secrethost:1:2"
    assert found["trail"][1]["note"] == "secrethost@b#roomy failed"


@pytest.mark.parametrize("role", ["member", "reader"])
async def test_owners_see_the_reasons_but_no_names(cloud: Cloud, role: str) -> None:
    await failed_create(cloud)
    found = await show(cloud, role)
    assert "secrethost" not in str(found)
    assert "otherhost" not in str(found)
    assert found["placement"]["summary"][0] == "1 of 3 pools can take the request:"
    assert any("free 1.00 GiB" in line for line in found["placement"]["summary"])
    assert found["failed_pools"] == [{"error": "the disk is on fire"}]
    assert found["failure"]["remedy"] == "Buy water."
    assert sorted(found["trail"][1]) == ["after", "at", "event", "seconds", "step"]


async def test_results_are_shown_to_nobody(cloud: Cloud) -> None:
    await failed_create(cloud)
    assert "hush" not in str(await show(cloud, "admin"))


async def test_operations_of_a_request_or_of_a_resource_are_listed(cloud: Cloud) -> None:
    await failed_create(cloud)
    await failed_create(cloud, "req-2", IDENT.replace("2", "3"))

    async def requests(query: str) -> list[str]:
        reply = await cloud.member.get(f"/operations?{query}")
        return [one["request_id"] for one in reply.json()["operations"]]

    assert await requests("request_id=req-1") == ["req-1"]
    assert await requests(f"resource_id={VOLUME}") == ["req-1", "req-2"]
    assert await requests(f"resource_id={VOLUME}&request_id=req-2") == ["req-2"]
    assert await requests("request_id=nope") == []


async def test_work_on_exports_belongs_to_the_volume_and_owners_do_not_see_the_host(
    cloud: Cloud,
) -> None:
    await failed_create(cloud, resource=f"{VOLUME}@computehost")

    async def resources(role: str) -> list[str]:
        reply = await cloud.caller(role).get(f"/operations?resource_id={VOLUME}")
        return [one["resource_id"] for one in reply.json()["operations"]]

    assert await resources("admin") == [f"{VOLUME}@computehost"]
    assert await resources("member") == [VOLUME]


async def test_the_trail_tells_seconds_since_the_request(cloud: Cloud) -> None:
    await failed_create(cloud)
    first, second = (await show(cloud, "member"))["trail"]
    assert first["after"] == 0
    assert second["after"] >= 0
    assert second["seconds"] == 0.5


async def test_a_list_needs_a_request_or_a_resource(cloud: Cloud) -> None:
    assert (await cloud.admin.get("/operations")).status_code == 400
    assert (await cloud.admin.get("/operations?request_id=")).status_code == 400


async def test_other_projects_see_nothing(cloud: Cloud) -> None:
    await failed_create(cloud)
    assert (await cloud.other.get(f"/operations/{IDENT}")).status_code == 404
    listed = await cloud.other.get(f"/operations?resource_id={VOLUME}")
    assert listed.json() == {"operations": []}


async def test_an_unknown_operation_is_not_found(cloud: Cloud) -> None:
    assert (await cloud.admin.get("/operations/nope")).status_code == 404
