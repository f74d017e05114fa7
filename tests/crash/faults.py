"""What can go wrong at a point: the flavours that every scenario is tried in, at every position.

A flavour knows the points where it can strike, what the stage has to do there (`stage.Order`, or an
exception), and what may come of it: most faults may cost time only, so that the work must succeed
all the same. Knows no workflow and no world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from breezeblock.bus.base import BusUnavailable
from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.model.errors import Unavailable
from breezeblock.store.store import StoreUnavailable
from tests.crash.stage import Actor, Order, Plan, Point, When


@dataclass(frozen=True)
class Flavour:
    """One sort of fault, which strikes once.

    `kinds`: prefixes of the effects that it concerns ("" all), `when` on which side of them (None:
    both). `may_fail`: the work may end badly, if it says why. `undone`: an actor that is frozen
    goes on only after the client has taken back what was done. `helped`: another worker joins when
    it strikes.
    """

    name: str
    says: str
    kinds: tuple[str, ...] = ("",)
    when: When | None = None
    strike: Callable[[], Order] = lambda: Order.FREEZE
    may_fail: bool = False
    undone: bool = False
    helped: bool = False

    def strikes_at(self, point: Point) -> bool:
        if self.undone and point.actor == "api":
            return False  # the client takes it back by the same api
        return self.when in (None, point.when) and point.kind.startswith(self.kinds)

    def plan(self, number: int) -> Plan:
        """The plan of a run in which it strikes at the point of this number."""

        def at(stage: Any, _actor: Actor, point: Point) -> Order:
            if point.number != number:
                return Order.GO
            if self.helped:
                stage.hire()
            return self.strike()

        return at


def _raising(error: Callable[[], Exception]) -> Callable[[], Order]:
    def strike() -> Order:
        raise error()

    return strike


def _driver(name: str, says: str, error: Callable[[], Exception], **how: Any) -> Flavour:
    return Flavour(name, says, kinds=("driver", "host"), strike=_raising(error), **how)


def _away() -> Exception:
    return StoreUnavailable("The database is not reachable at the moment.")


CRASH = "crash"
"""Every process dies at that point. Not a plan of a run: it goes on from what was left there."""

RELAY = "late, and the next one late, too"
"""A worker is late; the one that takes over stops at each of its points; then the first wakes up
and goes on; when all is done the second wakes up. Played by the enumeration: it strikes twice."""

FLAVOURS: tuple[Flavour, ...] = (
    Flavour(
        "dead or late",
        "the process stops there, and others finish its work as if it were dead; then it wakes up",
    ),
    Flavour(
        "late, undone",
        "the client has taken the work back before the one that stopped wakes up",
        undone=True,
    ),
    _driver(
        "driver: not now",
        "the driver raises TemporaryError",
        lambda: TemporaryError("Not now."),
        when="before",
    ),
    _driver(
        "driver: refuses",
        "the driver raises PermanentError",
        lambda: PermanentError("No.", remedy="Ask for something else."),
        when="before",
        may_fail=True,
    ),
    _driver(
        "driver: bug",
        "the driver raises what no driver should",
        lambda: RuntimeError("a bug"),
        when="before",
        may_fail=True,
    ),
    _driver(
        "driver: answer lost",
        "the driver acts, then raises TemporaryError",
        lambda: TemporaryError("No answer in time."),
        when="after",
    ),
    _driver(
        "driver: acts and breaks",
        "the driver acts, then raises what no driver should",
        lambda: RuntimeError("a bug"),
        when="after",
        may_fail=True,
    ),
    Flavour(
        "driver: twice",
        "the driver is called twice",
        kinds=("driver", "host"),
        when="before",
        strike=lambda: Order.TWICE,
    ),
    Flavour(
        "images: away",
        "the image service does not answer",
        kinds=("image",),
        when="before",
        strike=_raising(lambda: Unavailable("The image service does not answer.")),
        may_fail=True,
    ),
    Flavour(
        "images: answer lost",
        "the image service acts, but nobody hears of it",
        kinds=("image",),
        when="after",
        strike=_raising(lambda: Unavailable("The image service does not answer.")),
        may_fail=True,
    ),
    Flavour(
        "database: away",
        "the database is not reachable for one transaction",
        kinds=("store",),
        when="before",
        strike=_raising(_away),
    ),
    Flavour(
        "database: answer lost",
        "the transaction is committed, but nobody hears of it",
        kinds=("store",),
        when="after",
        strike=_raising(_away),
    ),
    Flavour(
        "message: lost",
        "a wake-up does not arrive",
        kinds=("bus",),
        when="before",
        strike=lambda: Order.SKIP,
    ),
    Flavour(
        "message: doubled",
        "two workers get the same wake-up at once",
        kinds=("bus",),
        when="before",
        strike=lambda: Order.TWICE,
        helped=True,
    ),
    Flavour(
        "message: broker away",
        "the broker takes no wake-up",
        kinds=("bus",),
        when="before",
        strike=_raising(lambda: BusUnavailable("The broker is away.")),
    ),
)
