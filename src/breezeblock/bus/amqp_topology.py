"""What our topics are called on the broker, and how they are declared there.

Used by the consuming and by the publishing side, because whoever comes first declares.
"""

from __future__ import annotations

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity

DELIVERY_LIMIT = 20
"""Deaths of consumers inside its handler after which the broker drops a message.

The default of RabbitMQ 4, said aloud for 3.10. The work is in the database.
"""


def name_on_broker(topic: str) -> str:
    return f"breezeblock.{topic}"


async def declare_queue(channel: AbstractChannel, topic: str) -> AbstractQueue:
    """The queue of the messages that one consumer shall have."""
    return await channel.declare_queue(
        name_on_broker(topic),
        durable=True,
        arguments={"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT},
    )


async def declare_exchange(channel: AbstractChannel, topic: str) -> AbstractExchange:
    """The exchange of broadcasts. Gone with its last listener: a topic may name a process."""
    return await channel.declare_exchange(
        name_on_broker(topic), ExchangeType.FANOUT, auto_delete=True
    )


async def queue_depth(connection: AbstractConnection, topic: str) -> int | None:
    """How many messages wait for a consumer; None when there is no such queue."""
    channel = await connection.channel(publisher_confirms=False)
    try:
        queue = await channel.declare_queue(name_on_broker(topic), passive=True)
    except ChannelNotFoundEntity:
        return None  # and the broker has closed the channel
    await channel.close()
    return queue.declaration_result.message_count
