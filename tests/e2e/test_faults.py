"""Broker, database and services going away: nothing is lost, nothing stays stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.deployment import Deployment, spread_out
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
