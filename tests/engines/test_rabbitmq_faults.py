"""What operators, networks and other nodes do to RabbitMQ, seen through two buses.

One bus speaks, the other consumes and listens. After every fault both go on by themselves, with
one consumer and no connection or task too many. What happens to whole services is in
`tests/e2e/test_broker_faults.py`; a broker that dies or freezes is in the bus's contract suite.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
import pytest

from breezeblock.bus import Bus, BusUnavailable, amqp_link, amqp_session, open_bus
from tests.contract.buses import Recorder, new_topic, until, until_true
from tests.engines.rabbitmq import RabbitMQ, RabbitMQCluster
from tests.engines.relay import Relay

pytestmark = [pytest.mark.timeout(300)]

PATIENCE = 90
"""Seconds after which a recovery has failed; a cluster takes a while to count a node as gone."""


@dataclass
class Pair:
    """Two services: one sends, the other consumes and listens."""

    url: str
    work: str = field(default_factory=lambda: new_topic("work"))
    reply: str = field(default_factory=lambda: new_topic("reply"))
    worked: Recorder = field(default_factory=Recorder)
    heard: Recorder = field(default_factory=Recorder)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.speaker, self.server = open_bus(self.url), open_bus(self.url)

    async def start(self) -> None:
        await self.server.consume(self.work, self.worked, in_flight=4)
        await self.server.listen(self.reply, self.heard)
        for bus in (self.speaker, self.server):
            await bus.start()
        await self.flows()

    async def close(self) -> None:
        for bus in (self.speaker, self.server):
            await bus.close()

    async def flows(self) -> None:
        """Wait until messages and broadcasts get through; they may be lost until then."""

        async def worked() -> bool:
            return await self._arrives(self.speaker.publish, self.work, self.worked)

        async def heard() -> bool:
            return await self._arrives(self.speaker.broadcast, self.reply, self.heard)

        async with asyncio.timeout(PATIENCE):
            while not await worked():
                pass
            while not await heard():
                pass

    async def _arrives(self, send: object, topic: str, recorder: Recorder) -> bool:
        body = b"%d" % next(self.numbers)
        assert callable(send)
        try:
            await send(topic, body)
        except BusUnavailable:
            await asyncio.sleep(0.05)
            return False
        for _ in range(50):
            if body in recorder.got:
                return True
            await asyncio.sleep(0.01)
        return False

    async def consumers(self) -> int:
        async with await aio_pika.connect(self.url) as connection:
            queue = await (await connection.channel()).get_queue(f"breezeblock.{self.work}")
            return int(queue.declaration_result.consumer_count or 0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp_link, "PULSE_SECONDS", 1.0)
    monkeypatch.setattr(amqp_session, "RETRY_SECONDS", 1.0)


@asynccontextmanager
async def working(url: str, cable: Relay | None = None) -> AsyncIterator[Pair]:
    """Two services that hear each other before and after; they leave nothing behind."""
    before, files = asyncio.all_tasks(), open_files()

    def more() -> int:
        return len(asyncio.all_tasks() - before - {asyncio.current_task()})

    pair = Pair(url)
    try:
        await pair.start()
        yield pair
        await pair.flows()
    finally:
        await pair.close()
        if cable is not None:
            await cable.close()
    await until(lambda: more() == 0)
    await until(lambda: open_files() <= files)


@pytest.fixture
async def pair(rabbitmq: RabbitMQ) -> AsyncIterator[Pair]:
    async with working(rabbitmq.url) as made:
        yield made
        await made.flows()
        assert await made.consumers() == 1


@pytest.fixture
async def operator(rabbitmq: RabbitMQ) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    async with await aio_pika.connect(rabbitmq.url) as connection:
        yield await connection.channel()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def control(node: RabbitMQ, *words: str) -> str:
    return await asyncio.to_thread(node.control, *words)


async def test_connections_closed_by_the_broker(pair: Pair, rabbitmq: RabbitMQ) -> None:
    await control(rabbitmq, "close_all_connections", "by an operator")
    await pair.flows()
    ours = await control(rabbitmq, "list_connections", "-q", "client_properties")
    assert ours.count(f"breezeblock {os.getpid()} ") == 4


async def test_the_application_stopped_and_started_inside_the_broker(
    pair: Pair, rabbitmq: RabbitMQ
) -> None:
    await control(rabbitmq, "stop_app")
    with pytest.raises(BusUnavailable):
        await pair.speaker.publish(pair.work, b"lost")
    await control(rabbitmq, "start_app")
    await pair.flows()


async def test_a_cable_cut_without_a_word(rabbitmq: RabbitMQ) -> None:
    cable = Relay(rabbitmq.port)
    await cable.start()
    async with working(f"amqp://guest:guest@127.0.0.1:{cable.port}/", cable) as pair:
        cable.cut()
        with pytest.raises(BusUnavailable):
            await pair.speaker.publish(pair.work, b"lost")
        await until(lambda: not (pair.speaker.connected or pair.server.connected))
        cable.mend()
        await pair.flows()


async def test_a_queue_deleted_costs_no_other_its_messages(
    pair: Pair, operator: aio_pika.abc.AbstractChannel
) -> None:
    other, got = new_topic(), Recorder()
    await pair.server.consume(other, got, in_flight=1)
    await operator.queue_delete(f"breezeblock.{pair.work}")
    for number in range(20):
        await pair.speaker.publish(other, b"%d" % number)
    await pair.flows()
    await until(lambda: {b"%d" % number for number in range(20)} <= set(got.got))


async def test_an_exchange_deleted_under_its_listener(
    pair: Pair, operator: aio_pika.abc.AbstractChannel
) -> None:
    await operator.exchange_delete(f"breezeblock.{pair.reply}")
    await pair.flows()


async def test_permissions_taken_and_given_back(pair: Pair, rabbitmq: RabbitMQ) -> None:
    await control(rabbitmq, "set_permissions", "guest", "^$", "^$", "^$")
    try:
        with pytest.raises(BusUnavailable):
            await pair.speaker.publish(new_topic(), b"not allowed")
        await control(rabbitmq, "close_all_connections", "so that all see it")
    finally:
        await control(rabbitmq, "set_permissions", "guest", ".*", ".*", ".*")
    await pair.flows()


async def test_our_permissions_suffice(rabbitmq: RabbitMQ) -> None:
    """Those that docs/operating.md tells an operator to give."""
    ours = r"^breezeblock\."
    await control(rabbitmq, "add_user", "breezeblock", "secret")
    await control(
        rabbitmq,
        "set_permissions",
        "breezeblock",
        ours,
        rf"{ours}|^amq\.default$",
        ours,
    )
    async with working(rabbitmq.url.replace("guest:guest", "breezeblock:secret")) as pair:
        await pair.flows()


async def test_a_virtual_host_deleted_and_made_again(rabbitmq: RabbitMQ) -> None:
    async def make() -> None:
        await control(rabbitmq, "add_vhost", "cloud")
        await control(rabbitmq, "set_permissions", "-p", "cloud", "guest", ".*", ".*", ".*")

    await make()
    async with working(f"{rabbitmq.url}cloud") as pair:
        await control(rabbitmq, "delete_vhost", "cloud")
        await until(lambda: not pair.speaker.connected)
        await make()
        await pair.flows()
    await control(rabbitmq, "delete_vhost", "cloud")


async def test_a_broker_without_memory_refuses_publishers_and_serves_consumers(
    pair: Pair, rabbitmq: RabbitMQ
) -> None:
    async def refused() -> bool:
        try:
            await pair.speaker.publish(pair.work, b"perhaps")
        except BusUnavailable:
            return "memory" in await reason(pair.speaker, pair.work)
        return False

    await control(rabbitmq, "set_vm_memory_high_watermark", "0.000001")
    try:
        await until_true(refused)
        hearing = pair.server.figures.connects
        assert (await pair.server.depths())[pair.work] == 0
        assert not pair.speaker.connected
    finally:
        await control(rabbitmq, "set_vm_memory_high_watermark", "0.4")
    await until(lambda: pair.speaker.connected)
    await pair.flows()
    assert pair.server.figures.connects == hearing
    assert pair.speaker.figures.connects == 1


async def reason(bus: Bus, topic: str) -> str:
    with pytest.raises(BusUnavailable) as refused:
        await bus.publish(topic, b"perhaps")
    return str(refused.value)


async def test_a_frozen_node_of_a_cluster_is_left_for_another() -> None:
    cluster = RabbitMQCluster()
    try:
        await asyncio.to_thread(cluster.start)
        async with working(cluster.url) as pair:
            leader = await _leader(cluster, pair.work)
            leader.pause()
            await pair.flows()
            leader.resume()
            await pair.flows()
    finally:
        await asyncio.to_thread(cluster.remove)


async def _leader(cluster: RabbitMQCluster, topic: str) -> RabbitMQ:
    for node in cluster.nodes:
        if f"breezeblock.{topic}" in await control(node, "list_queues", "-q", "--local", "name"):
            return node
    raise AssertionError("nobody leads the queue")
