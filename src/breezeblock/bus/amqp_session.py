"""A connected bus and all that hangs on it, until the first thing goes wrong.

Used by `AmqpBus` only. A session is built once and never repaired: whatever happens to its
connections, to a consumer's channel or to its queue completes `lost`, and the bus builds another.
Handlers go on meanwhile: they are tasks of the bus.

It has two connections, because a broker that is short of memory or disk space stops reading from
those that publish: what is being consumed must not suffer from that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from pamqp.commands import Basic, Queue

from breezeblock.bus import amqp_link
from breezeblock.bus.amqp_channel import TAG, Channel, Closed
from breezeblock.bus.amqp_link import ANSWER_SECONDS, Link, answer_within
from breezeblock.bus.amqp_publishing import Message, Publishing
from breezeblock.bus.amqp_receipts import Receipts
from breezeblock.bus.amqp_topology import bind, ensure_queue, name_on_broker, queue_depth
from breezeblock.bus.base import DEAD_LETTERS, BusUnavailable, Figures, Handler
from breezeblock.bus.handling import Tasks, Verdict, handle
from breezeblock.model.ids import new_id

log = structlog.get_logger(__name__)

SETUP_SECONDS = 10.0
"""How long connecting may take, and each subscription."""

RETRY_SECONDS = 30.0
"""How long a session serves the rest when a subscription has failed."""

USELESS_SECONDS = 4.0
"""How long one lasts in which all subscriptions have failed; it still publishes."""


@dataclass(frozen=True, eq=False, slots=True)
class Consumer:
    """Somebody who takes messages from a topic.

    The slots outlive sessions, as running handlers do: the next session brings messages while
    those of the last are still being handled.
    """

    topic: str
    handler: Handler
    in_flight: int
    slots: asyncio.Semaphore
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once he wants no more of them."""


@dataclass(frozen=True, eq=False, slots=True)
class Listener:
    """Somebody who hears what is broadcast on a topic."""

    topic: str
    handler: Handler


class Session:
    """The connections, with consumers, listeners and publisher."""

    def __init__(self, tasks: Tasks, figures: Figures) -> None:
        self._tasks = tasks
        self._figures = figures
        self._hearing, self._speaking = Link(self._lose), Link(self._lose)
        self._consuming: dict[Consumer | Listener, Channel] = {}
        self._receipts: list[Receipts] = []
        self._ears: list[tuple[Channel, str, str]] = []
        """Of each listener the queue, and the topic."""
        self._hushed = False
        self._mending: asyncio.Task[None] | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Completes with the reason when anything has gone wrong."""

    @property
    def answering(self) -> bool:
        """Whether messages are taken now."""
        lost = self.lost.done()
        return not lost and self._speaking.answering and not self._speaking.blocked

    async def open(self, url: str, seconds: float) -> None:
        """Connect, each time within so many seconds. Raises BusUnavailable."""
        self._connection = await self._hearing.open(url, "hears", seconds)
        speaking = await self._speaking.open(url, "speaks", seconds)
        self._publishing = Publishing(speaking, self._figures, self._tasks, self._speaking.doubt)
        try:
            async with answer_within(SETUP_SECONDS):
                await ensure_queue(self._connection, DEAD_LETTERS)
        except BusUnavailable as error:
            log.warning("dead letters will be lost", reason=str(error))
        self._mending = asyncio.create_task(self._mend_bindings())

    async def subscribe(self, subscription: Consumer | Listener) -> None:
        """Serve it, or leave the others in peace: the session ends some time later, to try again.

        One sick queue must not make a service deaf for all others.
        """
        try:
            async with answer_within(SETUP_SECONDS):
                match subscription:
                    case Consumer():
                        channel = await self._consume(subscription)
                    case Listener():
                        channel = await self._listen(subscription)
                channel.on_closed = self._on_close
                if channel.closed is not None:
                    self._on_close(channel.closed)
        except BaseException as error:
            name = name_on_broker(subscription.topic)
            log.warning("cannot subscribe; does deleting it help?", name=name, reason=str(error))
            self._try_again(f"no {name}")
            if not isinstance(error, BusUnavailable):
                raise

    def _try_again(self, reason: str) -> None:
        """In a session to come: sooner when this one consumes nothing at all."""

        def unless_of_use() -> None:
            if not self._consuming:
                self._lose(reason)

        loop = asyncio.get_running_loop()
        loop.call_later(USELESS_SECONDS, unless_of_use)
        loop.call_later(RETRY_SECONDS, self._lose, reason)

    async def publish(self, topic: str, body: bytes) -> None:
        """Return when the broker has the message on disk. Raises BusUnavailable."""
        await self._send_and_wait(topic, body, everyone=False)

    async def broadcast(self, topic: str, body: bytes) -> None:
        """Return when the broker has the message. Raises BusUnavailable."""
        await self._send_and_wait(topic, body, everyone=True)

    async def _send_and_wait(self, topic: str, body: bytes, *, everyone: bool) -> None:
        fate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.send(Message(topic, body, everyone, fate))
        await fate

    def send(self, message: Message) -> None:
        """Have it sent. Raises BusUnavailable when that is of no use.

        After a failure publishers are refused at once until the broker shows signs of life.
        """
        if not self.answering:
            self._figures.refused += 1
            raise BusUnavailable(
                "The message broker takes no messages: it is short of memory or disk space."
                if self._speaking.blocked
                else "The message broker does not answer."
            )
        self._publishing.send(message)

    async def flush(self) -> None:
        """Send what waits, and leave what is on its way a moment to arrive."""
        for receipts in self._receipts:
            receipts.send()
        with suppress(BusUnavailable):
            async with answer_within(ANSWER_SECONDS):
                await self._publishing.quiet()

    async def depths(self, topics: Iterable[str]) -> dict[str, int]:
        """How many messages wait in each queue that is there. Raises BusUnavailable."""
        found = {}
        async with answer_within(ANSWER_SECONDS):
            for topic in topics:
                if (depth := await queue_depth(self._connection, topic)) is not None:
                    found[topic] = depth
        return found

    async def hush(self) -> None:
        """Take no more messages; what has not begun goes back to the broker at close()."""
        self._hushed = True
        with suppress(BusUnavailable):
            async with answer_within(ANSWER_SECONDS):
                for channel in self._consuming.values():
                    await channel.ask(Basic.Cancel(TAG))

    async def leave(self, consumer: Consumer) -> None:
        """Take no more of the consumer's messages."""
        if consumer in self._consuming:
            channel = self._consuming.pop(consumer)
            with suppress(BusUnavailable):
                async with answer_within(ANSWER_SECONDS):
                    await channel.ask(Basic.Cancel(TAG))

    async def close(self) -> None:
        """Let go of everything, within a few seconds whatever the broker does."""
        self._lose("closed")
        if self._mending is not None:
            self._mending.cancel()
        await asyncio.gather(self._hearing.close(), self._speaking.close())

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    def _on_close(self, reason: Closed) -> None:
        self._lose(str(reason))

    async def _channel(self, in_flight: int) -> Channel:
        channel = await self._connection.channel()
        channel.on_cancelled = lambda: self._lose("a queue was deleted")
        await channel.ask(Basic.Qos(prefetch_count=in_flight))
        return channel

    async def _consume(self, consumer: Consumer) -> Channel:
        def deliver(tag: int, redelivered: bool, body: bytes) -> None:
            self._figures.redelivered += redelivered
            receipts.delivered(tag)
            self._tasks.spawn(self._work(consumer, receipts, tag, body))

        await ensure_queue(self._connection, consumer.topic)
        channel = await self._channel(consumer.in_flight)
        receipts = Receipts(channel, consumer.in_flight)
        self._receipts.append(receipts)
        channel.on_delivery = deliver
        queue = name_on_broker(consumer.topic)
        await channel.consume(queue)
        self._consuming[consumer] = channel
        if consumer.left.is_set():  # meanwhile
            await self.leave(consumer)
        return channel

    async def _listen(self, listener: Listener) -> Channel:
        def deliver(_tag: int, _redelivered: bool, body: bytes) -> None:
            if not self._hushed:
                self._tasks.spawn(handle(listener.topic, listener.handler, body))

        channel = await self._channel(in_flight=0)  # which is: unbounded
        channel.on_delivery = deliver
        queue = name_on_broker(f"{listener.topic}.{new_id()}")
        await channel.ask(Queue.Declare(queue=queue, exclusive=True, auto_delete=True))
        await bind(channel, queue, listener.topic)
        await channel.consume(queue, no_ack=True)
        self._consuming[listener] = channel
        self._ears.append((channel, queue, listener.topic))
        return channel

    async def _mend_bindings(self) -> None:
        """Of an exchange that is deleted its listeners are not told: they are merely deaf."""
        while True:
            await asyncio.sleep(amqp_link.PULSE_SECONDS)
            try:
                for channel, queue, topic in self._ears:
                    async with answer_within(SETUP_SECONDS):
                        await bind(channel, queue, topic)
            except BusUnavailable as error:
                self._lose(str(error))

    async def _work(self, consumer: Consumer, receipts: Receipts, tag: int, body: bytes) -> None:
        async with consumer.slots:
            if self._hushed or self.lost.done():
                return  # unacknowledged: the broker gives it to somebody
            verdict = Verdict.FOR_ANOTHER
            if not consumer.left.is_set():
                verdict = await handle(consumer.topic, consumer.handler, body)
        self._figures.consumed += verdict is Verdict.DONE
        self._figures.unreadable += verdict is Verdict.DEAD
        if verdict is Verdict.DONE:
            receipts.done(tag)
        else:
            receipts.refused(tag, requeue=verdict is Verdict.FOR_ANOTHER)
