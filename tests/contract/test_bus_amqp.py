"""What a broker can do to the AMQP bus: die, freeze, come back, and forget.

All against a real RabbitMQ. Every test leaves it running.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import aio_pika
import pytest
from structlog.testing import capture_logs

from breezeblock.bus import Bus, BusUnavailable, amqp_link, amqp_session, base, handling, open_bus
from breezeblock.bus.base import QueueFull
from tests.contract.buses import HANG_SECONDS, Gate, Recorder, Service, new_topic, settle, until
from tests.engines.process import free_port
from tests.engines.rabbitmq import RabbitMQ

# Whatever a broker does to us, no coroutine is left that was never awaited.
pytestmark = pytest.mark.filterwarnings("error")

CONSUMER_THAT_HANGS = """
import asyncio, sys
from breezeblock.bus import open_bus

async def hang(body: bytes) -> None:
    print("inside", flush=True)
    await asyncio.Event().wait()

async def main(url: str, topic: str) -> None:
    bus = open_bus(url)
    await bus.consume(topic, hang, in_flight=1)
    await bus.start()
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def service(rabbitmq: RabbitMQ) -> AsyncIterator[Service]:
    buses: list[Bus] = []

    async def connected() -> Bus:
        bus = open_bus(rabbitmq.url)
        buses.append(bus)
        await bus.start()
        await until(lambda: bus.connected)
        return bus

    yield connected
    for bus in buses:
        await bus.close()


@pytest.fixture
async def bus(service: Service) -> Bus:
    return await service()


@pytest.fixture
async def broker(rabbitmq: RabbitMQ) -> AsyncIterator[RabbitMQ]:
    """The broker, for tests that hurt it."""
    yield rabbitmq
    rabbitmq.resume()
    await asyncio.to_thread(rabbitmq.start)


@pytest.fixture
async def operator(rabbitmq: RabbitMQ) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """Somebody with a tool of his own on the broker."""
    async with await aio_pika.connect(rabbitmq.url) as connection:
        yield await connection.channel()


async def publish_when_possible(bus: Bus, topic: str, body: bytes) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            try:
                return await bus.publish(topic, body)
            except BusUnavailable:
                await asyncio.sleep(0.05)


class TestABrokerThatDies:
    async def test_start_does_not_wait_for_it_and_connects_when_it_comes(
        self, broker: RabbitMQ
    ) -> None:
        await asyncio.to_thread(broker.stop)
        topic, consumer = new_topic(), Recorder()
        bus = open_bus(broker.url)
        await bus.start()
        await bus.consume(topic, consumer, in_flight=1)
        with pytest.raises(BusUnavailable):
            await bus.publish(topic, b"too early")

        await asyncio.to_thread(broker.start)
        await publish_when_possible(bus, topic, b"in time")

        await until(lambda: consumer.got)
        assert consumer.got == [b"in time"]
        await bus.close()

    async def test_publishers_are_refused_and_everybody_is_back_when_it_is(
        self, broker: RabbitMQ, service: Service
    ) -> None:
        topic, consumer, listener = new_topic(), Recorder(), Recorder()
        serving, asking = await service(), await service()
        await serving.consume(topic, consumer, in_flight=1)
        await serving.listen(topic, listener)

        await asyncio.to_thread(broker.kill)
        with pytest.raises(BusUnavailable):
            await asking.publish(topic, b"lost")
        with pytest.raises(BusUnavailable):
            await asking.broadcast(topic, b"lost")
        await until(lambda: not (asking.connected or serving.connected))
        await asyncio.to_thread(broker.start)
        await until(lambda: asking.connected and serving.connected)

        await asking.publish(topic, b"again")
        await asking.broadcast(topic, b"all again")
        await until(lambda: consumer.got and listener.got)
        assert consumer.got == [b"again"]
        assert listener.got == [b"all again"]

    async def test_what_it_confirmed_outlives_it(self, broker: RabbitMQ, service: Service) -> None:
        topic, consumer = new_topic(), Recorder()
        await (await service()).publish(topic, b"kept")

        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)

        await (await service()).consume(topic, consumer, in_flight=1)
        await until(lambda: consumer.got)
        assert consumer.got == [b"kept"]

    async def test_running_handlers_go_on_and_count_against_in_flight(
        self, broker: RabbitMQ, bus: Bus
    ) -> None:
        topic, gate = new_topic(), Gate()
        await bus.consume(topic, gate, in_flight=1)
        await bus.publish(topic, b"one")
        await until(lambda: gate.inside)

        await asyncio.to_thread(broker.kill)
        await until(lambda: not bus.connected)
        await asyncio.to_thread(broker.start)
        await until(lambda: bus.connected)
        await settle()  # the broker brings "one" again: nobody had acknowledged it
        assert gate.entered == [b"one"]

        gate.open.set()
        await until(lambda: gate.left == [b"one", b"one"])
        assert gate.cancelled == []


class TestABrokerThatFreezes:
    async def test_publishers_are_refused_until_it_thaws(self, broker: RabbitMQ, bus: Bus) -> None:
        topic, consumer = new_topic(), Recorder()
        await bus.consume(topic, consumer, in_flight=1)
        await bus.publish(topic, b"before")
        await until(lambda: consumer.got)

        broker.pause()
        async with asyncio.timeout(HANG_SECONDS):
            for _ in range(3):
                with pytest.raises(BusUnavailable):
                    await bus.publish(topic, b"during")
        assert not bus.connected

        broker.resume()
        await publish_when_possible(bus, topic, b"after")
        await until(lambda: b"after" in consumer.got)

    async def test_hints_wait_for_nobody_and_are_counted_as_perhaps_lost(
        self, broker: RabbitMQ, bus: Bus
    ) -> None:
        topic = new_topic()
        await bus.publish(topic, b"before")

        broker.pause()
        for _ in range(3):
            await bus.hint(topic, b"during")  # as long as nobody knows
        await until(lambda: not bus.connected)
        with pytest.raises(BusUnavailable):
            await bus.hint(topic, b"known by now")

        assert (bus.figures.unconfirmed, bus.figures.refused) == (3, 1)

    async def test_it_is_noticed_when_nobody_publishes(
        self, broker: RabbitMQ, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(amqp_link, "PULSE_SECONDS", 0.5)
        bus = await service()

        broker.pause()
        await until(lambda: not bus.connected)

        broker.resume()
        await until(lambda: bus.connected)

    async def test_close_does_not_wait_for_it(self, broker: RabbitMQ, bus: Bus) -> None:
        await bus.consume(new_topic(), Recorder(), in_flight=1)

        broker.pause()
        async with asyncio.timeout(HANG_SECONDS):
            await bus.close()


class TestAServiceThatDies:
    async def test_killed_inside_a_handler_it_leaves_the_message_to_another(
        self, rabbitmq: RabbitMQ, bus: Bus
    ) -> None:
        topic, heir = new_topic(), Recorder()
        await bus.publish(topic, b"orphan")
        program = ("-c", CONSUMER_THAT_HANGS, rabbitmq.url, topic)
        victim = await asyncio.create_subprocess_exec(sys.executable, *program, stdout=PIPE)
        assert victim.stdout is not None
        try:
            async with asyncio.timeout(HANG_SECONDS):
                assert await victim.stdout.readline() == b"inside\n"
            await bus.consume(topic, heir, in_flight=1)
            await settle()
            assert heir.got == []
        finally:
            victim.kill()
            await victim.wait()

        await until(lambda: heir.got)
        assert heir.got == [b"orphan"]

    async def test_closed_with_a_stuck_handler_it_leaves_the_message_to_another(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(handling, "PATIENCE", 0.1)
        topic, stuck, heir = new_topic(), Gate(), Recorder()
        leaving, staying = await service(), await service()
        await leaving.consume(topic, stuck, in_flight=1)
        await staying.publish(topic, b"orphan")
        await until(lambda: stuck.inside)

        await leaving.close()
        await staying.consume(topic, heir, in_flight=1)

        await until(lambda: heir.got)
        assert heir.got == [b"orphan"]

    async def test_closed_with_messages_that_wait_for_a_slot_it_leaves_them_to_another(
        self, service: Service, operator: aio_pika.abc.AbstractChannel
    ) -> None:
        topic, victim, gate, heir = new_topic(), new_topic(), Gate(), Recorder()
        leaving, staying = await service(), await service()
        await leaving.consume(topic, gate, in_flight=1)
        await leaving.consume(victim, Recorder(), in_flight=1)
        await staying.publish(topic, b"twice")
        await until(lambda: gate.inside)
        await operator.queue_delete(f"breezeblock.{victim}")
        await until(lambda: not leaving.connected)
        await until(lambda: leaving.connected)
        await settle()  # now the broker has brought "twice" for the second time

        closing = asyncio.create_task(leaving.close())
        await settle()
        gate.open.set()
        await closing
        await staying.consume(topic, heir, in_flight=1)

        await until(lambda: heir.got)
        assert gate.entered == [b"twice"]

    async def test_closed_in_order_it_leaves_nothing_behind(self, service: Service) -> None:
        topic, gate, heir = new_topic(), Gate(), Recorder()
        leaving, staying = await service(), await service()
        await leaving.consume(topic, gate, in_flight=10)
        await staying.publish(topic, b"mine")
        await until(lambda: gate.inside)

        closing = asyncio.create_task(leaving.close())
        gate.open.set()
        await closing
        await staying.consume(topic, heir, in_flight=1)

        await settle()
        assert (gate.left, heir.got) == ([b"mine"], [])

    async def test_closed_with_hints_under_way_it_sends_them_before(self, service: Service) -> None:
        topic, heir = new_topic(), Recorder()
        leaving, staying = await service(), await service()

        for number in range(20):
            await leaving.hint(topic, b"%d" % number)  # the first declares the queue
        await leaving.close()

        assert leaving.figures.published == 20
        await staying.consume(topic, heir, in_flight=1)
        await until(lambda: len(heir.got) == 20)


class TestABrokerThatDoesNotLetUsIn:
    """What is told in the log is what the broker has said."""

    async def test_it_does_not_know_the_virtual_host(self, rabbitmq: RabbitMQ) -> None:
        assert "vhost nowhere not found" in await first_reason(f"{rabbitmq.url}nowhere")

    async def test_it_does_not_know_the_password(self, rabbitmq: RabbitMQ) -> None:
        told = await first_reason(rabbitmq.url.replace("guest:guest", "guest:w%40rong"))
        assert "ACCESS_REFUSED" in told
        assert "w@rong" not in told

    async def test_nobody_listens_there(self) -> None:
        assert "Connect call failed" in await first_reason(f"amqp://127.0.0.1:{free_port()}/")

    @pytest.mark.parametrize(
        ("greeting", "told"),
        [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "unexpectedly closed"),
            (b"AMQP\x00\x01\x00\x00", "Unexpected AMQP protocol header"),
            (b"", "unexpectedly closed"),
        ],
    )
    async def test_somebody_else_lives_there(self, greeting: bytes, told: str) -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(8)
            writer.write(greeting)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert told in await first_reason(f"amqp://127.0.0.1:{port}/")


async def first_reason(url: str) -> str:
    """Why there is no broker, as it is logged."""
    bus = open_bus(url)
    with capture_logs() as logs:
        await bus.start()
        await until(lambda: logs)
        await bus.close()
    assert logs[0]["event"] == "message broker away"
    return str(logs[0]["reason"])


class TestDeadLetters:
    async def test_what_kills_its_consumers_again_and_again_becomes_one(
        self, service: Service, operator: aio_pika.abc.AbstractChannel
    ) -> None:
        topic, heir = new_topic(), Recorder()
        bus = await service()
        await bus.publish(topic, b"poison")
        queue = await operator.get_queue(f"breezeblock.{topic}")
        for _ in range(21):
            message = await next_of(queue)
            await message.nack(requeue=True)

        dead = await operator.get_queue("breezeblock.dead-letters")
        found = await next_of(dead)
        while found.body != b"poison":  # what other tests have left
            await found.ack()
            found = await next_of(dead)
        await found.ack()
        await bus.consume(topic, heir, in_flight=1)
        await bus.publish(topic, b"fine")

        await until(lambda: heir.got)
        assert found.headers["x-first-death-queue"] == f"breezeblock.{topic}"
        assert heir.got == [b"fine"]


async def next_of(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    async with asyncio.timeout(HANG_SECONDS):
        while (message := await queue.get(fail=False)) is None:
            await asyncio.sleep(0.01)
    return message


class TestTopology:
    async def test_a_topic_is_a_durable_quorum_queue_that_operators_can_watch(
        self, bus: Bus, operator: aio_pika.abc.AbstractChannel
    ) -> None:
        topic = new_topic("volume.host@backend")
        await bus.publish(topic, b"one")

        queue = await operator.declare_queue(
            f"breezeblock.{topic}",
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": 20,
                "x-max-length": 10_000,
                "x-overflow": "reject-publish",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "breezeblock.dead-letters",
            },
        )
        message = await queue.get()
        assert message.body == b"one"

    async def test_a_queue_that_cannot_be_used_spares_the_others_and_is_tried_again(
        self,
        rabbitmq: RabbitMQ,
        operator: aio_pika.abc.AbstractChannel,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(amqp_session, "RETRY_SECONDS", 0.5)
        sick, healthy, waiting, working = new_topic(), new_topic(), Recorder(), Recorder()
        await operator.declare_queue(f"breezeblock.{sick}", exclusive=True)
        bus = open_bus(rabbitmq.url)
        await bus.consume(sick, waiting, in_flight=1)
        await bus.consume(healthy, working, in_flight=1)
        await bus.start()

        await publish_when_possible(bus, healthy, b"one")
        await until(lambda: working.got)
        await operator.queue_delete(f"breezeblock.{sick}")
        await publish_when_possible(bus, sick, b"two")

        await until(lambda: waiting.got)
        await bus.close()

    async def test_a_queue_of_an_earlier_version_is_used_while_it_is_consumed_then_replaced(
        self, service: Service, operator: aio_pika.abc.AbstractChannel
    ) -> None:
        topic, old, new = new_topic(), Recorder(), Recorder()
        name = f"breezeblock.{topic}"
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 20}

        async def record(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            await old(message.body)
            await message.ack()

        queue = await operator.declare_queue(name, durable=True, arguments=arguments)
        tag = await queue.consume(record)
        upgraded = await service()
        await upgraded.publish(topic, b"to the old one")
        await until(lambda: old.got)

        await queue.cancel(tag)
        await (await service()).consume(topic, new, in_flight=1)
        await upgraded.publish(topic, b"to the new one")

        await until(lambda: new.got)
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
            await operator.declare_queue(name, durable=True, arguments=arguments)

    async def test_a_queue_full_for_one_leaves_others_in_peace(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        full, empty, other = new_topic(), new_topic(), Recorder()
        await bus.consume(empty, other, in_flight=1)
        monkeypatch.setattr(base, "LONGEST_QUEUE", 1)

        with pytest.raises(QueueFull):
            for _ in range(100):
                await bus.publish(full, b"nobody takes me")
        await bus.publish(empty, b"take me")

        await until(lambda: other.got)
        assert bus.connected

    async def test_a_consumer_survives_the_deletion_of_its_queue(
        self, bus: Bus, operator: aio_pika.abc.AbstractChannel
    ) -> None:
        topic, consumer = new_topic(), Recorder()
        await bus.consume(topic, consumer, in_flight=1)

        await operator.queue_delete(f"breezeblock.{topic}")
        await until(lambda: not bus.connected)
        await until(lambda: bus.connected)

        await bus.publish(topic, b"one")
        await until(lambda: consumer.got)

    async def test_a_publisher_survives_the_deletion_of_its_queue(
        self, service: Service, operator: aio_pika.abc.AbstractChannel
    ) -> None:
        topic, consumer = new_topic(), Recorder()
        publisher = await service()
        await publisher.publish(topic, b"deleted")
        await operator.queue_delete(f"breezeblock.{topic}")

        with pytest.raises(BusUnavailable):
            await publisher.publish(topic, b"came back")
        await publish_when_possible(publisher, topic, b"kept")

        assert publisher.figures.returned == 1
        await (await service()).consume(topic, consumer, in_flight=1)
        await until(lambda: consumer.got)
        assert consumer.got == [b"kept"]

    async def test_the_last_listener_takes_the_exchange_along_and_nobody_minds(
        self, service: Service, operator: aio_pika.abc.AbstractChannel
    ) -> None:
        topic, first, second = new_topic("reply"), Recorder(), Recorder()
        work, worked = new_topic(), Recorder()
        speaker, leaving = await service(), await service()
        await leaving.listen(topic, first)
        await speaker.broadcast(topic, b"one")
        await until(lambda: first.got)
        await leaving.close()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await operator.get_exchange(f"breezeblock.{topic}")

        sent = [b"%d" % number for number in range(20)]
        publishing = [speaker.publish(work, body) for body in sent]
        await asyncio.gather(speaker.broadcast(topic, b"two"), *publishing)
        await speaker.consume(work, worked, in_flight=1)
        await until(lambda: set(worked.got) == set(sent))

        await (await service()).listen(topic, second)
        await speaker.broadcast(topic, b"three")
        await until(lambda: second.got)
        assert (first.got, second.got) == ([b"one"], [b"three"])

    async def test_a_cancelled_publisher_harms_no_other(self, bus: Bus) -> None:
        topic, consumer = new_topic(), Recorder()
        await bus.consume(topic, consumer, in_flight=5)

        for number in range(20):
            leaving = asyncio.create_task(bus.publish(new_topic(), b"never mind"))
            await asyncio.sleep(0.001 * (number % 5))
            staying = asyncio.create_task(bus.publish(topic, b"%d" % number))
            leaving.cancel()
            await staying

        await until(lambda: len(consumer.got) == 20)
