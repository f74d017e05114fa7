"""A real process (API, scheduler, volume service over a fake backend) and what it tells of itself.

Its APIs and its monitoring listen on loopback, each on a port that is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from breezeblock.config import build
from breezeblock.drivers.backend import Backend
from breezeblock.drivers.base import BackendStats
from breezeblock.services.process import Process
from tests.service.fake_driver import FakeDriver

ROLES = ("api", "scheduler", "volume")
BACKEND = "node1@fast"
PATIENCE = 20.0


class ReportingDriver(FakeDriver):
    """One whose `setup` and `stats` fail as other verbs do."""

    def setup(self) -> None:
        if "setup" in self.failures:
            raise self.failures["setup"]

    def stats(self) -> BackendStats:
        if "stats" in self.failures:
            raise self.failures["stats"]
        return super().stats()


@dataclass(frozen=True)
class Scrape:
    """One answer of /metrics: samples by name."""

    samples: dict[str, list[tuple[dict[str, str], float]]]

    def figure(self, name: str, **labels: str) -> float:
        """The sum of the series that have these labels, among others; 0 where there is none."""
        wanted = labels.items()
        return sum(value for has, value in self.samples.get(name, ()) if wanted <= has.items())

    def series(self, name: str) -> list[dict[str, str]]:
        return [labels for labels, _value in self.samples.get(name, ())]


@dataclass
class Watched:
    """The process, and how it is asked."""

    process: Process
    driver: FakeDriver
    http: httpx2.AsyncClient = field(
        default_factory=lambda: httpx2.AsyncClient(
            timeout=PATIENCE,
            headers={"X-Auth-Token": "ada:p1", "OpenStack-API-Version": "volume 3.71"},
        )
    )

    async def ask(self, path: str, **headers: str) -> httpx2.Response:
        """A question to the monitoring listener."""
        port = self.process.servers["monitoring"].port
        return await self.http.get(f"http://127.0.0.1:{port}{path}", headers=headers)

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx2.Response:
        """A request to the block storage API."""
        port = self.process.servers["api"].port
        url = f"http://127.0.0.1:{port}{path}"
        return await self.http.request(method, url, json=body, headers=headers)

    async def scrape(self) -> Scrape:
        text = (await self.ask("/metrics")).text
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return Scrape(found)

    async def until(self, holds: Callable[[Scrape], bool]) -> Scrape:
        """The first scrape of which this is true."""
        async with asyncio.timeout(PATIENCE):
            while not holds(scrape := await self.scrape()):
                await asyncio.sleep(0.02)
        return scrape

    async def create(self, status: str = "available") -> str:
        """A volume that has come to this status; its id."""
        reply = await self.call("POST", "/v3/volumes", {"volume": {"size": 1}})
        assert reply.status_code == 202, reply.text
        ident = str(reply.json()["volume"]["id"])
        await self.until_status(ident, status)
        return ident

    async def until_status(self, ident: str, status: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                shown = (await self.call("GET", f"/v3/volumes/{ident}")).json()
                if shown["volume"]["status"] == status:
                    return
                await asyncio.sleep(0.02)


def told_to(directory: Path, **settings: Any) -> Process:
    """Such a process, not started."""
    tree = {
        "host": "node1",
        "data": str(directory),
        "report_interval": 0.2,
        "api": {"port": 0},
        "monitoring": {"listen": "127.0.0.1:0"},
        **settings,
    }
    return Process(build(tree), ROLES)


@asynccontextmanager
async def watch(
    directory: Path, driver: FakeDriver | None = None, *, until_up: bool = True, **settings: Any
) -> AsyncIterator[Watched]:
    driver = driver or ReportingDriver()
    backend = Backend(driver, availability_zone="nova", threads=2)
    with patch("breezeblock.services.volume.open_backends", lambda _: {backend.name: backend}):
        process = told_to(directory, **settings)
        watched = Watched(process, driver)
        try:
            await process.start()
            if until_up:
                await watched.until(lambda told: told.figure("breezeblock_backend_up") == 1)
            yield watched
        finally:
            driver.close()
            await process.close()
            await watched.http.aclose()
