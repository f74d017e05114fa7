"""The faults that are due in a history: the plan of its stage.

A fault is one of the flavours of `tests/crash/faults.py`. It concerns an API process or a worker,
waits for some of its points to pass, and then strikes once or several times in a row.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.crash.faults import FLAVOURS, Flavour
from tests.crash.stage import Actor, Order, Point, Stage

DIES = Flavour("dies", "the process goes no further, for ever")
SLEEPS = Flavour("sleeps", "the process stands still, and wakes up much later")
BY_NAME = {one.name: one for one in (*FLAVOURS, DIES, SLEEPS)}


@dataclass
class Fault:
    """A flavour that strikes `times` in a row, once `wait` points where it could have passed.

    `actor` is the beginning of the names of those whom it concerns, `label` the end of the labels
    of the effects.
    """

    flavour: Flavour
    actor: str
    label: str
    wait: int
    times: int

    def concerns(self, actor: Actor, point: Point) -> bool:
        mine = actor.name.startswith(self.actor) and point.label.endswith(self.label)
        return mine and self.flavour.strikes_at(point)


@dataclass
class Weather:
    """See the module's text. `asleep` are those who will wake up; `struck` counts by flavour."""

    due: list[Fault] = field(default_factory=list)
    asleep: list[Actor] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)

    def forecast(
        self, name: str, actor: str = "", label: str = "", *, wait: int = 0, times: int = 1
    ) -> None:
        self.due.append(Fault(BY_NAME[name], actor, label, wait, times))

    def clear(self) -> None:
        self.due.clear()

    def __call__(self, _stage: Stage[Any], actor: Actor, point: Point) -> Order:
        for fault in self.due:
            if fault.concerns(actor, point):
                if fault.wait > 0:
                    fault.wait -= 1
                    continue
                return self._strike(fault, actor)
        return Order.GO

    def _strike(self, fault: Fault, actor: Actor) -> Order:
        fault.times -= 1
        if fault.times <= 0:
            self.due.remove(fault)
        self.struck[f"{fault.flavour.name} ({actor.name.rstrip('0123456789')})"] += 1
        if fault.flavour is SLEEPS:
            self.asleep.append(actor)
        return fault.flavour.strike()
