"""Creating a volume: which way the work goes when backends are slow, fail, or are away."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError, StillWorking, TemporaryError
from breezeblock.operations import sweep
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.store import services
from breezeblock.store.tables import operations
from breezeblock.workflows import create_volume
from breezeblock.workflows.pool_view import PoolView
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house


async def operation_of(house: House, volume: str) -> dict:
    reply = await house.admin.get(f"/operations?resource_id={volume}")
    return reply.json()["operations"][0]


async def test_the_errors_of_pools_that_failed_stay_readable(tmp_path: Path) -> None:
    drivers = [FakeDriver("a", 3000), FakeDriver("b", 2000), FakeDriver("c")]
    drivers[0].failures["create"] = PermanentError("no licence")
    drivers[1].failures["create"] = TemporaryError("busy", retry_after=0.0)
    async with open_house(tmp_path, drivers) as house:
        volume = await house.volume()
        assert (await house.row(volume)).host == "node1@c#pool0"
        operation = await operation_of(house, volume)
    assert operation["state"] == "succeeded"
    assert operation["failed_pools"] == [
        {"pool": "node1@a#pool0", "error": "no licence"},
        {"pool": "node1@b#pool0", "error": "busy"},
    ]
    assert [entry["queue"] for entry in operation["trail"] if "queue" in entry] == [
        "scheduler",
        "volume.node1@a",
        *["volume.node1@b"] * 3,  # "not now" is asked for three times
        "volume.node1@c",
    ]
    assert ("delete", volume) in drivers[0].calls, "what a failed create may have left is removed"


async def test_a_backend_that_is_only_slow_is_waited_for(house: House) -> None:
    source = await house.volume()
    house.driver.failures["create"] = StillWorking("copying", retry_after=0.01)
    reply = await house.member.post("/volumes", {"volume": {"size": 1, "source_volid": source}})
    volume = reply.json()["volume"]["id"]
    while house.driver.calls.count(("create", volume)) < 12:
        await asyncio.sleep(0.01)
    assert await house.status(volume) == "creating"
    house.driver.failures.clear()
    await house.quiet()
    assert await house.status(volume) == "available"


async def test_work_for_a_backend_that_is_down_goes_to_the_next_pool(tmp_path: Path) -> None:
    drivers = [FakeDriver("first", 3000), FakeDriver("second")]
    drivers[0].failures["create"] = TemporaryError("away", retry_after=3600.0)
    async with open_house(tmp_path, drivers) as house:
        reply = await house.member.post("/volumes", {"volume": {"size": 1}})
        volume = reply.json()["volume"]["id"]
        while ("create", volume) not in drivers[0].calls:
            await asyncio.sleep(0.01)
        engine = house.engine
        assert await sweep.move_on_stranded(engine, 60) == 0, "a service that is up is waited for"

        def down(tx) -> None:
            services.withdraw(tx, "cinder-volume", "node1@first")
            tx.run(operations.update().values(due_at=0.0))

        await house.app.store.write(down)
        assert await sweep.move_on_stranded(engine, 0) == 1
        await house.quiet()
        assert (await house.row(volume)).host == "node1@second#pool0"


async def test_a_volume_asked_for_before_any_backend_reported_waits(tmp_path: Path) -> None:
    async with open_house(tmp_path, []) as house:
        reply = await house.member.post("/volumes", {"volume": {"size": 1}})
        volume = reply.json()["volume"]["id"]
        await asyncio.sleep(0.3)
        assert await house.status(volume) == "creating"
        notes = [entry.get("note") for entry in (await operation_of(house, volume))["trail"]]
        assert "no backend is up yet" in notes


async def test_without_room_the_user_reads_why_with_numbers(tmp_path: Path) -> None:
    async with open_house(tmp_path, [FakeDriver("small", 2.0)]) as house:
        volume = await house.volume(size=500)
        assert await house.status(volume) == "error"
        (message,) = (await house.member.get("/messages")).json()["messages"]
    assert message["resource_uuid"] == volume
    assert message["event_id"] == "VOLUME_VOLUME_001_003"
    assert "500" in message["user_message"]
    assert "small" not in message["user_message"]
    assert "\n" not in message["user_message"]


async def test_a_creation_that_nobody_ended_leaves_a_volume_that_can_be_deleted(
    house: House,
) -> None:
    """The driver has made it, the worker died before it could say so, and time ran out."""
    gate = house.driver.gates["create"] = threading.Event()
    reply = await house.member.post("/volumes", {"volume": {"size": 1}})
    volume = str(reply.json()["volume"]["id"])
    while ("create", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    died = {"opened_at": 1.0, "due_at": 1.0, "lease_until": 1.0}
    await house.app.store.write(lambda tx: tx.run(operations.update().values(died)))
    assert house.engine is not None
    assert await sweep.end_overdue(house.engine, 3600.0) == 1
    assert await house.status(volume) == "error"
    gate.set()
    while volume not in house.driver.sizes:
        await asyncio.sleep(0.01)
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 202
    await house.quiet()
    assert await house.status(volume) == "gone"
    assert house.driver.sizes == {}


async def test_nobody_chooses_between_a_choice_and_its_booking(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL creations are scheduled on several threads: they could take the same space."""
    chosen, free = threading.Event(), threading.Event()
    choose, book = create_volume.choose, PoolView.book

    def chosen_now(pools: PoolTable, *others: Any) -> Any:
        threading.Thread(target=look, args=(pools,)).start()
        return choose(pools, *others)

    def look(pools: PoolTable) -> None:
        with pools.lock:
            free.set()

    def booked(view: PoolView, *others: Any) -> None:
        assert not free.wait(0.2), "another one could have looked"
        book(view, *others)
        chosen.set()

    monkeypatch.setattr(create_volume, "choose", chosen_now)
    monkeypatch.setattr(PoolView, "book", booked)
    await house.volume()
    assert chosen.is_set()
    assert await asyncio.to_thread(free.wait, 10)
