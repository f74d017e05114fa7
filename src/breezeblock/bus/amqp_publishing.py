"""The publishing side of a session with an AMQP broker.

It has a channel of its own, which may break without harm to the consumers: the broker closes it
over an exchange that has gone. A new one is opened then.

A queue that has gone is not made again at once. RabbitMQ (seen with 3.10) tells its consumers only
if it stays away for some milliseconds; otherwise they count as consumers of the new queue and get
nothing from it. They make it again themselves; what is published meanwhile is lost, and polled for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import (
    AMQPChannelError,
    ChannelInvalidStateError,
    DeliveryError,
    PublishError,
)

from breezeblock.bus.amqp_link import ANSWER_SECONDS, answer_within
from breezeblock.bus.amqp_topology import declare_exchange, ensure_queue, name_on_broker
from breezeblock.bus.base import BusUnavailable, Figures, QueueFull

GONE_SECONDS = 1.0
"""How long a queue that has gone is left alone."""

Attempt = Callable[[AbstractChannel], Awaitable[None]]


class QueueGone(BusUnavailable):
    """The broker is there, the topic's queue is not, or was not a moment ago."""


class Publishing:
    """A channel with publisher confirms, and what is known to be declared."""

    def __init__(self, connection: AbstractConnection, figures: Figures) -> None:
        self._connection = connection
        self._figures = figures
        self._opening = asyncio.Lock()
        self._channel: AbstractChannel | None = None
        self._queues: set[str] = set()
        self._gone: dict[str, float] = {}
        self._exchanges: dict[str, AbstractExchange] = {}

    async def to_one(self, topic: str, body: bytes) -> None:
        """Queue the message; returns when the broker has it on disk.

        Raises QueueFull and QueueGone, which say nothing against the broker.
        """

        async def attempt(channel: AbstractChannel) -> None:
            if topic not in self._queues:
                self._check_gone(topic)
                await ensure_queue(self._connection, topic)
                self._queues.add(topic)
            message = Message(body, delivery_mode=DeliveryMode.PERSISTENT)
            try:
                await channel.default_exchange.publish(message, name_on_broker(topic))
            except PublishError:  # it came back
                self._figures.returned += 1
                self._queues.discard(topic)
                self._gone[topic] = _now() + GONE_SECONDS
                raise QueueGone(f"The queue of {topic} has gone.") from None
            except DeliveryError:
                raise QueueFull(f"Too many messages wait on {topic} already.") from None

        await self._twice(attempt)

    async def to_all(self, topic: str, body: bytes) -> None:
        """Hand the message to every queue bound now; returns when the broker has done it."""

        async def attempt(channel: AbstractChannel) -> None:
            if topic not in self._exchanges:
                self._exchanges[topic] = await declare_exchange(channel, topic)
            await self._exchanges[topic].publish(Message(body), "", mandatory=False)

        await self._twice(attempt)

    def renew(self) -> None:
        """Use another channel from now on: this one has left something unanswered.

        Over a queue that was replaced under it, a channel may never get an answer again.
        """
        channel, self._channel = self._channel, None
        if channel is not None and not channel.is_closed:
            self._closing = asyncio.create_task(_close(channel))

    async def _twice(self, attempt: Attempt) -> None:
        """Try again when the channel broke under us.

        An exchange deleted with its last listener: the channel is closed with all that is on its
        way there, ours or not.
        """
        channel = await self._open_channel()
        try:
            await attempt(channel)
        except (AMQPChannelError, ChannelInvalidStateError):
            if self._channel is channel:
                self._channel = None
        else:
            return
        await attempt(await self._open_channel())

    async def _open_channel(self) -> AbstractChannel:
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._queues.clear()
                self._exchanges.clear()
                self._channel = await self._connection.channel(on_return_raises=True)
            return self._channel

    def _check_gone(self, topic: str) -> None:
        if _now() < self._gone.get(topic, 0.0):
            self._figures.refused += 1
            raise QueueGone(f"The queue of {topic} has gone.")
        self._gone.pop(topic, None)


async def _close(channel: AbstractChannel) -> None:
    """Only to free it on the broker: whether that comes about is all the same."""
    with suppress(BusUnavailable):
        async with answer_within(ANSWER_SECONDS):
            await channel.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
