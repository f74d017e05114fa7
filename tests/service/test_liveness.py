"""Up means: work or a self-test has just succeeded in one of a service's processes.

Drivers are told to fail or not to answer, processes to stand still; what is asserted is what an
operator is shown by os-services, and what stands beside it for each process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from breezeblock.bus.memory import MemoryBus
from breezeblock.config import Config
from breezeblock.doctor import processes as doctor
from breezeblock.drivers.backend import Backend
from breezeblock.drivers.base import PermanentError
from breezeblock.model.services import ServiceProcess
from breezeblock.operations.engine import Engine
from breezeblock.operations.explain import explain
from breezeblock.services.scheduler import SchedulerService
from breezeblock.services.volume import VolumeService
from breezeblock.store import services
from breezeblock.store.store import Store, WriteTx
from breezeblock.store.tables import service_processes
from breezeblock.workflows.doors import Doors
from breezeblock.workflows.registry import REGISTRY
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house

INTERVAL = 0.05
DOWN = 2.0
"""Seconds of silence after which a service is down, in the houses of this file."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house without backends of its own: each test brings its volume services."""
    async with open_house(tmp_path, [], service_down_time=DOWN) as opened:
        yield opened


def engine_on(house: House, machine: str, backends: Iterable[Backend] = ()) -> Engine:
    assert house.engine is not None
    bus = house.engine.bus
    doors = replace(house.engine.doors, backends={one.name: one for one in backends})
    return Engine(house.app.store, bus, REGISTRY, doors, explain, host=machine, poll=0.1)


@asynccontextmanager
async def volume_service(
    house: House, *drivers: FakeDriver, machine: str = "node1", threads: int = 2
) -> AsyncIterator[VolumeService]:
    """A process of its own, on a machine of that name, that serves these drivers' backends."""
    backends = [Backend(one, availability_zone="nova", threads=threads) for one in drivers]
    engine = engine_on(house, machine, backends)
    await engine.start()
    service = VolumeService(
        house.app.store,
        engine,
        {one.name: one for one in backends},
        INTERVAL,
        600.0,
        down_time=DOWN,
    )
    await service.start()
    try:
        yield service
    finally:
        for driver in drivers:
            driver.close()
        await service.close()
        await engine.close()


async def shown(house: House, host: str) -> dict[str, Any] | None:
    reply = await house.admin.get("/os-services?binary=cinder-volume", "3.71")
    found = {one["host"]: one for one in reply.json()["services"]}
    return found.get(host)


async def until(house: House, host: str, state: str) -> dict[str, Any]:
    while (found := await shown(house, host)) is None or found["state"] != state:
        await asyncio.sleep(0.01)
    return found


async def processes(house: House) -> list[ServiceProcess]:
    return await house.app.store.read(lambda tx: services.processes(tx, DOWN))


async def until_said(house: House, machine: str, works: bool) -> ServiceProcess:
    """The process of that machine, once it says that it works, or that it does not."""
    while True:
        for one in await processes(house):
            ours = one.process.startswith(f"{machine}:") and not one.silent
            if ours and one.works == works:
                return one
        await asyncio.sleep(0.01)


def hang(driver: FakeDriver, verb: str = "stats") -> threading.Event:
    """Have calls of the verb answer only once the event is set."""
    gate = driver.gates[verb] = threading.Event()
    answer = getattr(driver, verb)

    def wait(*given: Any) -> Any:
        assert gate.wait(60)
        return answer(*given)

    setattr(driver, verb, wait)
    return gate


def fail(driver: FakeDriver, verb: str = "stats") -> Callable[[], None]:
    """Have calls of the verb fail; returns what ends that."""
    answer = getattr(driver, verb)

    def refuse(*_given: Any) -> Any:
        raise PermanentError("the array is away")

    setattr(driver, verb, refuse)
    return lambda: setattr(driver, verb, answer)


# -- one process ----------------------------------------------------------------------------------


async def test_a_driver_that_does_not_answer_is_down_until_it_does(house: House) -> None:
    slow, other = FakeDriver("slow"), FakeDriver("other")
    async with volume_service(house, slow, other) as service:
        await until(house, "node1@slow", "up")
        gate = hang(slow)
        found = await until(house, "node1@slow", "down")
        while (await shown(house, "node1@slow") or {})["backend_state"] != "down":
            await asyncio.sleep(0.01)
        assert found["status"] == "enabled"
        assert "answered nothing since" in service.troubles["node1@slow"]
        await until(house, "node1@other", "up")
        gate.set()
        assert (await until(house, "node1@slow", "up"))["backend_state"] == "up"
        assert service.troubles == {}


async def test_a_backend_whose_threads_all_hang_is_down_until_they_end(house: House) -> None:
    driver = FakeDriver("slow")
    async with volume_service(house, driver, threads=2) as service:
        await until(house, "node1@slow", "up")
        gate = threading.Event()
        backend = service.backends["node1@slow"]
        stuck = [asyncio.create_task(backend.call(gate.wait, 60)) for _ in range(2)]
        await until(house, "node1@slow", "down")
        gate.set()
        await until(house, "node1@slow", "up")
        assert await asyncio.gather(*stuck) == [True, True]


async def test_a_backend_on_which_work_succeeds_is_up_though_its_test_is_not_answered(
    house: House,
) -> None:
    driver = FakeDriver("busy")
    async with volume_service(house, driver) as service:
        await until(house, "node1@busy", "up")
        backend = service.backends["node1@busy"]
        gate = hang(driver)
        for _ in range(int(2 * DOWN / INTERVAL)):  # longer than silence would be borne
            await backend.call(driver.inventory)
            await asyncio.sleep(INTERVAL / 2)
        assert "node1@busy" not in service.troubles
        found = await shown(house, "node1@busy")
        assert found is not None and found["state"] == "up"
        gate.set()


async def test_a_backend_that_was_never_connected_is_shown_as_down(house: House) -> None:
    driver = FakeDriver("away")
    heal = fail(driver, "setup")
    async with volume_service(house, driver):
        found = await until(house, "node1@away", "down")
        assert (found["backend_state"], found["zone"]) == ("down", "nova")
        said = await until_said(house, "node1", works=False)
        assert said.remark == "It cannot be set up: the array is away"
        heal()


async def test_a_process_that_cannot_look_for_work_is_down(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with volume_service(house, FakeDriver("fast")) as service:
        await until(house, "node1@fast", "up")

        async def never() -> list[asyncio.Task[None]]:
            return await asyncio.Event().wait()  # type: ignore[return-value]

        monkeypatch.setattr(service.engine, "_take_due", never)
        await until(house, "node1@fast", "down")
        assert "look for work" in service.troubles["node1@fast"]


async def test_a_process_whose_event_loop_stands_still_is_down_until_it_turns_again(
    house: House,
) -> None:
    """Its threads live, and so does its driver: nobody asks them."""
    go_on, stop = threading.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def live() -> None:
        store, bus = Store(house.app.store.url), MemoryBus()
        await bus.start()
        engine = Engine(store, bus, REGISTRY, Doors(store), explain, host="node1", poll=0.1)
        await engine.start()
        backend = Backend(FakeDriver("fast"), availability_zone="nova", threads=2)
        service = VolumeService(
            store, engine, {backend.name: backend}, INTERVAL, 600.0, down_time=DOWN
        )
        await service.start()
        loops.append(asyncio.get_running_loop())
        await asyncio.to_thread(stop.wait)
        await service.close()
        await engine.close()
        store.close()

    process = threading.Thread(target=lambda: asyncio.run(live()))
    process.start()
    try:
        await until(house, "node1@fast", "up")
        loops[0].call_soon_threadsafe(go_on.wait, 60)
        await until(house, "node1@fast", "down")
        go_on.set()
        await until(house, "node1@fast", "up")
    finally:
        go_on.set()
        stop.set()
        await asyncio.to_thread(process.join)


# -- several processes ----------------------------------------------------------------------------


async def test_one_process_in_trouble_neither_takes_the_backend_down_nor_hides(
    house: House,
) -> None:
    well, ill = FakeDriver("shared"), FakeDriver("shared")
    async with (
        volume_service(house, well, machine="well"),
        volume_service(house, ill, machine="ill"),
    ):
        await until_said(house, "ill", works=True)
        await until_said(house, "well", works=True)
        heal_ill = fail(ill)
        assert (await until_said(house, "ill", works=False)).remark == (
            "It does not answer: the array is away"
        )
        await until_said(house, "well", works=True)
        found = await until(house, "node1@shared", "up")
        assert found["backend_state"] == "up"
        (finding,) = await doctor.examine(house.app.store, 60.0)
        assert (finding.rule, finding.subject) == ("process-in-trouble", "node1@shared")
        fail(well)
        assert (await until(house, "node1@shared", "down"))["status"] == "enabled"
        heal_ill()
        await until(house, "node1@shared", "up")


async def test_trouble_of_one_process_is_not_the_backends_at_any_moment(house: House) -> None:
    def report(tx: WriteTx) -> None:
        whose = services.VOLUME, "node1@shared", "nova"
        services.report(tx, *whose, backend_state="up", process="well:1:1")
        services.report_trouble(tx, *whose, process="ill:1:1", remark="away", down_time=60.0)

    await house.app.store.write(report)
    found = await shown(house, "node1@shared")
    assert found is not None
    assert (found["state"], found["backend_state"]) == ("up", "up")


async def test_a_process_that_stops_in_an_orderly_way_leaves_its_backend_to_the_others(
    house: House,
) -> None:
    async with volume_service(house, FakeDriver("shared"), machine="stays"):
        async with volume_service(house, FakeDriver("shared"), machine="goes"):
            await until_said(house, "goes", works=True)
            await until_said(house, "stays", works=True)
        found = await shown(house, "node1@shared")
        assert found is not None and found["state"] == "up"
        assert [one.process.partition(":")[0] for one in await processes(house)] == ["stays"]
    found = await shown(house, "node1@shared")
    assert found is not None and found["state"] == "down"


async def test_a_process_that_has_fallen_silent_is_told_of_until_another_takes_its_place(
    house: House,
) -> None:
    dead = "node7:999999:1"
    await house.app.store.write(lambda tx: _say_long_ago(tx, "node1@shared", dead))
    async with volume_service(house, FakeDriver("shared"), machine="node1"):
        await until(house, "node1@shared", "up")
        (finding,) = await doctor.examine(house.app.store, 60.0)
        assert (finding.rule, finding.subject) == ("silent-process", "node1@shared")
        assert dead in finding.text
        async with volume_service(house, FakeDriver("shared"), machine="node7"):
            await until_said(house, "node7", works=True)
            assert await doctor.examine(house.app.store, 60.0) == []


def _say_long_ago(tx: WriteTx, backend: str, process: str) -> None:
    services.report(tx, services.VOLUME, backend, "nova", backend_state="up", process=process)
    tx.run(service_processes.update().values(reported_at=tx.clock() - 3600.0))


async def test_the_last_word_of_a_dead_process_does_not_speak_for_its_backend(
    house: House,
) -> None:
    ill = FakeDriver("shared")
    await house.app.store.write(lambda tx: _say_long_ago(tx, "node1@shared", "node7:999999:1"))
    fail(ill)
    async with volume_service(house, ill):
        await until_said(house, "node1", works=False)
        found = await shown(house, "node1@shared")
        assert found is not None
        assert (found["state"], found["backend_state"]) == ("down", "down")


async def test_a_process_that_hears_no_wake_ups_is_up_and_told_of(house: House) -> None:
    async with volume_service(house, FakeDriver("fast")) as service:
        await until(house, "node1@fast", "up")
        await service.engine.bus.close()
        while not (found := await doctor.examine(house.app.store, 60.0)):
            await asyncio.sleep(0.01)
        assert [(one.rule, one.subject) for one in found] == [("deaf-process", "node1@fast")]
        await until(house, "node1@fast", "up")
        await service.engine.bus.start()


# -- schedulers -----------------------------------------------------------------------------------


class Unreadable:
    """Pools that nobody can read now."""

    async def pools(self) -> list[Any]:
        return await asyncio.Event().wait()  # type: ignore[return-value]


async def schedulers(house: House) -> set[str]:
    reply = await house.admin.get("/os-services?binary=cinder-scheduler")
    return {one["state"] for one in reply.json()["services"]}


async def test_a_scheduler_is_up_as_long_as_it_could_schedule(house: House) -> None:
    engine, config = engine_on(house, "node1"), house.app.config
    await engine.start()
    service = SchedulerService(house.app.store, engine, quick(config))
    await service.start()
    while await schedulers(house) != {"up"}:
        await asyncio.sleep(0.01)
    readable, engine.doors.pools = engine.doors.pools, Unreadable()
    while await schedulers(house) != {"down"}:
        await asyncio.sleep(0.01)
    engine.doors.pools = readable
    await service.close()
    await engine.close()


async def test_a_scheduler_whose_work_does_not_end_says_so(house: House) -> None:
    engine = engine_on(house, "node1")
    await engine.start()
    service = SchedulerService(house.app.store, engine, quick(house.app.config))
    await service.start()
    await until_said(house, "node1", works=True)
    gate = asyncio.Event()

    async def held() -> None:
        async with engine._slots["scheduler"]:
            await gate.wait()

    stuck = [asyncio.create_task(held()) for _ in range(32)]
    said = await until_said(house, "node1", works=False)
    assert "has ended" in (said.remark or "")
    assert await schedulers(house) == {"down"}
    gate.set()
    await asyncio.gather(*stuck)
    await until_said(house, "node1", works=True)
    await service.close()
    await engine.close()


def quick(config: Config) -> Config:
    return msgspec.structs.replace(config, report_interval=INTERVAL)
