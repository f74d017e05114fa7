"""The faults that are due in a history: the plan of its stage, and what they excuse.

A fault is one of the flavours of `tests/crash/faults.py`. It concerns an API process or a worker,
waits for some of its points to pass, and then strikes once or several times in a row.

Most faults may cost time only. What a backend holds may differ from the database, until a sweep
puts it right, only where work came late (its worker slept) or broke down after it had acted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from breezeblock.model.operation import Operation
from tests.crash.faults import FLAVOURS, Flavour
from tests.crash.stage import Actor, Order, Point, Stage, When
from tests.crash.world import Worker, World

DIES = Flavour("dies", "the process goes no further, for ever")
SLEEPS = Flavour("sleeps", "the process stands still, and wakes up much later")
UNRECORDED = (DIES.name, "database: away", "database: answer lost")
"""Flavours that come between what a driver has done and its record: the next try may fail."""
BY_NAME = {one.name: one for one in (*FLAVOURS, DIES, SLEEPS)}
HARMLESS = ("message: lost", "message: doubled", "message: broker away", "driver: twice")
"""Flavours that no client may notice but by the time that it takes."""
REFUSALS = ("driver: refuses", "driver: bug")
"""Flavours after which the driver has done nothing."""
ACTED = ("driver: acts and breaks", "driver: answer lost")
"""Flavours after which the driver has done something that may never be recorded."""


@dataclass
class Fault:
    """A flavour that strikes `times` in a row, once `wait` points where it could have passed.

    `actor` is the beginning of the names of those whom it concerns, `label` the end of the labels
    of the effects, `when` the side of them (None: both). `struck`: how often it has.
    """

    flavour: Flavour
    actor: str
    label: str
    wait: int = 0
    times: int = 1
    when: When | None = None
    struck: int = 0

    def concerns(self, actor: Actor, point: Point) -> bool:
        mine = actor.name.startswith(self.actor) and point.label.endswith(self.label)
        return mine and self.when in (None, point.when) and self.flavour.strikes_at(point)


@dataclass
class Weather:
    """See the module's text. `asleep` are those who will wake up; `struck` counts by flavour.

    `late` are the resources on which somebody works who sleeps now or slept; `acted` those on
    which a driver did what it did not say.
    """

    due: list[Fault] = field(default_factory=list)
    asleep: list[Actor] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    late: set[str] = field(default_factory=set)
    acted: set[str] = field(default_factory=set)
    harmed: bool = False
    """Whether anything has struck that is not harmless."""

    def forecast(
        self, name: str, actor: str = "", label: str = "", *, wait: int = 0, times: int = 1
    ) -> None:
        self.due.append(Fault(BY_NAME[name], actor, label, wait, times))

    @contextmanager
    def expecting(self, fault: Fault) -> Iterator[Fault]:
        """This one comes first; what has not struck meanwhile does not come any more."""
        self.due.insert(0, fault)
        try:
            yield fault
        finally:
            if fault in self.due:
                self.due.remove(fault)

    def note(self, name: str) -> None:
        """That something has gone wrong which is no flavour."""
        self.struck[name] += 1
        self.harmed = True

    def clear(self) -> None:
        self.due.clear()

    def __call__(self, stage: Stage[Any], actor: Actor, point: Point) -> Order:
        for fault in self.due:
            if fault.concerns(actor, point):
                if fault.wait > 0:
                    fault.wait -= 1
                    continue
                assert isinstance(stage, World)
                return self._strike(fault, stage, actor, point)
        return Order.GO

    def _strike(self, fault: Fault, world: World, actor: Actor, point: Point) -> Order:
        name = fault.flavour.name
        fault.times -= 1
        fault.struck += 1
        if fault.times <= 0:
            self.due.remove(fault)
        self.struck[f"{name} ({actor.name.rstrip('0123456789')})"] += 1
        self.harmed |= name not in HARMLESS
        held = _held_by(world, actor)
        if fault.flavour is SLEEPS:
            self.asleep.append(actor)
            self.late |= _touched(held)
        if name in (*ACTED, *UNRECORDED):
            self.acted |= _touched(held)
        elif point.kind == "driver" and point.label.endswith(".delete") and name not in HARMLESS:
            # What a creation that failed there cannot remove is left to the sweep.
            self.acted |= _touched(one for one in held if one.workflow == "create_volume")
        return fault.flavour.strike()


def _held_by(world: World, actor: Actor) -> list[Operation]:
    if not isinstance(actor, Worker):
        return []
    me = actor.engine.worker
    return [one for one in world.facts().operations if one.is_open and one.worker == me]


def _touched(held: Any) -> set[str]:
    return {one.resource_id.partition("@")[0] for one in held}
