"""When inventory sweeps are made: who asks for them, how many there are, what becomes of them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec

from breezeblock.drivers.base import Item, PermanentError, Volume
from breezeblock.model.ids import new_id
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.sweep_backend import KEPT, SETTLED, Data
from tests.engines.postgres import Postgres
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house
from tests.service.sweeps import BACKEND, sweep, sweeps, violations


async def test_however_many_ask_one_sweep_is_open_at_the_earliest_time(house: House) -> None:
    for delay in (600.0, 900.0, 300.0, 600.0):
        await house.app.store.write(
            lambda tx, delay=delay: sweep_backend.request(tx, BACKEND, delay=delay)
        )
    (planned,) = await sweeps(house)
    assert 295 < planned.due_at - planned.opened_at < 305


async def test_on_postgresql_many_who_ask_at_once_open_one_sweep(
    postgres: Postgres, tmp_path: Path
) -> None:
    database = postgres.create_database(f"sweeps_{new_id().replace('-', '')}")
    async with open_house(tmp_path, database=database) as house:

        async def ask(number: int) -> None:
            delay = 0.0 if number % 3 else 600.0
            await house.app.store.write(lambda tx: sweep_backend.request(tx, BACKEND, delay=delay))

        gone = await house.volume()
        await house.member.delete(f"/volumes/{gone}")
        await house.quiet()
        house.driver.create(Volume(gone, 1, "pool0"), None)
        await asyncio.gather(*(ask(number) for number in range(30)))
        await house.quiet()
        found = await sweeps(house)
        assert [one.is_open for one in found].count(True) <= 1
        assert {one.state for one in found} <= {"open", "succeeded"}
        assert house.driver.inventory() == []


async def test_who_asks_while_a_sweep_is_made_gets_another_one(house: House) -> None:
    looking, go_on = threading.Event(), threading.Event()
    inventory = house.driver.inventory

    def slow() -> list[Item]:
        looking.set()
        assert go_on.wait(30)
        return inventory()

    house.driver.inventory = slow  # type: ignore[method-assign]
    await house.app.store.write(lambda tx: sweep_backend.request(tx, BACKEND))
    await asyncio.to_thread(looking.wait, 30)
    await house.app.store.write(lambda tx: sweep_backend.request(tx, BACKEND))
    assert len(await sweeps(house)) == 1
    go_on.set()
    await house.quiet()
    assert [one.state for one in await sweeps(house)] == ["succeeded", "succeeded"]


async def test_a_dry_run_does_not_take_the_place_of_the_planned_sweep(house: House) -> None:
    await house.app.store.write(lambda tx: sweep_backend.request(tx, BACKEND, delay=600.0))
    (planned,) = await sweeps(house)
    await sweep(house, dry_run=True)
    dry, real = await sweeps(house)
    assert dry.id == planned.id and dry.result["dry_run"]
    assert real.is_open and abs(real.due_at - planned.due_at) < 1
    assert not msgspec.convert(real.data, Data).dry_run


async def test_ended_sweeps_do_not_pile_up(house: House) -> None:
    for _ in range(KEPT + 3):
        await sweep(house)
    assert len(await sweeps(house)) == KEPT


async def test_a_failing_sweep_tells_nobody_and_says_why(house: House) -> None:
    def broken() -> list[Item]:
        raise PermanentError("the array is locked", remedy="Unlock it.")

    house.driver.inventory = broken  # type: ignore[method-assign]
    await house.app.store.write(lambda tx: sweep_backend.request(tx, BACKEND))
    await house.quiet()
    (failed,) = await sweeps(house)
    assert failed.state == "failed"
    assert (failed.failure["cause"], failed.failure["remedy"]) == (
        "the array is locked",
        "Unlock it.",
    )
    del house.driver.inventory
    assert await violations(house) == []


async def test_a_pool_that_is_given_up_is_swept_once_a_frozen_worker_would_be_done(
    tmp_path: Path,
) -> None:
    drivers = [FakeDriver("first", 3000), FakeDriver("second")]
    drivers[0].failures["create"] = PermanentError("no licence")
    async with open_house(tmp_path, drivers) as house:
        await house.volume()
        (planned,) = await sweeps(house, "node1@first")
        assert SETTLED - 5 < planned.due_at - planned.opened_at <= SETTLED
        assert await sweeps(house, "node1@second") == []


async def test_a_worker_that_was_overtaken_has_its_backend_swept(house: House) -> None:
    """Its late create makes a volume anew that was deleted meanwhile: it goes."""
    gate = house.driver.gates["create"] = threading.Event()
    reply = await house.member.post("/volumes", {"volume": {"size": 1}})
    volume = reply.json()["volume"]["id"]
    while ("create", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    await house.act(volume, "os-force_delete", caller=house.admin)
    while await house.status(volume) != "gone":
        await asyncio.sleep(0.01)
    assert await sweeps(house) == []
    gate.set()
    while not await sweeps(house):
        await asyncio.sleep(0.01)
    await house.quiet()
    assert house.driver.inventory() == []
    assert await violations(house) == []
