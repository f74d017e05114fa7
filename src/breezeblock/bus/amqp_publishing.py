"""The publishing side of a session with an AMQP broker.

It has a channel of its own, which may break without harm to the consumers: the broker closes it
over an exchange that has gone. A new one is opened then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import (
    AMQPChannelError,
    ChannelInvalidStateError,
    DeliveryError,
    PublishError,
)

from breezeblock.bus.amqp_topology import declare_exchange, ensure_queue, name_on_broker
from breezeblock.bus.base import Figures, QueueFull

Attempt = Callable[[AbstractChannel], Awaitable[None]]


class Publishing:
    """A channel with publisher confirms, and what is known to be declared."""

    def __init__(self, connection: AbstractConnection, figures: Figures) -> None:
        self._connection = connection
        self._figures = figures
        self._opening = asyncio.Lock()
        self._channel: AbstractChannel | None = None
        self._queues: set[str] = set()
        self._exchanges: dict[str, AbstractExchange] = {}

    async def to_one(self, topic: str, body: bytes) -> None:
        """Queue the message; returns when the broker has it on disk. Raises QueueFull."""

        async def attempt(channel: AbstractChannel) -> None:
            if topic not in self._queues:
                await ensure_queue(self._connection, topic)
                self._queues.add(topic)
            message = Message(body, delivery_mode=DeliveryMode.PERSISTENT)
            try:
                await channel.default_exchange.publish(message, name_on_broker(topic))
            except PublishError:
                raise  # it came back: there is no such queue
            except DeliveryError:
                raise QueueFull(f"Too many messages wait on {topic} already.") from None

        await self._twice(attempt, topic)

    async def to_all(self, topic: str, body: bytes) -> None:
        """Hand the message to every queue bound now; returns when the broker has done it."""

        async def attempt(channel: AbstractChannel) -> None:
            if topic not in self._exchanges:
                self._exchanges[topic] = await declare_exchange(channel, topic)
            await self._exchanges[topic].publish(Message(body), "", mandatory=False)

        await self._twice(attempt, topic)

    async def _twice(self, attempt: Attempt, topic: str) -> None:
        """Try again when what had been declared is gone, or the channel broke under us.

        A queue deleted by hand: the message comes back. An exchange deleted with its last
        listener: the channel is closed with all that is on its way there, ours or not.
        """
        channel = await self._open_channel()
        try:
            await attempt(channel)
        except PublishError:
            self._figures.returned += 1
            self._queues.discard(topic)
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
