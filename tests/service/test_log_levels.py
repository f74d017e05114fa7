"""get-log and set-log: how much services log, asked and changed while they run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from breezeblock import log_level
from breezeblock.api import services
from breezeblock.cli import logs
from breezeblock.config import build
from breezeblock.drivers.backend import Backend
from breezeblock.services.scheduler import SchedulerService
from breezeblock.services.volume import VolumeService
from tests.service.catalog_fixture import Cloud, open_cloud
from tests.service.fake_driver import FakeDriver
from tests.service.house import House

BACKEND = "storage-1@fast"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """This process logs afterwards what it did before; at first it logs from `info` on."""
    before = logging.getLogger(log_level.LOGGER).level
    log_level.change("info")
    yield
    logging.getLogger(log_level.LOGGER).setLevel(before)


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, services.ROUTES, host="control-1") as opened:
        await opened.report_backend(BACKEND)
        await opened.report_scheduler("control-1")
        yield opened


async def levels(cloud: Cloud, **wanted: Any) -> list[tuple[str, str, dict[str, str]]]:
    reply = await cloud.admin.put("/os-services/get-log", wanted)
    assert reply.status_code == 200, reply.text
    found = reply.json()["log_levels"]
    return [(one["binary"], one["host"], one["levels"]) for one in found]


async def change(cloud: Cloud, **wanted: Any) -> int:
    reply = await cloud.admin.put("/os-services/set-log", wanted)
    return reply.status_code


async def test_the_api_answers_for_itself(cloud: Cloud) -> None:
    ours = {"breezeblock": "INFO"}
    assert await levels(cloud, binary="cinder-api") == [("cinder-api", "control-1", ours)]


@pytest.mark.parametrize(
    ("wanted", "binaries"),
    [
        ({}, ["cinder-api", "cinder-scheduler", "cinder-volume"]),
        ({"binary": ""}, ["cinder-api", "cinder-scheduler", "cinder-volume"]),
        ({"binary": "*"}, ["cinder-api", "cinder-scheduler", "cinder-volume"]),
        ({"binary": "cinder-volume"}, ["cinder-volume"]),
        ({"binary": "cinder-backup"}, []),
        ({"server": "control-1"}, ["cinder-api", "cinder-scheduler"]),
        ({"server": "storage-1"}, ["cinder-volume"]),
        ({"server": BACKEND, "binary": "cinder-volume"}, ["cinder-volume"]),
        ({"server": "nope"}, []),
        ({"server": None, "prefix": None, "binary": "cinder-api"}, ["cinder-api"]),
    ],
    ids=str,
)
async def test_which_services_are_meant(
    cloud: Cloud, wanted: dict[str, Any], binaries: list[str]
) -> None:
    assert [binary for binary, _, _ in await levels(cloud, **wanted)] == binaries


@pytest.mark.parametrize(("prefix", "shown"), [("", 1), ("breeze", 1), ("sqlalchemy", 0)])
async def test_loggers_are_chosen_by_prefix(cloud: Cloud, prefix: str, shown: int) -> None:
    ((_, _, found),) = await levels(cloud, binary="cinder-api", prefix=prefix)
    assert len(found) == shown


@pytest.mark.parametrize("level", ["critical", "error", "warning", "info", "debug", "DEBUG"])
async def test_this_process_follows_at_once(cloud: Cloud, level: str) -> None:
    assert await change(cloud, level=level, binary="cinder-api") == 202
    ((_, _, found),) = await levels(cloud, binary="cinder-api")
    assert found == {"breezeblock": level.upper()}


async def test_others_are_asked_and_nobody_else(cloud: Cloud) -> None:
    assert await change(cloud, level="debug", binary="cinder-volume", server="storage-1") == 202
    assert log_level.current() == "info"
    assert await levels(cloud, binary="cinder-volume") == [("cinder-volume", BACKEND, {})]


async def test_a_prefix_that_is_not_ours_changes_nothing(cloud: Cloud) -> None:
    assert await change(cloud, level="debug", prefix="sqlalchemy") == 202
    assert log_level.current() == "info"


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"level": None},
        {"level": ""},
        {"level": "warn"},
        {"level": "x"},
        {"level": 1},
        {"level": "info", "binary": "x"},
        {"level": "info", "binary": None},
        {"level": "info", "x": 1},
        {"level": "info", "server": "s" * 256},
    ],
    ids=str,
)
async def test_a_wrong_wish_is_refused(cloud: Cloud, wanted: dict[str, Any]) -> None:
    log_level.change("error")
    assert await change(cloud, **wanted) == 400
    assert log_level.current() == "error"


async def test_they_begin_with_3_32(cloud: Cloud) -> None:
    for name, body in (("get-log", {}), ("set-log", {"level": "info"})):
        path = f"/os-services/{name}"
        assert (await cloud.admin.put(path, body, "3.31")).status_code == 404
        assert (await cloud.admin.put(path, body, "3.32")).status_code in (200, 202)


async def told(house: House, wanted: str) -> None:
    """Wait until a service says that it logs so much."""
    while True:
        reply = await house.admin.put("/os-services/get-log", {"prefix": "breezeblock"})
        found = reply.json()["log_levels"]
        if any(one["levels"].get("breezeblock") == wanted for one in found[1:]):
            return
        await asyncio.sleep(0.01)


async def follows(level: str) -> None:
    """Wait until this process logs so much: its service says so a moment before, as it reports."""
    async with asyncio.timeout(10):
        while log_level.current() != level:
            await asyncio.sleep(0.01)


async def test_a_volume_service_takes_it_over_with_its_report(house: House) -> None:
    assert house.engine is not None
    backend = Backend(FakeDriver("slow"), availability_zone="nova", threads=2)
    service = VolumeService(house.app.store, house.engine, {backend.name: backend}, 0.05, 600.0)
    await service.start()
    try:
        await told(house, "INFO")
        body = {"level": "error", "server": backend.name}
        assert (await house.admin.put("/os-services/set-log", body)).status_code == 202
        await told(house, "ERROR")
        await follows("error")
    finally:
        await service.close()


async def test_a_scheduler_takes_it_over_with_its_report(house: House) -> None:
    assert house.engine is not None
    config = build({"host": "node9", "report_interval": 0.05})
    service = SchedulerService(house.app.store, house.engine, config)
    await service.start()
    try:
        await told(house, "INFO")
        body = {"level": "critical", "binary": "cinder-scheduler"}
        assert (await house.admin.put("/os-services/set-log", body)).status_code == 202
        await told(house, "CRITICAL")
        await follows("critical")
    finally:
        await service.close()


def test_what_is_not_grave_enough_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    try:
        logs.set_up("info")
        log = structlog.get_logger("of this test")
        log.debug("first")
        log.info("second")
        log_level.change("debug")
        log.debug("third")
        log_level.change("error")
        log.warning("fourth")
        log.exception("fifth")
    finally:
        structlog.configure(**before)
    text = capsys.readouterr().err
    logged = [one for one in ("first", "second", "third", "fourth", "fifth") if one in text]
    assert logged == ["second", "third", "fifth"]
