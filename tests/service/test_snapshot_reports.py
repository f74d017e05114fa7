"""os-update_snapshot_status: saying how far a snapshot is, and what comes of saying it wrongly."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx2
import pytest

from breezeblock.model.invariants import check_live
from breezeblock.store import facts
from tests.service.catalog_fixture import Caller
from tests.service.house import House


async def report(
    house: House, snapshot: str, caller: Caller | None = None, **said: Any
) -> httpx2.Response:
    body = {"os-update_snapshot_status": said}
    return await (caller or house.member).post(f"/snapshots/{snapshot}/action", body)


async def reset(house: House, snapshot: str, status: str) -> None:
    body = {"os-reset_status": {"status": status}}
    reply = await house.admin.post(f"/snapshots/{snapshot}/action", body)
    assert reply.status_code == 202, reply.text


async def shown(house: House, snapshot: str) -> tuple[str, str]:
    """Status and progress."""
    found = (await house.member.get(f"/snapshots/{snapshot}")).json()["snapshot"]
    return found["status"], found["os-extended-snapshot-attributes:progress"]


async def assert_sound(house: House) -> None:
    rows = await house.app.store.read(facts.read)
    held = {"node1@fast": house.driver.inventory()}
    assert [str(one) for one in check_live(rows, held)] == []


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ("creating", {"creating", "available", "error"}),
        ("deleting", {"deleting", "error_deleting"}),
        ("available", set()),
        ("error", set()),
        ("error_deleting", set()),
    ],
)
async def test_what_may_be_said_depends_on_the_status(
    house: House, status: str, allowed: set[str]
) -> None:
    snapshot = await house.snapshot(await house.volume())
    for said in ("creating", "available", "error", "deleting", "error_deleting", "Error", "x"):
        await reset(house, snapshot, status)
        reply = await report(house, snapshot, status=said)
        assert reply.status_code == (202 if said in allowed else 400)
        assert (await shown(house, snapshot))[0] == (said if said in allowed else status)
    await assert_sound(house)


async def test_the_progress_is_taken_over(house: House) -> None:
    snapshot = await house.snapshot(await house.volume())
    await reset(house, snapshot, "creating")
    assert (await report(house, snapshot, status="creating", progress="7%")).status_code == 202
    assert await shown(house, snapshot) == ("creating", "7%")
    assert (await report(house, snapshot, status="creating", progress=None)).status_code == 202
    assert (await report(house, snapshot, status="creating", progress="")).status_code == 202
    assert await shown(house, snapshot) == ("creating", "7%")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"status": None},
        {"status": 1},
        {"status": "creating", "progress": "101%"},
        {"status": "creating", "progress": "-1%"},
        {"status": "creating", "progress": "7"},
        {"status": "creating", "progress": "x%"},
        {"status": "creating", "progress": "٣%"},
        {"status": "creating", "progress": 7},
        {"status": "creating", "x": 1},
    ],
)
async def test_a_wrong_report_is_refused(house: House, said: dict[str, Any]) -> None:
    snapshot = await house.snapshot(await house.volume())
    await reset(house, snapshot, "creating")
    assert (await report(house, snapshot, **said)).status_code == 400
    assert (await shown(house, snapshot))[0] == "creating"


async def test_who_may_report(house: House) -> None:
    snapshot = await house.snapshot(await house.volume())
    await reset(house, snapshot, "creating")
    replies = [
        await report(house, snapshot, house.other, status="available"),
        await report(house, snapshot, house.reader, status="available"),
        await report(house, "nope", status="available"),
        await report(house, snapshot, house.admin, status="available"),
    ]
    assert [one.status_code for one in replies] == [404, 403, 404, 202]


async def test_work_that_is_open_says_itself_what_came_of_it(house: House) -> None:
    volume = await house.volume()
    gate = house.driver.gates["snapshot"] = threading.Event()
    reply = await house.member.post("/snapshots", {"snapshot": {"volume_id": volume}})
    snapshot = reply.json()["snapshot"]["id"]
    while ("snapshot", snapshot) not in house.driver.calls:
        await asyncio.sleep(0.01)
    reply = await report(house, snapshot, status="error", progress="50%")
    assert reply.status_code == 202
    assert await shown(house, snapshot) == ("creating", "50%")
    gate.set()
    await house.quiet()
    assert await shown(house, snapshot) == ("available", "100%")
    await assert_sound(house)


@pytest.mark.parametrize(("held", "status"), [(True, "available"), (False, "error")])
async def test_in_the_end_the_backend_bears_it_out(house: House, held: bool, status: str) -> None:
    snapshot = await house.snapshot(await house.volume())
    await reset(house, snapshot, "creating")
    if not held:
        house.driver.snapshots.clear()
    assert (await report(house, snapshot, status="available")).status_code == 202
    await house.come_due("check_snapshot")
    assert (await shown(house, snapshot))[0] == status
    await assert_sound(house)
