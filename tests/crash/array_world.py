"""The world with the real NetApp driver on a simulated array as its first backend.

Each request of the driver is a point of its own inside the point of its call: the process may die
there, be late there, or the request go wrong in the simulator's ways (`FLAVOURS`). A late request
is an actor of its own, which is frozen when it is sent and does its work when it is thawed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

from breezeblock.drivers.base import TemporaryError
from breezeblock.ontapsim.dispatch import Asked
from tests.crash import faults
from tests.crash.array_driver import ArrayDriver, Spoilt, Storage, When, shown, stepped
from tests.crash.faults import Flavour
from tests.crash.stage import Actor, Order, Point, Remains
from tests.crash.world import Backends, ServedBackend, Worker, World, begun
from tests.service.fake_driver import FakeDriver

T = TypeVar("T")

ASKS, CHANGES = "array.read", "array.write"
"""The kinds of a request's points."""
IN_JOBS = ("/storage/qos/policies",)


class ArrayBackend(ServedBackend):
    """As one worker serves it: calls stop at each request."""

    driver: Any

    async def call(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        label = f"{self.name.partition('@')[2]}.{method.__name__}"

        def act() -> Any:
            if self.name in self._world.offline:
                raise TemporaryError("The backend does not answer.")
            return stepped(lambda: method(*args, **kwargs), self._stop)

        return await self._actor.effect("driver", label, act)

    async def _stop(self, when: When, asked: Asked) -> None:
        kind = ASKS if asked.method == "GET" else CHANGES
        try:
            await self._world._point(self._actor, kind, shown(asked), when)
        except Spoilt as order:
            if order.what == "late":
                self._postpone(asked)
            raise

    def _postpone(self, asked: Asked) -> None:
        wire = Actor(self._world, "a late request")
        wire.freeze()
        self._world.actors.append(wire)
        self._world.spawn(self._arrive(wire, asked))

    async def _arrive(self, wire: Actor, asked: Asked) -> None:
        assert wire.frozen is not None
        await asyncio.shield(wire.frozen)
        self.driver.storage.handle(asked)


class ArrayWorld(World):
    """See the module's text."""

    def served(self, driver: FakeDriver, worker: Worker) -> ServedBackend:
        if isinstance(driver, ArrayDriver):
            return ArrayBackend(driver.colleague(), self, worker)
        return super().served(driver, worker)


@cache
def first_day() -> Remains[Backends]:
    """An array with one pool, and a second backend that is not there on any disk."""
    array = ArrayDriver("fast", Storage())
    array.setup()
    return begun(cast(FakeDriver, array), FakeDriver("slow", capacity=50.0))


# -- what can go wrong with a request ----------------------------------------------------------


@dataclass(frozen=True)
class RequestFlavour(Flavour):
    """A fault of one request. `paths`: only there."""

    kinds: tuple[str, ...] = (CHANGES,)
    paths: tuple[str, ...] = ("/",)

    def strikes_at(self, point: Point) -> bool:
        path = point.label.partition(" ")[2]
        return super().strikes_at(point) and path.startswith(self.paths)


def _spoiling(what: Any) -> Callable[[], Order]:
    def strike() -> Order:
        raise Spoilt(what)

    return strike


def _request(name: str, says: str, what: str, when: When = "before", **how: Any) -> Flavour:
    return RequestFlavour(f"array: {name}", says, when=when, strike=_spoiling(what), **how)


_KEPT = ("dead or late", "late, undone")

FLAVOURS: tuple[Flavour, ...] = (
    *(one for one in faults.FLAVOURS if one.name in _KEPT or one.name.startswith("driver")),
    _request("away", "the array takes no connection", "refuse", kinds=(ASKS, CHANGES)),
    _request("not whole", "the array answers 503", "fail", kinds=(ASKS, CHANGES)),
    _request("answer dropped", "it acts, and nobody hears of it", "drop", when="after"),
    _request("late", "it acts when its sender has long given up", "late"),
    _request("job fails", "the request's job fails", "job_fails", paths=IN_JOBS),
    _request("job lost", "the request's job is forgotten", "job_lost", paths=IN_JOBS),
)
