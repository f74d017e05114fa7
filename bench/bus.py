"""What a message costs us: python bench/bus.py [--queues classic] [--profile].

Processor time of this process for a message, in µs, on a private RabbitMQ and in memory:

* *publish, one by one*: the broker's confirmation of each is waited for before the next;
* *publish, together*: 50 callers at a time, each waits for its own;
* *hint*: as wake-ups are sent after a commit: nobody waits, the bus looks after the answers;
* *consume*: a message is delivered, handled by an empty handler, and acknowledged;
* *round trip*: a message to a consumer who broadcasts a reply, which is waited for. Both ends are
  in this process, so it pays for two publishers and two receivers.

Beside it a bare loop over aiormq as it is meant to be used (our bus goes around part of it), with
no supervision at all; and what the broker itself spends. Quorum queues are what a deployment has;
`--queues classic` shows what their disk and their log cost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import aiormq
import uvloop
from bench.profiling import profiled
from tests.engines.process import started
from tests.engines.rabbitmq import RabbitMQ

from breezeblock.bus import Bus, amqp_topology, open_bus
from breezeblock.operations.wakes import send_wakes, wake_body
from breezeblock.store.store import Wake

TOGETHER = 50
"""Callers at a time."""
IN_FLIGHT = 50
ID = "6f1c3a52-0f5e-4a3a-9d4e-0123456789ab"
BODY = wake_body(ID)
TICKS = os.sysconf("SC_CLK_TCK")

Send = Callable[[], Awaitable[object]]


class Subject(ABC):
    """Something that carries messages."""

    @abstractmethod
    async def publish(self) -> None:
        """Give a message to the queue; returns when it is there."""

    async def hint(self) -> None:
        """The same for a message that nobody waits for."""
        await self.publish()

    @abstractmethod
    async def consume(self, messages: int) -> None:
        """Take so many that wait in the queue already."""

    @abstractmethod
    async def round_trip(self) -> None:
        """A message there, a broadcast back."""


class OurBus(Subject):
    """The bus as services use it."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.wake = [Wake("bench", ID)]
        self.arrived = asyncio.Event()
        self.asking = False

    async def publish(self) -> None:
        await self.bus.publish("bench", BODY)

    async def hint(self) -> None:
        await send_wakes(self.bus, self.wake)

    async def consume(self, messages: int) -> None:
        left, done = messages, asyncio.Event()

        async def handle(_body: bytes) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        await self.bus.consume("bench", handle, in_flight=IN_FLIGHT)
        await done.wait()
        while self.bus.figures.consumed < messages:
            await asyncio.sleep(0)
        await self.bus.leave("bench", handle)

    async def round_trip(self) -> None:
        if not self.asking:
            self.asking = True
            await self.bus.consume("ask", self._answer, in_flight=IN_FLIGHT)
            await self.bus.listen("reply", self._heard)
        self.arrived.clear()
        await send_wakes(self.bus, [Wake("ask", ID)])
        await self.arrived.wait()

    async def _answer(self, _body: bytes) -> None:
        await send_wakes(self.bus, [Wake("reply", ID, everyone=True)])

    async def _heard(self, _body: bytes) -> None:
        self.arrived.set()


class Aiormq(Subject):
    """The client library alone: a channel to speak, a channel to hear."""

    def __init__(self, speak: Any, hear: Any) -> None:
        self.speak, self.hear = speak, hear
        self.arrived = asyncio.Event()
        self.asking = False

    async def publish(self) -> None:
        await self._send("", "breezeblock.bench")

    async def _send(self, exchange: str, key: str) -> None:
        properties = aiormq.spec.Basic.Properties(delivery_mode=2)
        await self.speak.basic_publish(
            BODY, exchange=exchange, routing_key=key, properties=properties
        )

    async def consume(self, messages: int) -> None:
        left, done = messages, asyncio.Event()

        async def handle(message: Any) -> None:
            nonlocal left
            await self.hear.basic_ack(message.delivery_tag)
            left -= 1
            if not left:
                done.set()

        await self.hear.basic_qos(prefetch_count=IN_FLIGHT)
        consuming = await self.hear.basic_consume("breezeblock.bench", handle)
        await done.wait()
        await self.hear.basic_cancel(consuming.consumer_tag)

    async def round_trip(self) -> None:
        if not self.asking:
            self.asking = True
            await self.hear.queue_declare("bare.ask")
            await self.hear.exchange_declare("bare.reply", exchange_type="fanout")
            reply = await self.hear.queue_declare(exclusive=True)
            await self.hear.queue_bind(reply.queue, "bare.reply")
            await self.hear.basic_consume("bare.ask", self._answer)
            await self.hear.basic_consume(reply.queue, self._heard, no_ack=True)
        self.arrived.clear()
        await self._send("", "bare.ask")
        await self.arrived.wait()

    async def _answer(self, message: Any) -> None:
        await self.hear.basic_ack(message.delivery_tag)
        await self._send("bare.reply", "")

    async def _heard(self, _message: Any) -> None:
        self.arrived.set()


@asynccontextmanager
async def our_bus(url: str) -> AsyncIterator[Subject]:
    bus = open_bus(url)
    await bus.start()
    while not bus.connected:
        await asyncio.sleep(0.01)
    try:
        yield OurBus(bus)
    finally:
        await bus.close()


@asynccontextmanager
async def bare_aiormq(url: str) -> AsyncIterator[Subject]:
    async with aiormq.connect(url) as speaking, aiormq.connect(url) as hearing:
        hear = await hearing.channel(publisher_confirms=False)
        yield Aiormq(await speaking.channel(), hear)


@dataclass
class Costs:
    """µs of processor time a message by what was done: ours and the broker's."""

    broker: RabbitMQ | None = None
    ours: dict[str, float] = field(default_factory=dict)
    brokers: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, what: str, messages: int) -> Iterator[None]:
        began, broker_began = time.process_time(), self._broker_seconds()
        yield
        self.ours[what] = (time.process_time() - began) / messages * 1e6
        self.brokers[what] = (self._broker_seconds() - broker_began) / messages * 1e6

    def _broker_seconds(self) -> float:
        if self.broker is None:
            return 0.0
        user, system = Path(f"/proc/{self.broker.pid}/stat").read_text().split()[13:15]
        return (int(user) + int(system)) / TICKS


async def measure(subject: Subject, messages: int, broker: RabbitMQ | None = None) -> Costs:
    costs = Costs(broker)
    await subject.publish()  # declares what there is to declare
    await subject.round_trip()
    with costs.of("publish, one by one", messages):
        for _ in range(messages):
            await subject.publish()
    with costs.of("publish, together", messages):
        await _together(subject.publish, messages)
    with costs.of("hint", messages):
        for number in range(messages):
            await subject.hint()
            if number % TOGETHER == 0:
                await asyncio.sleep(0.01)  # as if other requests came
    with costs.of("consume", messages * 3 + 1):
        await subject.consume(messages * 3 + 1)
    with costs.of("round trip", messages):
        for _ in range(messages):
            await subject.round_trip()
    return costs


async def _together(send: Send, messages: int) -> None:
    for _ in range(0, messages, TOGETHER):
        await asyncio.gather(*(send() for _ in range(TOGETHER)))


def table(found: Mapping[str, Costs]) -> str:
    lines = [f"| µs a message | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    for what in next(iter(found.values())).ours:
        cells = [
            f"{costs.ours[what]:.0f}"
            + (f" (broker {costs.brokers[what]:.0f})" if costs.broker else "")
            for costs in found.values()
        ]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def queues_of_type(kind: str) -> Any:
    """As in a deployment, or with topics that are classic queues."""
    if kind == "quorum":
        return nullcontext()
    declared = amqp_topology._arguments

    def classic(topic: str) -> dict[str, str | int]:
        quorum_only = ("x-queue-type", "x-delivery-limit")
        return {key: value for key, value in declared(topic).items() if key not in quorum_only}

    return mock.patch.object(amqp_topology, "_arguments", classic)


async def main(messages: int, queues: str, profile: bool) -> None:
    found: dict[str, Costs] = {}
    async with our_bus("memory:") as subject:
        found["in memory"] = await measure(subject, messages)
    with started(RabbitMQ()) as broker, queues_of_type(queues):
        async with our_bus(broker.url) as subject:
            with profiled({"bus": os.getpid()}) if profile else nullcontext() as shares:
                found[f"RabbitMQ, {queues}"] = await measure(subject, messages, broker)
        async with bare_aiormq(broker.url) as subject:
            found["bare aiormq"] = await measure(subject, messages, broker)
    print(table(found))
    if shares is not None:
        print(shares.table())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--queues", choices=["quorum", "classic"], default="quorum")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    uvloop.run(main(arguments.messages, arguments.queues, arguments.profile))
