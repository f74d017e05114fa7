"""The volume service: when it has its backends swept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.backend import Backend
from breezeblock.drivers.base import PermanentError
from breezeblock.model.operation import Operation
from breezeblock.services.volume import VolumeService
from breezeblock.store import operations, services
from breezeblock.store.store import WriteTx
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house

BACKEND = "node1@fast"
INTERVAL = 600.0


@asynccontextmanager
async def serving(house: House, driver: FakeDriver) -> AsyncIterator[None]:
    """A volume service of its own for one backend."""
    backend = Backend(driver, availability_zone="nova", threads=2)
    assert house.engine is not None
    house.engine.doors.backends = {BACKEND: backend}
    service = VolumeService(house.app.store, house.engine, {BACKEND: backend}, 0.05, INTERVAL)
    await service.start()
    try:
        yield
    finally:
        await service.close()


async def sweeps(house: House) -> list[Operation]:
    return await house.app.store.read(lambda tx: operations.of_resource(tx, BACKEND))


async def planned_after_the_first(house: House) -> Operation:
    """The sweep that is planned once the first one is over."""
    while True:
        found = await sweeps(house)
        if found and found[-1].is_open and any(one.state == "succeeded" for one in found):
            return found[-1]
        await asyncio.sleep(0.01)


async def test_a_backend_is_swept_once_it_is_connected_and_the_next_sweep_is_planned(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path, []) as house, serving(house, FakeDriver()):
        planned = await planned_after_the_first(house)
        assert INTERVAL - 5 < planned.due_at - planned.opened_at <= INTERVAL


async def test_however_many_services_share_a_backend_one_sweep_is_planned(tmp_path: Path) -> None:
    async with (
        open_house(tmp_path, []) as house,
        serving(house, FakeDriver()),
        serving(house, FakeDriver()),
        serving(house, FakeDriver()),
    ):
        await planned_after_the_first(house)
        await asyncio.sleep(0.3)  # several reports of each
        assert [one.is_open for one in await sweeps(house)].count(True) == 1


async def test_a_backend_that_does_not_connect_is_not_swept(tmp_path: Path) -> None:
    driver = FakeDriver()

    def away() -> None:
        raise PermanentError("away")

    driver.setup = away  # type: ignore[method-assign]
    async with open_house(tmp_path, []) as house, serving(house, driver):
        await asyncio.sleep(0.2)
        assert await sweeps(house) == []


async def test_a_report_that_fails_unexpectedly_is_not_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    report_pools = services.report_pools

    def fails_at_first(tx: WriteTx, backend: str, reports: Any) -> None:
        written.append(backend)
        if len(written) <= 2:
            raise RuntimeError("nobody expected this")
        report_pools(tx, backend, reports)

    monkeypatch.setattr(services, "report_pools", fails_at_first)
    async with open_house(tmp_path, []) as house, serving(house, FakeDriver()):
        while not (await house.admin.get("/scheduler-stats/get_pools")).json()["pools"]:
            await asyncio.sleep(0.01)
    assert len(written) > 2
