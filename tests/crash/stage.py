"""A stage: one database, one message bus, and actors whose every effect is a *point*.

An actor is what would be a process: an API, a worker. It runs the product's own code behind doors.
Before and after each effect (a transaction, a message, a call to what lies outside) the door calls
on the stage, and the stage's `plan` says what happens there:

    Order.GO       nothing special
    Order.SKIP     the effect does not happen, and nobody says so (a message is lost)
    Order.TWICE    it happens twice (a message is doubled, a driver acts again)
    Order.FREEZE   the actor stops there, with all it does, until it is thawed, or for ever: a
                   process that is killed runs no `finally`, so nothing of it goes on
    an exception   is raised instead of the effect, or, after it, instead of its answer

What a crash of everything leaves is data only: the database, what lies outside, the time. That is
`remains()`, and a new stage begins from it. Messages do not survive, which they need not.

Everything runs in one `VirtualLoop`, in one order; time is virtual and the database's clock is the
loop's. One stage at a time: `close()` ends all tasks of the loop.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from breezeblock.bus.base import Bus, Handler
from breezeblock.operations.wakes import send_wakes
from breezeblock.store.store import ReadTx, Store, Wake, WriteTx, link_over
from tests.crash.virtual_time import idle

T = TypeVar("T")
When = Literal["before", "after"]

BEGINNING = 1_800_000_000.0
"""The time at which every stage begins: some day in 2027."""


class Order(Enum):
    """What a plan can have happen at a point."""

    GO = auto()
    SKIP = auto()
    TWICE = auto()
    FREEZE = auto()


@dataclass(frozen=True, slots=True)
class Point:
    """One moment of a run. `kind` is the sort of effect, `label` which one."""

    number: int
    actor: str
    kind: str
    label: str
    when: When

    def __str__(self) -> str:
        return f"{self.number}: {self.when} {self.actor}'s {self.kind} {self.label}"


Plan = Callable[["Stage[Any]", "Actor", Point], Order]


def no_fault(_stage: Stage[Any], _actor: Actor, _point: Point) -> Order:
    """The plan of a run in which nothing goes wrong."""
    return Order.GO


class Outside(Protocol):
    """What the actors act on besides the database: storage backends, guests. Survives crashes."""

    def copy(self) -> Any: ...

    def state(self) -> Any:
        """All of it as a value that can be compared."""


O_ = TypeVar("O_", bound=Outside)


@dataclass(frozen=True, slots=True)
class Remains(Generic[O_]):
    """What is left when every process dies at once."""

    database: bytes
    clock: float
    outside: O_


@dataclass(eq=False)
class Actor:
    """A process on the stage. `store` and `bus` are its doors."""

    stage: Stage[Any]
    name: str
    frozen: asyncio.Future[None] | None = None
    store: Store = field(init=False)
    bus: Bus = field(init=False)

    def __post_init__(self) -> None:
        self.bus = _BusDoor(self)
        self.store = _StoreDoor(self)

    @property
    def alive(self) -> bool:
        return self.frozen is None

    def freeze(self) -> None:
        """Let it go no further than its next point; what it does between two points is its own."""
        if self.frozen is None:
            self.frozen = asyncio.get_running_loop().create_future()

    def thaw(self) -> None:
        """Let it go on as if no time had passed."""
        if self.frozen is not None:
            self.frozen.set_result(None)
            self.frozen = None

    def effect(self, kind: str, label: str, act: Callable[[], T]) -> Coroutine[Any, Any, T]:
        return self.stage.effect(self, kind, label, act)


class Stage(Generic[O_]):
    """See the module's text. Made inside a running VirtualLoop."""

    def __init__(self, remains: Remains[O_]) -> None:
        self.plan: Plan = no_fault
        self.points: list[Point] = []
        self.actors: list[Actor] = []
        self.outside: O_ = remains.outside.copy()
        self._offset = remains.clock - asyncio.get_running_loop().time()
        self._consumers: defaultdict[str, list[tuple[Actor, Handler]]] = defaultdict(list)
        self._listeners: defaultdict[str, list[tuple[Actor, Handler]]] = defaultdict(list)
        self._kept: defaultdict[str, list[bytes]] = defaultdict(list)
        self._closed = False
        self._last: tuple[Any, Remains[O_]] | None = None
        self._connection = _ENGINE.connect()
        self._raw: Any = self._connection.connection.dbapi_connection
        self._raw.deserialize(remains.database)
        self._raw.execute("PRAGMA foreign_keys=ON")
        self._raw.create_function("julianday", -1, lambda *_: self.clock / 86400.0 + 2440587.5)
        self._link = link_over(self._connection)
        random.seed(7)

    # -- time ----------------------------------------------------------------------------------

    @property
    def clock(self) -> float:
        """Seconds since 1970, on this stage."""
        return asyncio.get_running_loop().time() + self._offset

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; what is due meanwhile happens meanwhile."""
        await asyncio.sleep(seconds)
        await idle()

    # -- points --------------------------------------------------------------------------------

    async def effect(self, actor: Actor, kind: str, label: str, act: Callable[[], T]) -> T:
        """Have something happen, with a point before and a point after it."""
        order = await self._point(actor, kind, label, "before")
        if order is Order.SKIP:
            return None  # type: ignore[return-value]
        if order is Order.TWICE:
            await _ended(act())
        done = await _ended(act())
        await self._point(actor, kind, label, "after")
        return done

    async def _point(self, actor: Actor, kind: str, label: str, when: When) -> Order:
        order = Order.GO
        await asyncio.sleep(0)  # let the others have their next effect first, too
        if actor.alive and not self._closed:
            point = Point(len(self.points), actor.name, kind, label, when)
            self.points.append(point)
            order = self.plan(self, actor, point)
            if order is Order.FREEZE:
                actor.freeze()
        while actor.frozen is not None and not self._closed:
            await asyncio.shield(actor.frozen)
        if self._closed:
            raise asyncio.CancelledError
        return order

    # -- the database --------------------------------------------------------------------------

    def write(self, fn: Callable[[WriteTx], T]) -> tuple[T, list[Wake]]:
        """A transaction outside of any actor: no point, no message."""
        self._offset += 0.001  # no two transactions at the same time
        with self._connection.begin():
            tx = WriteTx(self._link)
            tx._clock = self.clock
            tx.now = datetime.fromtimestamp(self.clock, UTC).replace(tzinfo=None)
            done = fn(tx)
        self._offset += 0.001
        return done, tx.wakes

    def read(self, fn: Callable[[ReadTx], T]) -> T:
        """A look at the database outside of any actor."""
        with self._connection.begin():
            tx = ReadTx(self._link)
            tx._clock = self.clock
            return fn(tx)

    def never(self) -> list[str]:
        """What was written that must never be, ever since the first day (`database.GUARDS`)."""
        return [row.text for row in self.read(lambda tx: tx.rows(_NEVER))]

    def changes(self) -> Any:
        """A value that differs when something has changed that survives a crash."""
        return (self._raw.total_changes, self.outside.state())

    def remains(self) -> Remains[O_]:
        """What would be left if everything died now. The same object while nothing changes, be it
        that time passes."""
        seen = self.changes()
        if self._last is None or self._last[0] != seen:
            left = Remains(self._raw.serialize(), self.clock, self.outside.copy())
            self._last = (seen, left)
        return self._last[1]

    # -- the bus -------------------------------------------------------------------------------

    def deliver(self, topic: str, body: bytes, copy: int) -> None:
        """Hand a message to a living consumer; its further copies go to others, if there are."""
        living = [one for one in self._consumers[topic] if one[0].alive]
        if not living:
            self._kept[topic].append(body)
            return
        _, handler = living[copy % len(living)]
        self.spawn(handler(body))

    def tell_all(self, topic: str, body: bytes) -> None:
        for actor, handler in self._listeners[topic]:
            if actor.alive:
                self.spawn(handler(body))

    def consume(self, actor: Actor, topic: str, handler: Handler) -> None:
        self._consumers[topic].append((actor, handler))
        kept, self._kept[topic] = self._kept[topic], []
        for body in kept:
            self.deliver(topic, body, 0)

    def listen(self, actor: Actor, topic: str, handler: Handler) -> None:
        self._listeners[topic].append((actor, handler))

    def forget_messages(self) -> None:
        """Lose what the broker keeps for consumers that are not there yet."""
        self._kept.clear()

    # -- tasks ---------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Have something done beside everything else, until the stage closes."""
        return asyncio.get_running_loop().create_task(work)

    async def close(self) -> None:
        """End everything; call it after all checks, for only now may dead actors run on."""
        self._closed = True
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._connection.close()


class _StoreDoor(Store):
    """An actor's way to the database: the real transactions, run at once, without threads."""

    def __init__(self, actor: Actor) -> None:
        self.url = "sqlite://"
        self.is_sqlite = True
        self.on_commit = partial(send_wakes, actor.bus)
        self._actor = actor

    async def write(self, fn: Callable[[WriteTx], T]) -> T:
        stage = self._actor.stage
        done, wakes = await self._actor.effect("store.write", _label(fn), lambda: stage.write(fn))
        if wakes and self.on_commit is not None:
            await self.on_commit(wakes)
        return done

    async def read(self, fn: Callable[[ReadTx], T]) -> T:
        stage = self._actor.stage
        return await self._actor.effect("store.read", _label(fn), lambda: stage.read(fn))

    def close(self) -> None:
        """The stage closes the database."""


class _BusDoor(Bus):
    """An actor's way to the bus. Messages arrive at once, in tasks of their own."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def close(self) -> None:
        """The stage ends the handlers."""

    async def publish(self, topic: str, body: bytes) -> None:
        copies = itertools.count()
        stage = self._actor.stage
        await self._actor.effect(
            "bus.publish", topic, lambda: stage.deliver(topic, body, next(copies))
        )

    async def broadcast(self, topic: str, body: bytes) -> None:
        stage = self._actor.stage
        await self._actor.effect("bus.broadcast", topic, lambda: stage.tell_all(topic, body))

    async def consume(self, topic: str, handler: Handler, *, in_flight: int) -> None:
        self._actor.stage.consume(self._actor, topic, handler)

    async def leave(self, topic: str, handler: Handler) -> None:
        """The stage ends whoever consumes."""

    async def listen(self, topic: str, handler: Handler) -> None:
        self._actor.stage.listen(self._actor, topic, handler)

    async def depths(self) -> Mapping[str, int]:
        return {}

    @property
    def connected(self) -> bool:
        return True


async def _ended(work: Any) -> Any:
    """What has been done at once, or what comes of what takes its time (a call to a service)."""
    return await work if inspect.isawaitable(work) else work


def _label(fn: Any) -> str:
    """Where a transaction was written: the function that holds it."""
    while isinstance(fn, partial):
        fn = fn.func
    return str(fn.__qualname__).partition(".<locals>")[0].rpartition(".")[2]


def _sqlite_in_memory() -> sa.Engine:
    """One engine for all stages, so that each statement is compiled once; a connection a stage."""
    engine = sa.create_engine("sqlite://", poolclass=NullPool)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


_ENGINE = _sqlite_in_memory()
_NEVER = sa.text("SELECT text FROM never")
