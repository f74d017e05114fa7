"""The bus of a deployment in one process.

All services share one MemoryBus. Nothing survives the process, which a wake-up need not: the work
is in the database and is found there at the next start.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from breezeblock.bus import base
from breezeblock.bus.base import DEAD_LETTERS, Bus, BusUnavailable, Handler, QueueFull
from breezeblock.bus.handling import Tasks, Verdict, handle


@dataclass(eq=False, slots=True)
class _Consumer:
    handler: Handler
    free: int


@dataclass(eq=False, slots=True)
class _Topic:
    waiting: deque[bytes] = field(default_factory=deque)
    consumers: deque[_Consumer] = field(default_factory=deque)
    listeners: list[Handler] = field(default_factory=list)

    def next_free(self) -> _Consumer | None:
        """The consumer whose turn it is among those with a free slot."""
        for _ in range(len(self.consumers)):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer.free:
                return consumer
        return None


class MemoryBus(Bus):
    """Topics as queues in memory; handlers run as tasks of the caller's event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._topics: defaultdict[str, _Topic] = defaultdict(_Topic)
        self._tasks = Tasks()
        self._running = False

    async def start(self) -> None:
        self._running = True
        self.figures.connects += 1

    async def close(self) -> None:
        self._topics.clear()
        await self._tasks.drain()  # while running, so that what ends may publish
        self._running = False

    async def publish(self, topic: str, body: bytes) -> None:
        self._require_running()
        waiting = self._topics[topic].waiting
        if len(waiting) >= base.LONGEST_QUEUE:
            self.figures.refused += 1
            raise QueueFull(f"{len(waiting)} messages wait on {topic} already.")
        waiting.append(body)
        self.figures.published += 1
        self._deliver(topic)

    async def consume(self, topic: str, handler: Handler, *, in_flight: int) -> None:
        self._topics[topic].consumers.append(_Consumer(handler, in_flight))
        self._deliver(topic)

    async def leave(self, topic: str, handler: Handler) -> None:
        consumers = self._topics[topic].consumers
        for consumer in [one for one in consumers if one.handler == handler]:
            consumers.remove(consumer)

    async def broadcast(self, topic: str, body: bytes) -> None:
        self._require_running()
        self.figures.published += 1
        for listener in self._topics[topic].listeners:
            self._tasks.spawn(handle(topic, listener, body))

    async def listen(self, topic: str, handler: Handler) -> None:
        self._topics[topic].listeners.append(handler)

    async def depths(self) -> Mapping[str, int]:
        self._require_running()
        # A dead letter is in the log; here it is only counted.
        consumed = {name: topic for name, topic in self._topics.items() if topic.consumers}
        return {
            DEAD_LETTERS: self.figures.unreadable,
            **{name: len(topic.waiting) for name, topic in consumed.items()},
        }

    @property
    def connected(self) -> bool:
        return self._running

    def _require_running(self) -> None:
        if not self._running:
            raise BusUnavailable("The message bus is not running.")

    def _deliver(self, name: str) -> None:
        """Hand waiting messages to consumers until either runs out."""
        topic = self._topics[name]
        while topic.waiting and (consumer := topic.next_free()):
            consumer.free -= 1
            self._tasks.spawn(self._work(name, consumer, topic.waiting.popleft()))

    async def _work(self, name: str, consumer: _Consumer, body: bytes) -> None:
        try:
            match await handle(name, consumer.handler, body):
                case Verdict.DONE:
                    self.figures.consumed += 1
                case Verdict.FOR_ANOTHER:
                    self._topics[name].waiting.append(body)
                case Verdict.DEAD:
                    self.figures.unreadable += 1
        finally:
            consumer.free += 1
            self._deliver(name)
