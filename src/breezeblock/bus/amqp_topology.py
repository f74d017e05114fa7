"""What our topics are called on the broker, and how they are declared there.

Used by the consuming and by the publishing side, because whoever comes first declares.

A topic is a quorum queue with two limits. A message that nobody could handle (it cannot be read,
or its consumers die of it) goes to the queue of dead letters. And a queue that nobody consumes
takes no more than so many messages: the publisher is told, and polling finds the work.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from pamqp.base import Frame
from pamqp.commands import Exchange, Queue
from pamqp.common import FieldValue

from breezeblock.bus import base
from breezeblock.bus.amqp_channel import NOT_FOUND, PRECONDITION_FAILED, Channel, Closed
from breezeblock.bus.amqp_connection import Connection
from breezeblock.bus.base import DEAD_LETTERS

log = structlog.get_logger(__name__)

DELIVERY_LIMIT = 20
"""Deaths of consumers inside its handler after which a message is a dead letter.

The default of RabbitMQ 4, said aloud for 3.10. The work is in the database.
"""

DELETED_SECONDS = 0.2
"""So long a name stays unused, lest the broker takes the new queue for the old one."""

Arguments = dict[str, FieldValue]


def name_on_broker(topic: str) -> str:
    return f"breezeblock.{topic}"


def _arguments(topic: str) -> Arguments:
    bounded: Arguments = {"x-queue-type": "quorum", "x-max-length": base.LONGEST_QUEUE}
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


async def ensure_queue(connection: Connection, topic: str) -> None:
    """See to it that the topic has its queue.

    One that an earlier version declared otherwise is replaced as soon as nobody consumes from it;
    until then it is used as it is, so that old and new processes hear each other while a
    deployment is upgraded. What it holds is lost with it: wake-ups, whose work polling finds.
    """
    try:
        await _declare(connection, topic)
    except Closed as error:
        if error.code != PRECONDITION_FAILED:
            raise
        difference = str(error)
    else:
        return
    if topic == DEAD_LETTERS or await _is_consumed(connection, topic):
        log.warning("queue used as it is", name=name_on_broker(topic), reason=difference)
        return
    log.warning("queue replaced", name=name_on_broker(topic), reason=difference)
    await _ask(connection, Queue.Delete(queue=name_on_broker(topic)))
    await asyncio.sleep(DELETED_SECONDS)
    await _declare(connection, topic)


async def declare_exchange(channel: Channel, topic: str) -> str:
    """The exchange of broadcasts; its name. Gone with its last listener: a topic may name a
    process."""
    name = name_on_broker(topic)
    await channel.ask(Exchange.Declare(exchange=name, exchange_type="fanout", auto_delete=True))
    return name


async def bind(channel: Channel, queue: str, topic: str) -> None:
    """Have what is broadcast on the topic put into the queue."""
    exchange = await declare_exchange(channel, topic)
    await channel.ask(Queue.Bind(queue=queue, exchange=exchange))


async def queue_depth(connection: Connection, topic: str) -> int | None:
    """How many messages wait for a consumer; None when there is no such queue."""
    try:
        return (await _look(connection, topic)).message_count
    except Closed as error:
        if error.code == NOT_FOUND:
            return None
        raise


async def _declare(connection: Connection, topic: str) -> None:
    name, arguments = name_on_broker(topic), _arguments(topic)
    await _ask(connection, Queue.Declare(queue=name, durable=True, arguments=arguments))


async def _is_consumed(connection: Connection, topic: str) -> bool:
    return bool((await _look(connection, topic)).consumer_count)


async def _look(connection: Connection, topic: str) -> Queue.DeclareOk:
    found = await _ask(connection, Queue.Declare(queue=name_on_broker(topic), passive=True))
    assert isinstance(found, Queue.DeclareOk)
    return found


async def _ask(connection: Connection, method: Frame) -> Any:
    """On a channel of its own: the broker closes it over a difference."""
    async with connection.passing_channel() as channel:
        return await channel.ask(method)
