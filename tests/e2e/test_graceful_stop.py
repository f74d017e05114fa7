"""SIGTERM: what runs is ended or handed over, what is asked is answered, and nobody else notices.

Every role is a process of its own on RabbitMQ and PostgreSQL, the API twice. Leases outlast any
patience here: work that goes on elsewhere was handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.e2e.deployment import BREEZEBLOCK, PATIENCE, Deployment
from tests.e2e.slow_driver import install
from tests.engines.postgres import Postgres
from tests.engines.process import free_port
from tests.engines.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

RUNS = "breezeblock runs"
ENDING = ("available", "error", "error_deleting")


class Cloud(Deployment):
    """A deployment whose processes are started and stopped one by one."""

    async def start(self) -> None:
        self.second_port = free_port()
        self.monitoring_port = free_port()
        self.environment = {
            "api": {"BREEZEBLOCK_MONITORING__LISTEN": f"127.0.0.1:{self.monitoring_port}"},
            "api-2": {"BREEZEBLOCK_API__PORT": str(self.second_port)},
        }
        for name in ("api", "api-2", "scheduler", "volume", "volume-2", "compute"):
            await self.begin(name)
        await self.until_ready()

    async def begin(self, name: str) -> None:
        """Start a process; it runs."""
        found = install(self.home / "drivers")
        roles = (name.partition("-")[0],)
        before = self.times_said(name, RUNS)
        self.launch(name, roles, **found, **self.environment.get(name, {}))
        await self.until_said(name, RUNS, times=before + 1)

    def terminate(self, name: str) -> subprocess.Popen[bytes]:
        process = self.processes.pop(name)
        process.terminate()
        return process

    async def end(self, name: str) -> None:
        """Stop a process in an orderly way."""
        await ended(self.terminate(name))

    async def until_said(self, name: str, *words: str, times: int = 1) -> None:
        """Until so many lines of a process, and of those before it, have all these words."""
        deadline = time.monotonic() + PATIENCE
        while self.times_said(name, *words) < times:
            self.check()
            assert time.monotonic() < deadline, (self.home / f"{name}.log").read_text()[-6000:]
            await asyncio.sleep(0.05)

    def times_said(self, name: str, *words: str) -> int:
        """How many lines have all these words, of all processes of that name."""
        log = self.home / f"{name}.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return sum(all(word in line for word in words) for line in lines)

    async def operations_on(self, resource: str) -> list[dict[str, Any]]:
        reply = await self.volume("GET", f"/operations?resource_id={resource}")
        found: list[dict[str, Any]] = reply.json()["operations"]
        return found

    def stand_still(self, verb: str, seconds: int) -> None:
        """Have one call of the driver stand still, whichever process makes it."""
        (self.home / "drivers" / verb).write_text(str(seconds))

    async def who_stands_still(self, verb: str) -> str:
        """The process in which a call of the driver has begun to stand still."""
        async with asyncio.timeout(PATIENCE):
            while not (found := list((self.home / "drivers").glob(f"{verb}.*"))):
                await asyncio.sleep(0.05)
        found[0].unlink()
        pid = int(found[0].suffix[1:])
        return next(name for name, process in self.processes.items() if process.pid == pid)


async def ended(process: subprocess.Popen[bytes]) -> None:
    """The process has ended by itself, and well."""
    assert await asyncio.to_thread(process.wait, PATIENCE) == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(postgres: Postgres, rabbitmq: RabbitMQ) -> AsyncIterator[Cloud]:
    made = Cloud(
        {
            "database": postgres.create_database("stops"),
            "bus": rabbitmq.url,
            "backends": [{"name": "fast", "driver": "slow"}],
            "operations": {"lease": 3 * PATIENCE, "poll": 0.5},
            "compute": {"database": postgres.create_database("stops_compute")},
        },
        roles=(("compute",),),
    )
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def test_a_step_that_does_not_end_goes_on_elsewhere_at_once(cloud: Cloud) -> None:
    cloud.stand_still("create", 600)
    volume = await asked_for(cloud)
    name = await cloud.who_stands_still("create")

    slow = cloud.terminate(name)

    settled = await cloud.settled("volumes", "volume", volume)
    assert settled["status"] == "available", settled
    await ended(slow)  # though a thread of it stands in the driver for minutes
    (operation,) = await cloud.operations_on(volume)
    await cloud.until_said(name, operation["id"], "handed over")
    await cloud.begin(name)


async def test_a_request_in_flight_gets_its_answer(cloud: Cloud) -> None:
    volume = await cloud.create_volume()
    cloud.stand_still("export", 3)
    wanted = {"volume_uuid": volume["id"], "connector": {"host": "h", "ip": "127.0.0.1"}}
    asking = asyncio.create_task(cloud.volume("POST", "/attachments", {"attachment": wanted}))
    await cloud.who_stands_still("export")

    api = cloud.terminate("api")

    monitoring = f"http://127.0.0.1:{cloud.monitoring_port}/ready"
    async with httpx2.AsyncClient() as client, asyncio.timeout(PATIENCE):
        while (told := await client.get(monitoring)).status_code != 503:
            await asyncio.sleep(0.01)
    assert "stopping" in told.text
    reply = await asking
    assert reply.status_code == 200, reply.text
    assert reply.json()["attachment"]["connection_info"]
    await ended(api)
    await cloud.begin("api")


async def test_a_rolling_restart_disturbs_nobody(cloud: Cloud) -> None:
    client = Client(cloud)
    turning = asyncio.Event()
    at_work = [asyncio.create_task(client.live(turning)) for _ in range(2)]
    for name in ("scheduler", "volume", "volume-2", "compute", "api", "api-2"):
        rounds = client.rounds
        await cloud.end(name)
        await cloud.begin(name)
        await cloud.until_ready()
        async with asyncio.timeout(PATIENCE):
            while client.rounds < rounds + 2:
                assert not any(one.done() for one in at_work), f"{client.failures}\n{cloud.logs()}"
                await asyncio.sleep(0.05)
    turning.set()
    await asyncio.gather(*at_work)
    await client.http.aclose()
    assert client.failures == []
    assert client.rounds >= 6 * 2
    async with asyncio.timeout(PATIENCE):
        for volume in client.volumes:
            await cloud.until_gone(volume)
    cloud.check()


async def test_a_second_signal_ends_a_process_at_once(cloud: Cloud) -> None:
    cloud.stand_still("create", 600)
    volume = await asked_for(cloud)
    name = await cloud.who_stands_still("create")

    before = cloud.times_said(name, "stopping")  # it may have been another process of that name
    slow = cloud.terminate(name)
    await cloud.until_said(name, "stopping", times=before + 1)
    slow.send_signal(signal.SIGTERM)

    assert await asyncio.to_thread(slow.wait, PATIENCE) == -signal.SIGTERM
    await cloud.begin(name)  # on the same host: it sees that the other one is dead
    assert (await cloud.settled("volumes", "volume", volume))["status"] == "available"


async def test_a_port_that_is_taken_is_one_line(cloud: Cloud) -> None:
    command = [str(BREEZEBLOCK), "run", "api", "--config", str(cloud.home / "config.json")]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=cloud.home, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == f"breezeblock: api: cannot listen on 127.0.0.1:{cloud.port}: " + (
        "Address already in use"
    )
    assert "Traceback" not in done.stderr


async def asked_for(cloud: Cloud) -> str:
    """A volume that is being made; its id."""
    reply = await cloud.volume("POST", "/volumes", {"volume": {"size": 1}})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["volume"]["id"])


class Client:
    """Somebody who makes, attaches, detaches and deletes volumes by whichever API is up."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        headers = {"X-Auth-Token": "admin:admin", "OpenStack-API-Version": "volume 3.71"}
        self.http = httpx2.AsyncClient(timeout=PATIENCE, headers=headers)
        self.urls = [f"http://127.0.0.1:{port}/v3" for port in (cloud.port, cloud.second_port)]
        self.rounds = 0
        self.volumes: list[str] = []
        self.failures: list[str] = []

    async def live(self, turning: asyncio.Event) -> None:
        while not turning.is_set():
            await self._one_round()
            self.rounds += 1

    async def _one_round(self) -> None:
        made = await self._ask("POST", "/volumes", {"volume": {"size": 1}})
        path = f"/volumes/{made['volume']['id']}"
        self.volumes.append(path)
        if await self._settled(path) != "available":
            self.failures.append(f"{path} is {await self._settled(path)}")
            return
        connector = {"host": uuid.uuid4().hex, "ip": "127.0.0.1"}
        wanted = {"volume_uuid": made["volume"]["id"], "connector": connector}
        attached = (await self._ask("POST", "/attachments", {"attachment": wanted}))["attachment"]
        await self._ask("DELETE", f"/attachments/{attached['id']}")
        await self._settled(path)
        await self._ask("DELETE", path)

    async def _settled(self, path: str) -> str:
        async with asyncio.timeout(PATIENCE):
            while True:
                status = str((await self._ask("GET", path))["volume"]["status"])
                if status in ENDING:
                    return status
                await asyncio.sleep(0.05)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """What an API says; one that does not listen, or hangs up, is left for the other one."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    reply = await self.http.request(
                        method, f"{self.urls[0]}{path}", json=body, headers=headers
                    )
                    break
                self.urls.reverse()
                await asyncio.sleep(0.02)
        if reply.status_code >= 400:
            self.failures.append(f"{method} {path}: {reply.status_code} {reply.text}")
            raise AssertionError(f"{self.failures[-1]}\n{self.cloud.logs()}")
        return reply.json() if reply.content else None
