"""One connection to an AMQP broker and all that hangs on it, until the first thing goes wrong.

Used by `AmqpBus` only. A session is built once and never repaired: whatever happens to its
connection, to a consumer's channel or to its queue completes `lost`, and the bus builds another.
Handlers go on meanwhile: they are tasks of the bus.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aio_pika
import structlog
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)

from breezeblock.bus.amqp_publishing import Publishing
from breezeblock.bus.amqp_topology import (
    declare_exchange,
    declare_queue,
    name_on_broker,
    queue_depth,
)
from breezeblock.bus.base import BusUnavailable, Handler
from breezeblock.bus.handling import Tasks, cancelled, handle

log = structlog.get_logger(__name__)
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what it says ends in `lost`

ANSWER_SECONDS = 2.0
"""How long a publisher waits for the broker."""

SETUP_SECONDS = 10.0
"""How long connecting may take, and each subscription."""

RETRY_SECONDS = 30.0
"""How long a session serves the rest when a subscription has failed."""

HEARTBEAT_SECONDS = 10
"""A client silent for twice this long is dead to the broker: others get its messages."""

PULSE_SECONDS = 5.0
"""How often we ask whether the broker is alive, and how long it has to answer.

The client library would notice silence only after three heartbeats.
"""


Send = Callable[[str, bytes], Awaitable[None]]


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
    """A connection with its consumers, listeners and publisher."""

    def __init__(self, url: str, tasks: Tasks) -> None:
        self._url = url
        self._tasks = tasks
        self._connection: AbstractConnection | None = None
        self._consuming: dict[Consumer | Listener, tuple[AbstractQueue, str]] = {}
        self._hushed = False
        self._doubt = asyncio.Event()
        self._pulse: asyncio.Task[None] | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Completes with the reason when anything has gone wrong."""

    @property
    def answering(self) -> bool:
        return not (self.lost.done() or self._doubt.is_set())

    async def open(self) -> None:
        """Connect. Raises BusUnavailable."""
        async with _answer_within(SETUP_SECONDS):
            connection = await aio_pika.connect(
                self._url,
                heartbeat=HEARTBEAT_SECONDS,
                client_properties={"connection_name": f"breezeblock {os.getpid()}"},
            )
        connection.close_callbacks.add(self._on_close)
        self._connection = connection
        self._publishing = Publishing(connection)
        self._pulse = asyncio.create_task(self._feel_pulse(connection))

    async def subscribe(self, subscription: Consumer | Listener) -> None:
        """Serve it, or leave the others in peace: the session ends some time later, to try again.

        One sick queue must not make a service deaf for all others.
        """
        try:
            async with _answer_within(SETUP_SECONDS):
                match subscription:
                    case Consumer():
                        channel = await self._consume(subscription)
                    case Listener():
                        channel = await self._listen(subscription)
                channel.close_callbacks.add(self._on_close)
                if channel.is_closed:
                    self._lose("a channel was closed")
        except BaseException as error:
            name = name_on_broker(subscription.topic)
            log.warning("cannot subscribe; does deleting it help?", name=name, reason=str(error))
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._lose, f"no {name}")
            if not isinstance(error, BusUnavailable):
                raise

    async def publish(self, topic: str, body: bytes) -> None:
        """Return when the broker has the message on disk. Raises BusUnavailable."""
        await self._send(self._publishing.to_one, topic, body)

    async def broadcast(self, topic: str, body: bytes) -> None:
        """Return when the broker has the message. Raises BusUnavailable."""
        await self._send(self._publishing.to_all, topic, body)

    async def depths(self, topics: Iterable[str]) -> dict[str, int]:
        """How many messages wait in each queue that is there. Raises BusUnavailable."""
        assert self._connection is not None
        found = {}
        async with _answer_within(ANSWER_SECONDS):
            for topic in topics:
                if (depth := await queue_depth(self._connection, topic)) is not None:
                    found[topic] = depth
        return found

    async def hush(self) -> None:
        """Take no more messages; what has not begun goes back to the broker at close()."""
        self._hushed = True
        with suppress(BusUnavailable):
            async with _answer_within(ANSWER_SECONDS):
                for queue, tag in self._consuming.values():
                    await queue.cancel(tag)

    async def leave(self, consumer: Consumer) -> None:
        """Take no more of the consumer's messages."""
        if consumer in self._consuming:
            queue, tag = self._consuming.pop(consumer)
            with suppress(BusUnavailable):
                async with _answer_within(ANSWER_SECONDS):
                    await queue.cancel(tag)

    async def close(self) -> None:
        """Let go of everything, within a few seconds whatever the broker does."""
        self._lose("closed")
        if self._pulse is not None:
            self._pulse.cancel()
        if self._connection is not None:
            with suppress(BusUnavailable):
                async with _answer_within(ANSWER_SECONDS * 2):
                    await self._connection.close()

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    def _on_close(self, _sender: object, error: BaseException | None) -> None:
        self._lose(repr(error))

    def _on_cancel(self, _frame: object) -> None:
        self._lose("a queue was deleted")

    async def _channel(self, in_flight: int) -> AbstractChannel:
        assert self._connection is not None
        channel = await self._connection.channel(publisher_confirms=False)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(self._on_cancel)
        await channel.set_qos(prefetch_count=in_flight)
        return channel

    async def _consume(self, consumer: Consumer) -> AbstractChannel:
        async def deliver(message: AbstractIncomingMessage) -> None:
            self._tasks.spawn(self._work(consumer, message))

        channel = await self._channel(consumer.in_flight)
        queue = await declare_queue(channel, consumer.topic)
        self._consuming[consumer] = (queue, await queue.consume(deliver))
        if consumer.left.is_set():  # meanwhile
            await self.leave(consumer)
        return channel

    async def _listen(self, listener: Listener) -> AbstractChannel:
        async def deliver(message: AbstractIncomingMessage) -> None:
            if not self._hushed:
                self._tasks.spawn(handle(listener.topic, listener.handler, message.body))

        channel = await self._channel(in_flight=0)  # which is: unbounded
        queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(await declare_exchange(channel, listener.topic))
        self._consuming[listener] = (queue, await queue.consume(deliver, no_ack=True))
        return channel

    async def _work(self, consumer: Consumer, message: AbstractIncomingMessage) -> None:
        async with consumer.slots:
            if self._hushed or self.lost.done():
                return  # unacknowledged: the broker gives it to somebody
            here = not consumer.left.is_set()
            here = here and await handle(consumer.topic, consumer.handler, message.body)
        try:
            async with _answer_within(ANSWER_SECONDS):
                await (message.ack() if here else message.nack(requeue=True))
        except BusUnavailable as error:
            log.info("message not acknowledged", topic=consumer.topic, reason=str(error))

    async def _send(self, send: Send, topic: str, body: bytes) -> None:
        """After a failure publishers are refused at once until the broker shows signs of life.

        A cancelled caller leaves, the sending goes on: cancelled in the middle, it would spoil
        the channel, and with it the connection, for everybody.
        """

        async def confirmed() -> None:
            try:
                async with _answer_within(ANSWER_SECONDS):
                    await send(topic, body)
            except BusUnavailable:
                self._doubt.set()
                raise

        if not self.answering:
            raise BusUnavailable("The message broker does not answer.")
        await asyncio.shield(asyncio.create_task(confirmed()))

    async def _feel_pulse(self, connection: AbstractConnection) -> None:
        """Give the session up when the broker leaves a trivial question unanswered.

        A slow disk delays confirms but not this answer: it must not cost us the connection.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE_SECONDS):
                    await self._doubt.wait()
            try:
                async with _answer_within(PULSE_SECONDS):
                    await (await connection.channel(publisher_confirms=False)).close()
            except BusUnavailable as error:
                self._lose(str(error))
                return
            self._doubt.clear()


@asynccontextmanager
async def _answer_within(seconds: float) -> AsyncIterator[None]:
    """Turn silence, and whatever the client library raises, into BusUnavailable.

    It fails pending calls with what closed the channel: AMQP errors, OSError, RuntimeError, bare
    Exception, and CancelledError though nobody cancelled us.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise BusUnavailable("The message broker does not answer.") from error
    except asyncio.CancelledError as error:
        if cancelled():
            raise
        raise BusUnavailable("The message broker was lost.") from error
    except Exception as error:
        raise BusUnavailable(f"The message broker failed: {error!r}") from error
