"""What an operator sees and does, on real processes: a service that stands still is down, and what
he takes out is left alone from the very next request on.

Two storage machines (`a` with two volume services, `b` with one) and two schedulers. Processes are
stopped by SIGSTOP, which leaves sockets open and threads in place: nothing but silence tells of it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.deployment import BREEZEBLOCK, Deployment
from tests.e2e.test_clients import FLOWS, run
from tests.engines.postgres import Postgres
from tests.engines.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

A, B = "a@local", "b@local"
PROCESSES = {
    "api": ("api", "control"),
    "scheduler-1": ("scheduler", "one"),
    "scheduler-2": ("scheduler", "two"),
    "volume-a1": ("volume", "a"),
    "volume-a2": ("volume", "a"),
    "volume-b": ("volume", "b"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(postgres: Postgres, rabbitmq: RabbitMQ) -> AsyncIterator[Deployment]:
    settings = {
        "database": postgres.create_database("liveness"),
        "bus": rabbitmq.url,
        "report_interval": 0.5,
        "service_down_time": 4.0,
        "backends": [{"name": "local", "driver": "local"}],
    }
    made = Deployment(settings, roles=(("api",),))
    try:
        for name, (role, host) in PROCESSES.items():
            data = str(made.home / host)
            made.launch(name, (role,), BREEZEBLOCK_HOST=host, BREEZEBLOCK_DATA=data)
        await made.until_ready()
        await until(made, {A: "up", B: "up", "one": "up", "two": "up"})
        yield made
    finally:
        await made.stop()


async def states(deployment: Deployment) -> dict[str, str]:
    reply = await deployment.volume("GET", "/os-services")
    return {one["host"]: one["state"] for one in reply.json()["services"]}


async def until(deployment: Deployment, expected: dict[str, str]) -> None:
    while not expected.items() <= (await states(deployment)).items():
        await asyncio.sleep(0.1)


async def created(deployment: Deployment) -> tuple[str, str]:
    """A new volume: how it ended, and on which backend."""
    volume = await deployment.create_volume()
    return volume["status"], (volume["os-vol-host-attr:host"] or "").partition("#")[0]


@contextmanager
def standing_still(deployment: Deployment, *names: str) -> Iterator[None]:
    for name in names:
        deployment.processes[name].send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for name in names:
            deployment.processes[name].send_signal(signal.SIGCONT)


def examined(deployment: Deployment) -> list[dict[str, Any]]:
    """The findings of `breezeblock doctor`."""
    result = subprocess.run(
        [str(BREEZEBLOCK), "doctor", "--json", "--config", str(deployment.home / "config.json")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode in (0, 1), result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    return found


def only_silent(found: list[dict[str, Any]], process: str) -> bool:
    """Whether this process, and nothing else, is found fault with."""
    return [(one["rule"], one["subject"], process in one["text"]) for one in found] == [
        ("silent-process", A, True)
    ]


async def test_one_process_of_two_stands_still_and_its_backend_stays_up(
    deployment: Deployment,
) -> None:
    still = deployment.processes["volume-a2"].pid
    with standing_still(deployment, "volume-a2"):
        for _ in range(4):
            assert (await created(deployment))[0] == "available"
        # It may have stopped in the midst of a report, with rows locked: the other one's reports
        # then wait until the database has ended that transaction.
        while not only_silent(await asyncio.to_thread(examined, deployment), f"a:{still}:"):
            await asyncio.sleep(0.1)
        assert (await states(deployment))[A] == "up"


async def test_a_backend_whose_processes_stand_still_is_down_and_gets_nothing_new(
    deployment: Deployment,
) -> None:
    with standing_still(deployment, "volume-a1", "volume-a2"):
        await until(deployment, {A: "down", B: "up"})
        assert {await created(deployment) for _ in range(4)} == {("available", B)}
        with standing_still(deployment, "volume-b"):
            await until(deployment, {A: "down", B: "down"})
            assert (await created(deployment))[0] == "error"
            told = (await deployment.volume("GET", "/messages")).json()["messages"]
            assert "its volume service is down" in told[0]["user_message"]
    await until(deployment, {A: "up", B: "up"})
    assert (await created(deployment))[0] == "available"


async def test_work_that_waits_for_a_process_that_stands_still_is_done_in_the_end(
    deployment: Deployment,
) -> None:
    with standing_still(deployment, "volume-a1", "volume-a2", "volume-b"):
        body = {"volume": {"size": 1}}
        waiting = [await deployment.volume("POST", "/volumes", body) for _ in range(4)]
        while any(
            not one.json()["volume"]["os-vol-host-attr:host"]
            for one in [
                await deployment.volume("GET", f"/volumes/{made.json()['volume']['id']}")
                for made in waiting
            ]
        ):
            await asyncio.sleep(0.1)
    for made in waiting:
        await deployment.until_volume_is("available", made.json()["volume"]["id"])


async def test_a_scheduler_stands_still_and_the_other_one_goes_on(deployment: Deployment) -> None:
    with standing_still(deployment, "scheduler-1"):
        ended = await asyncio.gather(*(created(deployment) for _ in range(8)))
        assert {status for status, _backend in ended} == {"available"}
        await until(deployment, {"one": "down", "two": "up"})
    await until(deployment, {"one": "up", "two": "up"})


async def test_an_operator_takes_backends_out_and_back_with_python_cinderclient(
    deployment: Deployment,
) -> None:
    flow = str(FLOWS / "cinderclient_operator.py")
    out = await asyncio.to_thread(run, "python", flow, deployment.volume_url, A, B)
    assert out.strip() == "ok"
