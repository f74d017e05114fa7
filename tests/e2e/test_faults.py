"""Broker, database and services going away: nothing is lost, nothing stays stuck."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import pytest_asyncio

from tests.e2e.deployment import Deployment, spread_out
from tests.e2e.writing import Writing
from tests.engines.postgres import Postgres
from tests.engines.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(postgres: Postgres, rabbitmq: RabbitMQ) -> AsyncIterator[Deployment]:
    made = spread_out(
        postgres.create_database("faults"),
        postgres.create_database("faults_compute"),
        rabbitmq.url,
    )
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def create(deployment: Deployment) -> dict[str, Any]:
    reply = await deployment.volume("POST", "/volumes", {"volume": {"size": 1}})
    assert reply.status_code == 202, reply.text
    volume: dict[str, Any] = reply.json()["volume"]
    return volume


async def test_on_rabbitmq_every_service_has_its_queue(
    deployment: Deployment, rabbitmq: RabbitMQ
) -> None:
    pools = (await deployment.volume("GET", "/scheduler-stats/get_pools")).json()["pools"]
    backend = pools[0]["name"].partition("#")[0]
    host = backend.partition("@")[0]
    consumers = {"scheduler": 1, f"volume.{backend}": 2, f"compute.{host}": 1}
    connection = await aio_pika.connect(rabbitmq.url)
    async with connection:
        channel = await connection.channel()
        for topic, expected in consumers.items():
            queue = await channel.get_queue(f"breezeblock.{topic}")
            assert queue.declaration_result.consumer_count == expected, topic


async def test_without_the_broker_requests_are_accepted_and_finished(
    deployment: Deployment, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.kill()
    try:
        made = [await create(deployment) for _ in range(3)]
        for volume in made:
            settled = await deployment.settled("volumes", "volume", volume["id"])
            assert settled["status"] == "available"
    finally:
        rabbitmq.start()
    deployment.check()
    assert (await deployment.create_volume())["status"] == "available"


async def test_services_find_the_broker_again_by_themselves(
    deployment: Deployment, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.stop()
    rabbitmq.start()
    for _ in range(100):
        volume = await deployment.create_volume()
        (operation,) = (
            await deployment.volume("GET", f"/operations?resource_id={volume['id']}")
        ).json()["operations"]
        if operation["trail"][-1]["after"] < 0.4:  # polling alone takes half a second a step
            break
        await asyncio.sleep(0.2)
    else:
        pytest.fail("messages do not flow again")


async def test_without_the_database_the_answer_is_503_and_then_all_is_well_again(
    deployment: Deployment, postgres: Postgres
) -> None:
    before = await create(deployment)
    postgres.stop()
    try:
        for method, path, body in (
            ("GET", "/volumes", None),
            ("POST", "/volumes", {"volume": {"size": 1}}),
        ):
            reply = await deployment.volume(method, path, body)
            assert reply.status_code == 503, reply.text
            fault = reply.json()["serviceUnavailable"]
            assert fault["code"] == 503
            assert "Traceback" not in reply.text
        root = deployment.volume_url.removesuffix("/v3")
        assert (await deployment.http.get(f"{root}/healthcheck")).status_code == 503
    finally:
        postgres.start()
    deployment.check()
    assert (await deployment.settled("volumes", "volume", before["id"]))["status"] == "available"
    assert (await deployment.create_volume())["status"] == "available"


async def test_a_database_killed_in_the_middle_of_work_strands_nothing(
    deployment: Deployment, postgres: Postgres
) -> None:
    made = []

    async def keep_creating() -> None:
        for _ in range(40):
            reply = await deployment.volume("POST", "/volumes", {"volume": {"size": 1}})
            assert reply.status_code in (202, 503), reply.text
            if reply.status_code == 202:
                made.append(reply.json()["volume"]["id"])
            await asyncio.sleep(0.05)

    work = asyncio.create_task(keep_creating())
    await asyncio.sleep(0.5)
    postgres.kill()
    await asyncio.sleep(0.3)
    postgres.start()
    await work
    assert made
    for ident in made:
        assert (await deployment.settled("volumes", "volume", ident))["status"] == "available"


async def test_work_of_a_killed_volume_service_is_done_by_the_other(
    deployment: Deployment,
) -> None:
    name = next(name for name in deployment.processes if name.endswith("volume"))
    requests = [asyncio.create_task(create(deployment)) for _ in range(10)]
    await asyncio.sleep(0.1)
    deployment.kill(name)
    for request in requests:
        volume = await request
        settled = await deployment.settled("volumes", "volume", volume["id"])
        assert settled["status"] == "available"
    deployment.launch(name, ("volume",))


async def test_work_waits_for_a_volume_service_when_all_are_dead(deployment: Deployment) -> None:
    names = [name for name in deployment.processes if name.endswith("volume")]
    for name in names:
        deployment.kill(name)
    volume = await create(deployment)
    await asyncio.sleep(1)
    assert (await deployment.volume("GET", f"/volumes/{volume['id']}")).json()["volume"][
        "status"
    ] == "creating"
    for name in names:
        deployment.launch(name, ("volume",))
    assert (await deployment.settled("volumes", "volume", volume["id"]))["status"] == "available"


async def test_a_guest_survives_its_agent_and_its_storage_daemon(deployment: Deployment) -> None:
    volume = (await deployment.create_volume())["id"]
    server = await deployment.create_server("survivor")
    attached = f"/servers/{server}/os-volume_attachments"
    async with deployment.inside(server) as guest:
        reply = await deployment.compute(
            "POST", attached, {"volumeAttachment": {"volumeId": volume}}
        )
        assert reply.status_code == 200, reply.text
        disk = await guest.find_disk(volume)
        writing = await Writing.begin(guest, disk)
        name = next(name for name in deployment.processes if name.endswith("compute"))
        deployment.kill(name)
        storage_daemons = pids_of("qemu-storage-daemon", volume)
        assert storage_daemons
        for pid in storage_daemons:
            os.kill(pid, signal.SIGKILL)
        deployment.launch(name, ("compute",))
        await deployment.until_ready()
        await writing.goes_on()
        await writing.end()
    shown = (await deployment.compute("GET", f"/servers/{server}")).json()["server"]
    assert shown["status"] == "ACTIVE"
    assert (await deployment.compute("DELETE", f"{attached}/{volume}")).status_code == 202
    await deployment.until_volume_is("available", volume)
    assert pids_of("qemu-storage-daemon", volume) == []
    assert (await deployment.compute("DELETE", f"/servers/{server}")).status_code == 204


def pids_of(program: str, word: str) -> list[int]:
    """Processes of a program that have the word on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if program in words.partition("\0")[0] and word in words:
            found.append(int(entry.parent.name))
    return found
