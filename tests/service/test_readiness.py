"""/live and /ready: a process that cannot work, yet or any more, says what is away and why."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from unittest.mock import patch

import httpx2
import pytest

from breezeblock.config import ConfigError, build
from breezeblock.drivers.base import TemporaryError
from tests.engines.process import free_port
from tests.service.watched import BACKEND, PATIENCE, ReportingDriver, Watched, told_to, watch


async def until(watched: Watched, status: int, words: str = "") -> httpx2.Response:
    """What /ready says once it says this."""
    async with asyncio.timeout(PATIENCE):
        while True:
            reply = await watched.ask("/ready")
            if reply.status_code == status and words in reply.text:
                return reply
            await asyncio.sleep(0.02)


async def test_while_the_database_is_away_a_process_is_live_and_not_ready(tmp_path: Path) -> None:
    nobody = f"postgresql+psycopg://nobody:verysecret@127.0.0.1:{free_port()}/none"
    process = told_to(tmp_path, database=nobody)
    watched = Watched(process, ReportingDriver())
    starting = asyncio.create_task(process.start())
    try:
        async with asyncio.timeout(PATIENCE):
            while not process._databases:
                await asyncio.sleep(0.02)
        assert (await watched.ask("/live")).status_code == 200
        reply = await watched.ask("/ready")
        assert reply.status_code == 503
        told = reply.json()
        why = told["missing"].pop("database")
        assert told == {"ready": False, "missing": {"process": "It is starting."}, "impaired": {}}
        assert why.startswith("The database is not reachable at the moment. (")
        assert "Connection refused" in why and "\n" not in why
        assert "verysecret" not in why
        assert (await watched.ask("/metrics")).status_code == 200
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await process.close()
        await watched.http.aclose()


async def test_a_process_is_not_ready_before_its_backend_is_set_up(tmp_path: Path) -> None:
    driver = ReportingDriver()
    driver.failures["setup"] = TemporaryError("The array reboots.")
    with patch("breezeblock.services.volume.SETUP_RETRY", 0.1):
        async with watch(tmp_path, driver, until_up=False) as watched:
            reply = await until(watched, 503, "cannot be set up")
            assert reply.json()["missing"] == {
                f"backend {BACKEND}": "It cannot be set up: The array reboots."
            }
            assert (await watched.call("GET", "/healthcheck")).status_code == 503
            assert (await watched.ask("/live")).status_code == 200
            del driver.failures["setup"]
            assert (await until(watched, 200)).json()["missing"] == {}


async def test_a_backend_that_goes_away_later_is_told_with_the_reason(tmp_path: Path) -> None:
    async with watch(tmp_path) as watched:
        assert (await watched.ask("/ready")).json() == {
            "ready": True,
            "missing": {},
            "impaired": {},
        }
        watched.driver.failures["stats"] = TemporaryError("The array reboots.")
        reply = await until(watched, 200, "reboots")
        assert reply.json()["impaired"] == {
            f"backend {BACKEND}": "It does not answer: The array reboots."
        }


async def test_without_the_broker_a_process_is_ready_and_says_what_is_amiss(tmp_path: Path) -> None:
    async with watch(tmp_path) as watched:
        await watched.process.bus.close()
        reply = await watched.ask("/ready")
        assert reply.status_code == 200
        assert set(reply.json()["impaired"]) == {"bus"}


async def test_a_process_that_stops_is_not_ready_while_it_ends_its_work(tmp_path: Path) -> None:
    async with watch(tmp_path) as watched:
        port = watched.process.servers["monitoring"].port
        gate = watched.driver.gates["create"] = threading.Event()
        await watched.call("POST", "/v3/volumes", {"volume": {"size": 1}})
        await watched.until(
            lambda told: told.figure("breezeblock_driver_calls_in_flight", backend=BACKEND) >= 1
        )
        closing = asyncio.create_task(watched.process.close())
        reply = await until(watched, 503)
        assert reply.json()["missing"]["process"] == "It is stopping."
        assert (await watched.ask("/live")).status_code == 200
        gate.set()
        await closing
        with pytest.raises(httpx2.ConnectError):
            await watched.http.get(f"http://127.0.0.1:{port}/live")


@pytest.mark.parametrize(
    "listen", ["9776", "127.0.0.1", "127.0.0.1:", "::1:9776", "[::1]", "127.0.0.1:65536", "a b:1"]
)
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"monitoring\.listen"):
        build({"monitoring": {"listen": listen}})


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:9776", ("127.0.0.1", 9776)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_addresses(listen: str, address: tuple[str, int]) -> None:
    assert build({"monitoring": {"listen": listen}}).monitoring.address == address


async def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        process = told_to(tmp_path, monitoring={"listen": listen})
        with pytest.raises(ConfigError, match=f"monitoring.*{listen}"):
            await process.start()
        await process.close()
