"""A cloud is upgraded, and the upgrade is taken back, while it serves: two releases of real
processes on one PostgreSQL and one RabbitMQ.

The old release is the previous one, as it was (`tests/upgrade/previous.tar.xz`); the new one is
today's code with tomorrow's migration on top, so that every schema of ours lies between the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from breezeblock.store import schema
from breezeblock.store.store import Store
from tests.e2e.deployment import Deployment
from tests.engines.process import free_port
from tests.upgrade.releases import TOMORROW, Release, previous

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

PARTS = {"volume": ("volume",), "front": ("api", "scheduler")}
"""The processes of each release, with the roles of each."""
CONNECTOR = {"host": "a-host", "ip": "127.0.0.1", "initiator": "iqn.2026-11.test:a-host"}


@dataclass
class TwoReleases(Deployment):
    """Processes of both releases, named `<release>-<part>`. Each release has an api of its own;
    `port` is that of the one which requests go to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.releases = {"old": previous(self.home / "previous"), "new": TOMORROW}
        self.ports = {"old": self.port, "new": free_port()}

    def begin(self, release: str, *parts: str) -> None:
        for part in parts:
            started: Release = self.releases[release]
            name = f"{release}-{part}"
            environment = {**started.environment, "BREEZEBLOCK_API__PORT": str(self.ports[release])}
            with (self.home / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [*started.command, "run", *PARTS[part], "--config", str(self._config())],
                    stdout=log,
                    stderr=log,
                    cwd=self.home,
                    env={**os.environ, **environment},
                )

    def end(self, release: str, *parts: str) -> None:
        """Stop processes in an orderly way, as an upgrade does."""
        ending = [self.processes.pop(f"{release}-{part}") for part in parts]
        for process in ending:
            process.send_signal(signal.SIGTERM)
        for process in ending:
            process.wait(timeout=20)

    async def ask(self, release: str) -> None:
        """From here on requests go to that release's api, once that serves them."""
        self.port = self.ports[release]
        await self.until_ready()

    def doctor(self, release: str) -> dict[str, Any]:
        found = self.releases[release].run("doctor", "--json", "--config", str(self._config()))
        assert found.returncode in (0, 1), found.stderr
        diagnosis: dict[str, Any] = json.loads(found.stdout)
        return diagnosis

    # -- what users do -----------------------------------------------------------------------------

    async def ordered(self, method: str, path: str, body: Any = None, status: int = 202) -> Any:
        reply = await self.volume(method, path, body)
        assert reply.status_code == status, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    async def extend(self, volume: str, size: int) -> None:
        await self.ordered("POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": size}})
        assert (await self.settled("volumes", "volume", volume))["size"] == size

    async def snapshot(self, volume: str) -> str:
        body = {"snapshot": {"volume_id": volume, "name": "of the volume"}}
        made = (await self.ordered("POST", "/snapshots", body))["snapshot"]["id"]
        assert (await self.settled("snapshots", "snapshot", made))["status"] == "available"
        return str(made)

    async def attach(self, volume: str) -> str:
        body = {"attachment": {"volume_uuid": volume, "connector": CONNECTOR}}
        made = (await self.ordered("POST", "/attachments", body, 200))["attachment"]
        assert made["connection_info"]["driver_volume_type"] == "nbd"
        await self.ordered("POST", f"/attachments/{made['id']}/action", {"os-complete": {}}, 204)
        assert (await self.settled("volumes", "volume", volume))["status"] == "in-use"
        return str(made["id"])

    async def detach(self, volume: str, attachment: str) -> None:
        await self.ordered("DELETE", f"/attachments/{attachment}", status=200)
        await self.until_volume_is("available", volume)

    async def remove(self, *paths: str) -> None:
        for path in paths:
            await self.ordered("DELETE", path)
            await self.until_gone(path)

    async def whole_life(self) -> None:
        """Every verb, on volumes of one's own."""
        volume = (await self.create_volume())["id"]
        await self.go_on_with(volume)
        await self.remove(f"/volumes/{volume}")

    async def go_on_with(self, volume: str) -> None:
        """Every verb on a volume that is there; it stays."""
        size = (await self.settled("volumes", "volume", volume))["size"]
        await self.extend(volume, size + 1)
        snapshot = await self.snapshot(volume)
        copy = await self.create_volume(size + 1, snapshot_id=snapshot)
        assert copy["status"] == "available"
        attachment = await self.attach(volume)
        await self.detach(volume, attachment)
        await self.remove(f"/volumes/{copy['id']}", f"/snapshots/{snapshot}")


@pytest_asyncio.fixture(loop_scope="module")
async def cloud(postgres, rabbitmq) -> AsyncIterator[TwoReleases]:
    database = postgres.create_database("upgrade")
    made = TwoReleases({"database": database, "bus": rabbitmq.url}, roles=())
    try:
        yield made
    finally:
        await made.stop()


@contextlib.asynccontextmanager
async def in_flight(cloud: TwoReleases) -> AsyncIterator[str]:
    """A volume that is asked for just when the volume service has died: whoever comes makes it."""
    body = {"volume": {"size": 1, "name": "in flight"}}
    volume = (await cloud.ordered("POST", "/volumes", body))["volume"]["id"]
    while True:
        asked = (await cloud.ordered("GET", f"/volumes/{volume}", status=200))["volume"]
        assert asked["status"] == "creating", f"{asked}\n{cloud.logs()}"
        if asked["os-vol-host-attr:host"]:
            break
        await asyncio.sleep(0.05)
    yield volume
    assert (await cloud.settled("volumes", "volume", volume))["status"] == "available"


def revision(cloud: TwoReleases) -> str | None:
    store = Store(str(cloud.settings["database"]), threads=1)
    try:
        return schema.state(store).revision
    finally:
        store.close()


async def test_a_cloud_is_upgraded_and_taken_back_while_it_serves(cloud: TwoReleases) -> None:
    cloud.begin("old", *PARTS)
    await cloud.ask("old")
    kept = [(await cloud.create_volume())["id"] for _ in range(3)]
    attachment = await cloud.attach(kept[1])
    snapshot = await cloud.snapshot(kept[2])

    # The new volume service comes first. It migrates, and ends what the old release has begun.
    cloud.kill("old-volume")
    async with in_flight(cloud) as volume:
        cloud.begin("new", "volume")
    kept.append(volume)
    assert revision(cloud) == "9998"
    await cloud.whole_life()  # old api and scheduler, new volume service
    await cloud.detach(kept[1], attachment)
    attachment = await cloud.attach(kept[1])

    # All of both at once. An old process that starts now takes the newer schema as it is.
    cloud.begin("new", "front")
    cloud.begin("old", "volume")
    await cloud.ask("new")
    await asyncio.gather(*(cloud.whole_life() for _ in range(2)))
    await cloud.ask("old")
    await asyncio.gather(*(cloud.whole_life() for _ in range(2)))

    cloud.end("new", "volume")
    cloud.end("old", "front")
    await cloud.ask("new")
    await cloud.whole_life()  # new api and scheduler, old volume service
    await cloud.go_on_with(kept[0])

    # The old release has left; nothing is lost and nothing is wrong.
    cloud.begin("new", "volume")
    cloud.end("old", "volume")
    await cloud.detach(kept[1], attachment)
    await asyncio.gather(*(cloud.go_on_with(one) for one in kept))
    assert cloud.doctor("new")["findings"] == []

    # The new release is taken back, with work of its own in flight: the old one goes on with it.
    made = (await cloud.create_volume())["id"]
    attachment = await cloud.attach(made)
    cloud.kill("new-volume")
    async with in_flight(cloud) as volume:
        cloud.end("new", "front")
        cloud.begin("old", *PARTS)
        await cloud.ask("old")
    await cloud.detach(made, attachment)
    await asyncio.gather(*(cloud.go_on_with(one) for one in (made, volume, *kept)))
    await cloud.remove(f"/snapshots/{snapshot}")
    await cloud.remove(*(f"/volumes/{one}" for one in (made, volume, *kept)))
    assert cloud.doctor("old")["findings"] == []
    assert "Traceback" not in cloud.logs()
