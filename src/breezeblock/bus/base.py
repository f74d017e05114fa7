"""The bus: how a service is told that there is work for it.

A message is a wake-up, never the truth (design, law 1): it says which operation has work for whom,
and the database says the rest. Whoever uses a bus must stay correct when messages are lost,
doubled, reordered or late; the contract suite `tests/contract/test_bus.py` holds every bus to what
is promised below and to nothing more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from breezeblock.model.errors import Unavailable

DEAD_LETTERS = "dead-letters"
"""Where messages end that nobody could handle: to be looked at, and thrown away."""

LONGEST_QUEUE = 10_000
"""Messages that wait on a topic at most; no more are taken then."""

Handler = Callable[[bytes], Awaitable[None]]


class BusUnavailable(Unavailable):
    """The broker is away. The work itself is safe in the database; polling will find it."""


class QueueFull(BusUnavailable):
    """Nobody takes what waits on the topic already."""


class NotHere(Exception):
    """Raised by a handler that has left its message alone: another consumer shall have it."""


class UnreadableMessage(ValueError):
    """A handler cannot make sense of a message: it becomes a dead letter."""


@dataclass(slots=True)
class Figures:
    """What a bus has done since it was made."""

    connects: int = 0
    """Times that it got a broker; all but the first are reconnections."""
    published: int = 0
    """Messages and broadcasts that the broker has confirmed."""
    returned: int = 0
    """Messages that came back because their queue had gone: lost."""
    unconfirmed: int = 0
    """Messages and broadcasts given to the broker without an answer: they may be lost."""
    refused: int = 0
    """Messages and broadcasts that were not sent: no broker, a blocked one, or a full queue."""
    consumed: int = 0
    """Messages that were handled."""
    redelivered: int = 0
    """Messages that had been delivered before: their consumer, or its connection, had gone."""
    unreadable: int = 0
    """Messages that no handler could make sense of: dead letters."""


class Bus(ABC):
    """Carries wake-ups between services.

    A topic is a short dotted name (`scheduler`, `volume.host@backend`, `compute.host`,
    `reply.<process>`). Payloads are small JSON documents.
    """

    def __init__(self) -> None:
        self.figures = Figures()

    @abstractmethod
    async def start(self) -> None:
        """Begin to connect, in the background. Never waits for the broker, never raises for it."""

    @abstractmethod
    async def close(self) -> None:
        """Stop consuming, let running handlers end (bounded), disconnect. May be repeated."""

    @abstractmethod
    async def publish(self, topic: str, body: bytes) -> None:
        """Queue a message for exactly one consumer of the topic, kept until one takes it.

        Returns when the broker has it. Raises BusUnavailable at once (never blocks longer than a
        second or two) when the broker is away: the caller carries on, polling finds the work.
        Raises QueueFull when LONGEST_QUEUE messages wait already.
        """

    async def hint(self, topic: str, body: bytes, *, everyone: bool = False) -> None:
        """As publish (or broadcast, to `everyone`), for a message that nobody needs to wait for.

        Raises BusUnavailable for what is known at once. What comes to nothing later is logged and
        counted, and what is under way when the bus is closed still has its moment.
        """
        await (self.broadcast if everyone else self.publish)(topic, body)

    @abstractmethod
    async def consume(self, topic: str, handler: Handler, *, in_flight: int) -> None:
        """Have `handler` called for the topic's messages, at most `in_flight` at a time.

        The message is acknowledged after the handler returned, or raised (it is then logged and
        dropped: the handler's work is safe in the database). One that raised UnreadableMessage is
        a dead letter. A process that dies inside a handler leaves the message to another consumer.
        Lasts until leave() or close(), across reconnections.
        """

    @abstractmethod
    async def leave(self, topic: str, handler: Handler) -> None:
        """Take no more of the topic's messages; those not begun are for other consumers.

        Running handlers go on, and are cancelled by none but close(). Never raises for the broker.
        """

    @abstractmethod
    async def broadcast(self, topic: str, body: bytes) -> None:
        """Tell every current listener of the topic. Nobody listening is fine. Raises as publish."""

    @abstractmethod
    async def listen(self, topic: str, handler: Handler) -> None:
        """Have `handler` called for what is broadcast on the topic from now on, until close()."""

    @abstractmethod
    async def depths(self) -> Mapping[str, int]:
        """How many messages wait, by topic, for each that is consumed here; in `dead-letters` how
        many nobody could handle. A topic without a queue right now is left out.

        Raises BusUnavailable when the broker cannot say, within seconds as publish does.
        """

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether publishing is likely to work now (for health pages, not for decisions)."""
