"""The publishing side of a session with an AMQP broker.

A message is written at once, and the broker confirms it some milliseconds later: many are on their
way at a time, and whoever does not need to know does not wait. What comes of each is counted here.

It has a channel of its own, which may break without harm to the consumers: the broker closes it
over an exchange that has gone, with all that is on its way. That is sent once more, on a new one.

A queue that has gone is not made again at once. RabbitMQ (seen with 3.10) tells its consumers only
if it stays away for some milliseconds; otherwise they count as consumers of the new queue and get
nothing from it. They make it again themselves; what is published meanwhile is lost, and polled for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from pamqp.commands import Confirm

from breezeblock.bus.amqp_channel import Channel, Closed
from breezeblock.bus.amqp_connection import Connection
from breezeblock.bus.amqp_frames import Envelope
from breezeblock.bus.amqp_link import ANSWER_SECONDS, NoAnswer, answer_within
from breezeblock.bus.amqp_topology import declare_exchange, ensure_queue, name_on_broker
from breezeblock.bus.base import BusUnavailable, Figures, QueueFull
from breezeblock.bus.handling import Tasks

log = structlog.get_logger(__name__)

GONE_SECONDS = 1.0
"""How long a queue that has gone is left alone."""


class QueueGone(BusUnavailable):
    """The broker is there, the topic's queue is not, or was not a moment ago."""


class Unconfirmed(BusUnavailable):
    """The broker was given the message, and did not say that it has it."""


@dataclass(eq=False, slots=True)
class Message:
    """One on its way, to one consumer or to everybody who listens."""

    topic: str
    body: bytes
    everyone: bool
    fate: asyncio.Future[None] | None = None
    """For whoever waits: done when the broker has it, or failed with the reason."""
    sent_at: float = 0.0
    returned: bool = False
    """It found no queue."""
    again: bool = False
    """The channel broke while it was on its way."""


@dataclass(eq=False, slots=True)
class _ConfirmChannel:
    """A channel whose messages the broker confirms by their number, and what is declared for it."""

    channel: Channel
    count: int = 0
    unconfirmed: dict[int, Message] = field(default_factory=dict)
    queues: dict[str, Envelope] = field(default_factory=dict)
    exchanges: dict[str, Envelope] = field(default_factory=dict)
    watch: asyncio.TimerHandle | None = None

    def envelope(self, message: Message) -> Envelope | None:
        return (self.exchanges if message.everyone else self.queues).get(message.topic)

    def write(self, envelope: Envelope, message: Message) -> None:
        self.count += 1
        self.unconfirmed[self.count] = message
        self.channel.publish(envelope, message.body)

    def take(self, number: int, all_before: bool) -> list[Message]:
        """The messages that a confirmation is about."""
        if all_before:
            numbers = [one for one in self.unconfirmed if one <= number]
            return [self.unconfirmed.pop(one) for one in numbers]
        message = self.unconfirmed.pop(number, None)
        return [] if message is None else [message]

    def take_all(self) -> list[Message]:
        return self.take(self.count, all_before=True)


class Publishing:
    """Sends messages, and says how they fared.

    `unanswered` is called when the broker has left something without an answer.
    """

    def __init__(
        self, connection: Connection, figures: Figures, tasks: Tasks, unanswered: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._figures = figures
        self._tasks = tasks
        self._unanswered = unanswered
        self._clock = asyncio.get_running_loop().time
        self._opening = asyncio.Lock()
        self._current: _ConfirmChannel | None = None
        self._gone: dict[str, float] = {}
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def send(self, message: Message) -> None:
        """Send it. Never raises: its fate tells, or the log when nobody waits, and the figures."""
        self._under_way += 1
        self._quiet.clear()
        current = self._current
        envelope = None if current is None else current.envelope(message)
        if current is None or envelope is None:
            self._tasks.spawn(self._prepare_and_write(message))
        else:
            self._write(current, envelope, message)

    async def quiet(self) -> None:
        """Wait until nothing is on its way."""
        await self._quiet.wait()

    async def _prepare_and_write(self, message: Message) -> None:
        """Open the channel and declare what the message is for, if need be."""
        try:
            async with answer_within(ANSWER_SECONDS):
                current = await self._open()
                envelope = current.envelope(message) or await self._declare(current, message)
        except BusUnavailable as error:
            self._ended(message, error)
            if isinstance(error, NoAnswer):
                self._unanswered()
        else:
            self._write(current, envelope, message)

    async def _open(self) -> _ConfirmChannel:
        async with self._opening:
            if self._current is None:
                channel = await self._connection.channel()
                opened = _ConfirmChannel(channel)
                channel.on_confirmation = lambda *told: self._confirmed(opened, *told)
                channel.on_return = lambda name, body: self._returned(opened, name, body)
                channel.on_closed = lambda reason: self._broken(opened, reason)
                await channel.ask(Confirm.Select())
                self._current = opened
            return self._current

    async def _declare(self, current: _ConfirmChannel, message: Message) -> Envelope:
        number, topic = current.channel.number, message.topic
        if message.everyone:
            async with self._connection.passing_channel() as channel:
                exchange = await declare_exchange(channel, topic)
            envelope = current.exchanges[topic] = Envelope(number, exchange, "", kept=False)
            return envelope
        if self._clock() < self._gone.get(topic, 0.0):
            raise QueueGone(f"The queue of {topic} has gone.")
        self._gone.pop(topic, None)
        await ensure_queue(self._connection, topic)
        envelope = current.queues[topic] = Envelope(number, "", name_on_broker(topic), kept=True)
        return envelope

    def _write(self, current: _ConfirmChannel, envelope: Envelope, message: Message) -> None:
        if current.channel.closed is not None:
            self._send_again(message, current.channel.closed)
            return
        message.sent_at = self._clock()
        current.write(envelope, message)
        if current.watch is None:
            self._watch(current, ANSWER_SECONDS)

    # -- what the broker says ----------------------------------------------------------------------

    def _confirmed(
        self, current: _ConfirmChannel, number: int, all_before: bool, good: bool
    ) -> None:
        for message in current.take(number, all_before):
            if message.returned:
                self._ended(message, QueueGone(f"The queue of {message.topic} has gone."))
            elif good:
                self._ended(message, None)
            else:
                full = f"Too many messages wait on {message.topic} already."
                self._ended(message, QueueFull(full))
        if current is not self._current and not current.unconfirmed:
            self._tasks.spawn(_close(current.channel))

    def _returned(self, current: _ConfirmChannel, queue: str, body: bytes) -> None:
        for message in current.unconfirmed.values():
            if (name_on_broker(message.topic), message.body) == (queue, body):
                message.returned = True
                current.queues.pop(message.topic, None)
                self._gone[message.topic] = self._clock() + GONE_SECONDS
                return

    def _broken(self, current: _ConfirmChannel, reason: Closed) -> None:
        """The channel is closed, with all that is on its way there, good or not."""
        if self._current is current:
            self._current = None
        if current.watch is not None:
            current.watch.cancel()
        for message in current.take_all():
            self._send_again(message, reason)

    def _send_again(self, message: Message, reason: Closed) -> None:
        """Once, and only if the broker is still there."""
        if message.again or not reason.code:
            self._ended(message, Unconfirmed(str(reason)))
        else:
            message.again = True
            self._tasks.spawn(self._prepare_and_write(message))

    # -- what it does not say ----------------------------------------------------------------------

    def _watch(self, current: _ConfirmChannel, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        current.watch = loop.call_later(seconds, self._look_for_answers, current)

    def _look_for_answers(self, current: _ConfirmChannel) -> None:
        """Give up what waits for too long, and use another channel from now on.

        Over a queue that was replaced under it, a channel may never get an answer again.
        """
        current.watch = None
        limit = self._clock() - ANSWER_SECONDS
        late = [number for number, one in current.unconfirmed.items() if one.sent_at <= limit]
        for number in late:
            silence = Unconfirmed("The message broker does not answer.")
            self._ended(current.unconfirmed.pop(number), silence)
        if late:
            if self._current is current:
                self._current = None
            self._unanswered()
        if current.unconfirmed:
            oldest = next(iter(current.unconfirmed.values())).sent_at
            self._watch(current, max(oldest - limit, 0.001))
        elif current is not self._current:
            self._tasks.spawn(_close(current.channel))

    def _ended(self, message: Message, error: BusUnavailable | None) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._quiet.set()
        if error is None:
            self._figures.published += 1
        elif message.returned:
            self._figures.returned += 1
        elif isinstance(error, Unconfirmed):
            self._figures.unconfirmed += 1
        else:
            self._figures.refused += 1
        fate = message.fate
        if fate is None:
            if error is not None:
                log.warning("message lost", topic=message.topic, reason=str(error))
        elif not fate.done():
            if error is None:
                fate.set_result(None)
            else:
                fate.set_exception(error)


async def _close(channel: Channel) -> None:
    """Only to free it on the broker: whether that comes about is all the same."""
    if channel.closed is None:
        with suppress(BusUnavailable):
            async with answer_within(ANSWER_SECONDS):
                await channel.close()
