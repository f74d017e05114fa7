"""What our topics are called on the broker, and how they are declared there.

Used by the consuming and by the publishing side, because whoever comes first declares.

A topic is a quorum queue with two limits. A message that nobody could handle (it cannot be read,
or its consumers die of it) goes to the queue of dead letters. And a queue that nobody consumes
takes no more than so many messages: the publisher is told, and polling finds the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from breezeblock.bus import base
from breezeblock.bus.base import DEAD_LETTERS

log = structlog.get_logger(__name__)

DELIVERY_LIMIT = 20
"""Deaths of consumers inside its handler after which a message is a dead letter.

The default of RabbitMQ 4, said aloud for 3.10. The work is in the database.
"""

DELETED_SECONDS = 0.2
"""So long a name stays unused, lest the broker takes the new queue for the old one."""

Arguments = Mapping[str, str | int]


def name_on_broker(topic: str) -> str:
    return f"breezeblock.{topic}"


def _arguments(topic: str) -> Arguments:
    bounded: dict[str, str | int] = {"x-queue-type": "quorum", "x-max-length": base.LONGEST_QUEUE}
    if topic == DEAD_LETTERS:
        return {**bounded, "x-overflow": "drop-head"}  # the latest tell most
    return {
        **bounded,
        # Refused, not dropped: what is dropped from a queue becomes a dead letter, too.
        "x-overflow": "reject-publish",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": name_on_broker(DEAD_LETTERS),
    }


async def ensure_queue(connection: AbstractConnection, topic: str) -> None:
    """See to it that the topic has its queue.

    One that an earlier version declared otherwise is replaced as soon as nobody consumes from it;
    until then it is used as it is, so that old and new processes hear each other while a
    deployment is upgraded. What it holds is lost with it: wake-ups, whose work polling finds.
    """
    try:
        await _declare(connection, topic)
    except ChannelPreconditionFailed as error:
        difference = str(error)
    else:
        return
    if topic == DEAD_LETTERS or await _is_consumed(connection, topic):
        log.warning("queue used as it is", name=name_on_broker(topic), reason=difference)
        return
    log.warning("queue replaced", name=name_on_broker(topic), reason=difference)
    async with connection.channel(publisher_confirms=False) as channel:
        await channel.queue_delete(name_on_broker(topic))
    await asyncio.sleep(DELETED_SECONDS)
    await _declare(connection, topic)


async def declare_exchange(channel: AbstractChannel, topic: str) -> AbstractExchange:
    """The exchange of broadcasts. Gone with its last listener: a topic may name a process."""
    return await channel.declare_exchange(
        name_on_broker(topic), ExchangeType.FANOUT, auto_delete=True
    )


async def queue_depth(connection: AbstractConnection, topic: str) -> int | None:
    """How many messages wait for a consumer; None when there is no such queue."""
    async with connection.channel(publisher_confirms=False) as channel:
        try:
            queue = await channel.declare_queue(name_on_broker(topic), passive=True)
        except ChannelNotFoundEntity:
            return None
        return queue.declaration_result.message_count


async def _declare(connection: AbstractConnection, topic: str) -> None:
    """On a channel of its own: the broker closes it over a difference."""
    async with connection.channel(publisher_confirms=False) as channel:
        await channel.declare_queue(
            name_on_broker(topic), durable=True, arguments=dict(_arguments(topic))
        )


async def _is_consumed(connection: AbstractConnection, topic: str) -> bool:
    async with connection.channel(publisher_confirms=False) as channel:
        queue = await channel.declare_queue(name_on_broker(topic), passive=True)
        return bool(queue.declaration_result.consumer_count)
