"""The bus of a deployment in many processes: AMQP 0-9-1, made for RabbitMQ 3.10 and later.

This file is the supervisor: it remembers who wants to hear what and keeps one session with the
broker alive. A session (`amqp_session.py`) ends at the first thing that goes wrong in it, and all
of it is built anew: a client that repairs single consumers is how services end up connected but
deaf.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping

import structlog

from breezeblock.bus.amqp_hosts import broker_urls, without_password
from breezeblock.bus.amqp_publishing import Message
from breezeblock.bus.amqp_session import SETUP_SECONDS, Consumer, Listener, Session
from breezeblock.bus.base import DEAD_LETTERS, Bus, BusUnavailable, Handler
from breezeblock.bus.handling import Tasks

log = structlog.get_logger(__name__)

SHORTEST_PAUSE = 0.4
LONGEST_PAUSE = 4.0

NEXT_BROKER_SECONDS = 4.0
"""How long one of several brokers may take to answer before the next is tried."""


class AmqpBus(Bus):
    """Topics as quorum queues `breezeblock.<topic>`, broadcasts as fanout exchanges of that name.

    The URL is amqp:// or amqps://, with TLS files as query parameters (cafile, certfile, keyfile).
    It may name several nodes of a cluster; one that is away or hangs is left for the next.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        brokers = broker_urls(url)
        self._brokers = random.sample(brokers, len(brokers))  # services spread over the nodes
        self._wanted: list[Consumer | Listener] = []
        self._tasks = Tasks()
        self._session: Session | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._reasons: dict[str, str] = {}

    async def start(self) -> None:
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise())

    async def close(self) -> None:
        self._wanted.clear()
        if self._session is None:
            await self._stop_supervisor()  # before a session that it builds delivers anything
        else:
            await self._session.hush()
        await self._tasks.drain()  # while connected, so that what ends is acknowledged
        if self._session is not None:
            await self._session.flush()
        await self._stop_supervisor()

    async def publish(self, topic: str, body: bytes) -> None:
        await self._speaking_session().publish(topic, body)

    async def hint(self, topic: str, body: bytes, *, everyone: bool = False) -> None:
        self._speaking_session().send(Message(topic, body, everyone))

    async def consume(self, topic: str, handler: Handler, *, in_flight: int) -> None:
        await self._want(Consumer(topic, handler, in_flight, asyncio.Semaphore(in_flight)))

    async def leave(self, topic: str, handler: Handler) -> None:
        for one in [*self._wanted]:
            if isinstance(one, Consumer) and (one.topic, one.handler) == (topic, handler):
                self._wanted.remove(one)
                one.left.set()
                if self._session is not None:
                    await self._session.leave(one)

    async def broadcast(self, topic: str, body: bytes) -> None:
        await self._speaking_session().broadcast(topic, body)

    async def listen(self, topic: str, handler: Handler) -> None:
        await self._want(Listener(topic, handler))

    async def depths(self) -> Mapping[str, int]:
        consumed = [wanted.topic for wanted in self._wanted if isinstance(wanted, Consumer)]
        return await self._connected_session().depths([DEAD_LETTERS, *consumed])

    @property
    def connected(self) -> bool:
        return self._session is not None and self._session.answering

    def _connected_session(self) -> Session:
        if self._session is None:
            raise BusUnavailable("The message broker is away.")
        return self._session

    def _speaking_session(self) -> Session:
        if self._session is None:
            self.figures.refused += 1
        return self._connected_session()

    async def _want(self, subscription: Consumer | Listener) -> None:
        """Now if there is a broker, and in every session to come."""
        self._wanted.append(subscription)
        if self._session is not None:
            await self._session.subscribe(subscription)

    async def _stop_supervisor(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])

    async def _supervise(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = SHORTEST_PAUSE
        for broker in itertools.cycle(self._brokers):
            began = clock()
            await self._live_one_session(broker)
            if clock() - began > LONGEST_PAUSE:
                pause = SHORTEST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _live_one_session(self, broker: str) -> None:
        session = Session(self._tasks, self.figures)
        patience = SETUP_SECONDS if len(self._brokers) == 1 else NEXT_BROKER_SECONDS
        name = without_password(broker)
        try:
            await session.open(broker, patience)
            await self._subscribe_to_all(session)
            self._session = session
            self._reasons.clear()
            self.figures.connects += 1
            log.info("message broker connected", broker=name)
            self._away(name, await session.lost)
        except BusUnavailable as error:
            self._away(name, str(error))
        finally:
            self._session = None
            await session.close()

    async def _subscribe_to_all(self, session: Session) -> None:
        served = 0
        while served < len(self._wanted):  # more may be wanted meanwhile
            batch = self._wanted[served:]
            served += len(batch)
            await asyncio.gather(*map(session.subscribe, batch))

    def _away(self, broker: str, reason: str) -> None:
        """Say it once, not at each attempt."""
        if reason != self._reasons.get(broker):
            log.warning("message broker away", broker=broker, reason=reason)
        self._reasons[broker] = reason
