"""What happens to whole services when RabbitMQ does not do its part: nothing that a client sees.

While the broker is away requests are answered and volumes become available, because services look
for work themselves. Afterwards messages flow again, without a restart of anything. Looking takes
two seconds a step here, so a volume that is quicker was made by messages. How the bus itself bears
these faults, and more of them, is in `tests/engines/test_rabbitmq_faults.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.deployment import Deployment
from tests.engines.postgres import Postgres
from tests.engines.process import started
from tests.engines.rabbitmq import RabbitMQ
from tests.engines.relay import Relay

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

POLL = 2.0
SERVED = ("breezeblock.scheduler", "breezeblock.volume.")
HEARTBEATS = 25.0
"""Longer than either end bears the other's silence."""


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A broker of its own: what other deployments have left on one would count here."""
    with started(RabbitMQ()) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cable(rabbitmq: RabbitMQ) -> AsyncIterator[Relay]:
    made = Relay(rabbitmq.port)
    await made.start()
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(
    postgres: Postgres, rabbitmq: RabbitMQ, cable: Relay
) -> AsyncIterator[Deployment]:
    settings = {
        "database": postgres.create_database("broker_faults"),
        "bus": f"amqp://guest:guest@127.0.0.1:{cable.port}/",
        "operations": {"lease": 4.0, "poll": POLL},
    }
    made = Deployment(settings, roles=(("api",), ("scheduler",), ("volume",)))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def create(deployment: Deployment) -> dict[str, Any]:
    """The operation that has made a volume; the request was answered without much ado."""
    async with asyncio.timeout(15):
        reply = await deployment.volume("POST", "/volumes", {"volume": {"size": 1}})
    assert reply.status_code == 202, reply.text
    ident = reply.json()["volume"]["id"]
    assert (await deployment.settled("volumes", "volume", ident))["status"] == "available"
    found = await deployment.volume("GET", f"/operations?resource_id={ident}")
    (operation,) = found.json()["operations"]
    return dict(operation)


async def until_messages_flow(deployment: Deployment, rabbitmq: RabbitMQ) -> None:
    """In all services; and in the end none is connected, or consumes, more than once.

    A connection that was cut off is the broker's to end: it takes a while to miss its heartbeats.
    """
    async with asyncio.timeout(90):
        while (await create(deployment))["trail"][-1]["after"] > POLL / 2:
            deployment.check()
        while await surplus(deployment, rabbitmq):
            await asyncio.sleep(1)


async def surplus(deployment: Deployment, rabbitmq: RabbitMQ) -> list[str]:
    """Queues without exactly one consumer, and processes without exactly two connections."""
    listed = await asyncio.to_thread(rabbitmq.control, "list_queues", "-q", "name", "consumers")
    queues = [line.split() for line in listed.splitlines()]
    wrong = [name for name, consumers in queues if name.startswith(SERVED) and consumers != "1"]
    listed = await asyncio.to_thread(
        rabbitmq.control, "list_connections", "-q", "client_properties"
    )
    return wrong + [
        name
        for name, process in deployment.processes.items()
        if listed.count(f"breezeblock {process.pid} ") != 2
    ]


async def test_connections_closed_by_the_broker(deployment: Deployment, rabbitmq: RabbitMQ) -> None:
    await asyncio.to_thread(rabbitmq.control, "close_all_connections", "by an operator")
    await until_messages_flow(deployment, rabbitmq)


async def test_queues_deleted_under_their_consumers(
    deployment: Deployment, rabbitmq: RabbitMQ
) -> None:
    listed = await asyncio.to_thread(rabbitmq.control, "list_queues", "-q", "name")
    for name in listed.split():
        if name.startswith(SERVED):
            await asyncio.to_thread(rabbitmq.control, "delete_queue", name)
            await create(deployment)
    await until_messages_flow(deployment, rabbitmq)


async def test_a_cable_cut_without_a_word(
    deployment: Deployment, rabbitmq: RabbitMQ, cable: Relay
) -> None:
    cable.cut()
    await asyncio.gather(*(create(deployment) for _ in range(3)))
    cable.mend()
    await until_messages_flow(deployment, rabbitmq)


async def test_a_broker_that_hangs_for_longer_than_heartbeats(
    deployment: Deployment, rabbitmq: RabbitMQ
) -> None:
    clock = asyncio.get_running_loop().time
    rabbitmq.pause()
    try:
        until = clock() + HEARTBEATS
        while clock() < until:
            await create(deployment)
    finally:
        rabbitmq.resume()
    await until_messages_flow(deployment, rabbitmq)


async def test_a_broker_without_memory(deployment: Deployment, rabbitmq: RabbitMQ) -> None:
    await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "0.000001")
    try:
        for _ in range(3):
            await create(deployment)
    finally:
        await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "0.4")
    await until_messages_flow(deployment, rabbitmq)
