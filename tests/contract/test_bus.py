"""What `bus/base.py` promises, held against every bus.

The AMQP bus runs against a real RabbitMQ; what only a broker can do to it is in
`test_bus_amqp.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from breezeblock.bus import Bus, BusUnavailable, NotHere, base, handling, open_bus
from breezeblock.bus.amqp_hosts import broker_urls
from breezeblock.bus.base import DEAD_LETTERS, QueueFull, UnreadableMessage
from breezeblock.model.errors import InvalidInput
from tests.contract.buses import (
    HANG_SECONDS,
    Gate,
    Recorder,
    Service,
    new_topic,
    settle,
    until,
    until_true,
)


@pytest.fixture(params=["memory", "amqp"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory:"
    return str(request.getfixturevalue("rabbitmq").url)


@pytest.fixture
async def service(url: str) -> AsyncIterator[Service]:
    """In one process the services share one bus; with a broker each has its own."""
    buses: list[Bus] = []

    async def connected() -> Bus:
        if not (buses and url == "memory:"):
            buses.append(open_bus(url))
            await buses[-1].start()
            await until(lambda: buses[-1].connected)
        return buses[-1]

    yield connected
    for bus in buses:
        await bus.close()


@pytest.fixture
async def bus(service: Service) -> Bus:
    return await service()


class TestPublishAndConsume:
    async def test_a_message_reaches_the_consumer_of_its_topic_only(self, bus: Bus) -> None:
        topic, right, wrong = new_topic(), Recorder(), Recorder()
        await bus.consume(topic, right, in_flight=1)
        await bus.consume(new_topic(), wrong, in_flight=1)

        await bus.publish(topic, b'{"operation": 1}')

        await until(lambda: right.got)
        assert right.got == [b'{"operation": 1}']
        assert wrong.got == []

    async def test_a_message_waits_until_somebody_consumes(self, service: Service) -> None:
        topic, late = new_topic(), Recorder()
        await (await service()).publish(topic, b"early")

        await (await service()).consume(topic, late, in_flight=1)

        await until(lambda: late.got)
        assert late.got == [b"early"]

    async def test_every_message_is_handled_by_exactly_one_consumer(self, service: Service) -> None:
        topic, one, two = new_topic(), Recorder(), Recorder()
        await (await service()).consume(topic, one, in_flight=2)
        await (await service()).consume(topic, two, in_flight=2)
        sent = {b"%d" % number for number in range(50)}

        publisher = await service()
        await asyncio.gather(*(publisher.publish(topic, body) for body in sent))

        await until(lambda: len(one.got) + len(two.got) >= len(sent))
        await settle()
        assert sorted(one.got + two.got) == sorted(sent)

    async def test_two_consumers_share_the_work(self, service: Service) -> None:
        topic, one, two = new_topic(), Gate(), Gate()
        await (await service()).consume(topic, one, in_flight=1)
        await (await service()).consume(topic, two, in_flight=1)

        publisher = await service()
        for body in (b"a", b"b"):
            await publisher.publish(topic, body)

        await until(lambda: one.inside == two.inside == 1)
        one.open.set()
        two.open.set()

    async def test_a_free_consumer_takes_what_a_busy_one_cannot(self, service: Service) -> None:
        topic, busy, free = new_topic(), Gate(), Recorder()
        await (await service()).consume(topic, busy, in_flight=1)
        publisher = await service()
        await publisher.publish(topic, b"first")
        await until(lambda: busy.inside)
        await (await service()).consume(topic, free, in_flight=1)

        for body in (b"second", b"third", b"fourth"):
            await publisher.publish(topic, body)

        await until(lambda: len(free.got) == 3)
        busy.open.set()

    async def test_no_more_handlers_run_at_a_time_than_in_flight_says(self, bus: Bus) -> None:
        topic, gate = new_topic(), Gate()
        await bus.consume(topic, gate, in_flight=3)

        for number in range(8):
            await bus.publish(topic, b"%d" % number)
        await until(lambda: gate.inside == 3)
        await settle()
        assert gate.inside == 3

        gate.open.set()
        await until(lambda: len(gate.left) == 8)

    async def test_the_bound_counts_for_each_consumer(self, bus: Bus) -> None:
        topic, one, two = new_topic(), Gate(), Gate()
        await bus.consume(topic, one, in_flight=1)
        await bus.consume(topic, two, in_flight=2)

        for number in range(5):
            await bus.publish(topic, b"%d" % number)
        await until(lambda: one.inside == 1 and two.inside == 2)
        await settle()
        assert (one.inside, two.inside) == (1, 2)

        one.open.set()
        two.open.set()
        await until(lambda: len(one.left) + len(two.left) == 5)

    async def test_a_handler_may_publish(self, bus: Bus) -> None:
        first, second, end = new_topic(), new_topic(), Recorder()

        async def pass_on(body: bytes) -> None:
            await bus.publish(second, body + b"!")

        await bus.consume(first, pass_on, in_flight=1)
        await bus.consume(second, end, in_flight=1)
        await bus.publish(first, b"go")

        await until(lambda: end.got)
        assert end.got == [b"go!"]


class TestHandlersThatFail:
    @pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError()])
    async def test_the_message_is_dropped_and_the_next_one_comes(
        self, bus: Bus, error: BaseException
    ) -> None:
        topic, seen = new_topic(), Recorder()

        async def fail(body: bytes) -> None:
            await seen(body)
            if body == b"bad":
                raise error

        await bus.consume(topic, fail, in_flight=1)
        await bus.publish(topic, b"bad")
        await bus.publish(topic, b"good")

        await until(lambda: b"good" in seen.got)
        await settle()
        assert seen.got == [b"bad", b"good"]

    async def test_a_listener_that_raises_hears_the_next_broadcast(self, bus: Bus) -> None:
        topic, seen = new_topic(), Recorder()

        async def fail(body: bytes) -> None:
            await seen(body)
            raise RuntimeError("broken")

        await bus.listen(topic, fail)
        await bus.broadcast(topic, b"one")
        await bus.broadcast(topic, b"two")

        await until(lambda: len(seen.got) == 2)


class TestBroadcastAndListen:
    async def test_every_listener_hears_a_broadcast(self, service: Service) -> None:
        topic, one, two = new_topic(), Recorder(), Recorder()
        await (await service()).listen(topic, one)
        await (await service()).listen(topic, two)

        await (await service()).broadcast(topic, b"pools")

        await until(lambda: one.got and two.got)
        assert one.got == two.got == [b"pools"]

    async def test_a_service_hears_its_own_broadcast(self, bus: Bus) -> None:
        topic, ear = new_topic(), Recorder()
        await bus.listen(topic, ear)

        await bus.broadcast(topic, b"pools")

        await until(lambda: ear.got)

    async def test_a_broadcast_that_nobody_hears_is_gone(self, bus: Bus) -> None:
        topic, late = new_topic(), Recorder()
        await bus.broadcast(topic, b"early")

        await bus.listen(topic, late)
        await bus.broadcast(topic, b"late")

        await until(lambda: late.got)
        await settle()
        assert late.got == [b"late"]

    async def test_consumers_and_listeners_of_one_topic_do_not_mix(self, bus: Bus) -> None:
        topic, consumer, listener = new_topic(), Recorder(), Recorder()
        await bus.consume(topic, consumer, in_flight=1)
        await bus.listen(topic, listener)

        await bus.publish(topic, b"for one")
        await bus.broadcast(topic, b"for all")

        await until(lambda: consumer.got and listener.got)
        await settle()
        assert consumer.got == [b"for one"]
        assert listener.got == [b"for all"]


class TestHints:
    async def test_they_arrive_as_messages_and_broadcasts_do(self, bus: Bus) -> None:
        topic, consumer, listener = new_topic(), Recorder(), Recorder()
        await bus.consume(topic, consumer, in_flight=1)
        await bus.listen(topic, listener)

        for number in range(20):
            await bus.hint(topic, b"%d" % number)
        await bus.hint(topic, b"for all", everyone=True)

        await until(lambda: len(consumer.got) == 20 and listener.got)
        await until(lambda: bus.figures.published == 21)
        assert listener.got == [b"for all"]
        assert sorted(consumer.got) == sorted(b"%d" % number for number in range(20))

    async def test_what_a_full_queue_does_not_take_is_counted(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        topic = new_topic()
        monkeypatch.setattr(base, "LONGEST_QUEUE", 1)

        for number in range(100):
            with contextlib.suppress(QueueFull):
                await bus.hint(topic, b"%d" % number)

        figures = bus.figures
        await until(lambda: figures.published + figures.refused == 100)
        assert figures.refused > 0
        assert bus.connected

    async def test_a_bus_that_is_closed_refuses_them(self, bus: Bus) -> None:
        await bus.close()

        with pytest.raises(BusUnavailable):
            await bus.hint(new_topic(), b"late")
        with pytest.raises(BusUnavailable):
            await bus.hint(new_topic(), b"late", everyone=True)


class TestLeaving:
    async def test_others_get_what_comes_and_what_runs_goes_on(self, service: Service) -> None:
        topic, leaving, staying = new_topic(), Gate(), Recorder()
        first, second = await service(), await service()
        await first.consume(topic, leaving, in_flight=1)
        await first.publish(topic, b"running")
        await until(lambda: leaving.inside)

        await first.leave(topic, leaving)
        await second.consume(topic, staying, in_flight=1)
        for number in range(3):
            await first.publish(topic, b"%d" % number)

        await until(lambda: len(staying.got) == 3)
        assert (leaving.entered, leaving.cancelled) == ([b"running"], [])
        leaving.open.set()
        await until(lambda: leaving.left)

    async def test_what_a_handler_does_not_want_another_one_gets(self, service: Service) -> None:
        topic, refused, other = new_topic(), Recorder(), Recorder()
        first, second = await service(), await service()

        async def refuse(body: bytes) -> None:
            await refused(body)
            await first.leave(topic, refuse)
            raise NotHere

        await first.consume(topic, refuse, in_flight=1)
        await first.publish(topic, b"one")
        await until(lambda: refused.got)
        await second.consume(topic, other, in_flight=1)

        await until(lambda: other.got)
        assert refused.got == other.got == [b"one"]

    async def test_whoever_does_not_consume_may_leave(self, bus: Bus) -> None:
        await bus.leave(new_topic(), Recorder())


class TestMessagesThatNobodyCanHandle:
    async def test_what_a_handler_cannot_read_is_a_dead_letter(self, bus: Bus) -> None:
        topic, seen = new_topic(), Recorder()

        async def read(body: bytes) -> None:
            await seen(body)
            if body == b"gibberish":
                raise UnreadableMessage("It is no wake-up.")

        await bus.consume(topic, read, in_flight=1)
        before = (await bus.depths())[DEAD_LETTERS]
        await bus.publish(topic, b"gibberish")
        await bus.publish(topic, b"fine")

        async def counted() -> bool:
            return (await bus.depths())[DEAD_LETTERS] == before + 1

        await until_true(counted)
        await until(lambda: bus.figures.consumed == 1)
        assert seen.got == [b"gibberish", b"fine"]
        assert bus.figures.unreadable == 1


class TestAQueueThatNobodyConsumes:
    async def test_it_takes_so_many_messages_and_more_when_somebody_comes(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        topic, late, taken = new_topic(), Recorder(), []
        monkeypatch.setattr(base, "LONGEST_QUEUE", 5)
        with pytest.raises(QueueFull):
            for number in range(100):
                await bus.publish(topic, b"%d" % number)
                taken.append(b"%d" % number)
        dead = (await bus.depths())[DEAD_LETTERS]

        await bus.consume(topic, late, in_flight=1)
        await until(lambda: len(late.got) >= len(taken))

        async def taken_again() -> bool:
            with contextlib.suppress(QueueFull):
                await bus.publish(topic, b"again")
                return True
            return False

        await until_true(taken_again)
        await until(lambda: b"again" in late.got)
        assert len(taken) >= 5
        assert set(taken) <= set(late.got)
        assert (await bus.depths())[DEAD_LETTERS] == dead
        assert bus.figures.refused >= 1


class TestDepths:
    async def test_what_waits_is_counted_for_each_topic_consumed_here(
        self, service: Service
    ) -> None:
        busy, idle, gate = new_topic(), new_topic(), Gate()
        bus, publisher = await service(), await service()
        await bus.consume(busy, gate, in_flight=1)
        await bus.consume(idle, Recorder(), in_flight=1)
        for number in range(4):
            await publisher.publish(busy, b"%d" % number)
        await until(lambda: gate.inside)

        async def counted() -> bool:
            depths = await bus.depths()
            return (depths[busy], depths[idle]) == (3, 0)

        await until_true(counted)
        gate.open.set()
        await until(lambda: len(gate.left) == 4)

    async def test_a_bus_that_is_closed_cannot_say(self, bus: Bus) -> None:
        await bus.close()

        with pytest.raises(BusUnavailable):
            await bus.depths()


class TestStartAndClose:
    async def test_what_is_consumed_before_start_is_served_after_it(self, url: str) -> None:
        topic, consumer, listener = new_topic(), Recorder(), Recorder()
        bus = open_bus(url)
        await bus.consume(topic, consumer, in_flight=1)
        await bus.listen(topic, listener)
        assert not bus.connected

        await bus.start()
        await until(lambda: bus.connected)
        await bus.publish(topic, b"one")
        await bus.broadcast(topic, b"all")

        await until(lambda: consumer.got and listener.got)
        await bus.close()

    async def test_publishing_needs_a_started_bus(self, url: str) -> None:
        bus = open_bus(url)
        with pytest.raises(BusUnavailable):
            await bus.publish(new_topic(), b"early")
        with pytest.raises(BusUnavailable):
            await bus.broadcast(new_topic(), b"early")

    async def test_publishing_ends_with_close(self, bus: Bus) -> None:
        await bus.close()

        assert not bus.connected
        with pytest.raises(BusUnavailable):
            await bus.publish(new_topic(), b"late")
        with pytest.raises(BusUnavailable):
            await bus.broadcast(new_topic(), b"late")

    async def test_close_may_be_repeated_and_come_before_start(self, url: str) -> None:
        bus = open_bus(url)
        await bus.close()
        await bus.start()
        await bus.close()
        await bus.close()

    async def test_close_lets_a_running_handler_end(self, bus: Bus) -> None:
        topic, gate, ended = new_topic(), Gate(), Recorder()

        async def work(body: bytes) -> None:
            await gate(body)
            await bus.publish(new_topic(), b"what comes next")
            await ended(body)

        await bus.consume(topic, work, in_flight=1)
        await bus.publish(topic, b"one")
        await bus.publish(topic, b"two")
        await until(lambda: gate.inside)

        closing = asyncio.create_task(bus.close())
        await settle()
        assert not closing.done()
        gate.open.set()
        await closing

        assert gate.entered == ended.got == [b"one"]

    async def test_close_waits_only_so_long(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(handling, "PATIENCE", 0.1)
        topic, stuck = new_topic(), Gate()
        await bus.consume(topic, stuck, in_flight=1)
        await bus.publish(topic, b"for ever")
        await until(lambda: stuck.inside)

        async with asyncio.timeout(HANG_SECONDS):
            await bus.close()

        assert stuck.cancelled == [b"for ever"]


def test_only_known_schemes_open_a_bus() -> None:
    with pytest.raises(InvalidInput, match="kafka"):
        open_bus("kafka://localhost")


@pytest.mark.parametrize(
    ("url", "brokers"),
    [
        ("amqp://u:p@mq/", ["amqp://u:p@mq/"]),
        (
            "amqps://u:p%40@mq1,mq2:5673,[2001:db8::3]:1/v%2Fh?cafile=/ca.pem",
            [
                "amqps://u:p%40@mq1/v%2Fh?cafile=/ca.pem",
                "amqps://u:p%40@mq2:5673/v%2Fh?cafile=/ca.pem",
                "amqps://u:p%40@[2001:db8::3]:1/v%2Fh?cafile=/ca.pem",
            ],
        ),
    ],
)
def test_an_amqp_url_may_name_several_brokers(url: str, brokers: list[str]) -> None:
    assert list(broker_urls(url)) == brokers


@pytest.mark.parametrize(
    "hosts", ["", "mq1,", "mq1:", "mq1:0", "mq1:70000", "mq1:x", "mq 1", "[::1", "::1", "mq1;mq2:5"]
)
def test_an_amqp_url_without_a_good_host_is_refused_without_its_password(hosts: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_bus(f"amqp://user:secret@{hosts}/")
    assert "secret" not in str(refused.value)
