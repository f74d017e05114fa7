"""Crash-point enumeration: one scenario, every flavour of fault, at every position.

First comes a rehearsal without faults, which numbers the points. Then the scenario is played once
for each point and flavour that can strike there; the run is the same up to that point. Afterwards
the deployment recovers, and three things are looked at: the invariants, whether the end is one that
the scenario allows for such a fault, and whether some state on the way was one that must never be.

The death of everything (`crash`) needs no second run. What it leaves is data only, so the rehearsal
keeps the remains of each point, and recoveries begin from them. Points with nothing in between that
would survive (before and after a read) leave the same: they are recovered from once. Recoveries
themselves are cut at each of their points in the same way: the pairs.

Knows no workflow and no world: both are the scenario's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from tests.crash.faults import CRASH, FLAVOURS, RELAY, Flavour
from tests.crash.stage import Actor, Order, Point, Remains, Stage

T = TypeVar("T")

OUTSIDE = ("driver", "array.write", "host")
"""Kinds of effects on what knows no leases: storage backends, hypervisors."""


class Playable(Protocol):
    """What is enumerated. The worlds are its own; so is what an end is called."""

    name: str
    workflow: str

    async def prepare(self) -> Remains[Any]:
        """The state that every run begins with. Made once."""

    def open(self, remains: Remains[Any], *, workers: int) -> Any:
        """A world that begins so: a Stage that can settle, take_over, recover, hire, violations."""

    async def act(self, world: Any) -> Any:
        """What the client does."""

    @property
    def can_be_undone(self) -> bool: ...

    async def undo(self, world: Any) -> Any:
        """What he does to take it back."""

    def excuses(self, strike: Strike) -> Collection[str]:
        """Rules that may be broken in the end, for a reason that is told with the scenario."""

    def problem(self, world: Any, strike: Strike) -> str | None:
        """Why the end is none that such a fault may lead to."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that struck, as far as the end depends on it.

    `may_fail`: the work may have ended badly. `begun`: the client's request had been accepted.
    `undone`: the client has taken it back. `cut`: his request may not have come to its end. `late`:
    somebody woke up after all was over.
    """

    may_fail: bool = False
    begun: bool = True
    undone: bool = False
    cut: bool = True
    late: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that went wrong, and how to see it again."""

    scenario: str
    flavour: str
    at: tuple[Point, ...]
    problems: tuple[str, ...]
    trails: str

    def __str__(self) -> str:
        at = ",".join(str(point.number) for point in self.at)
        lines = [
            f"{self.scenario} / {self.flavour}",
            *(f"  at {point}" for point in self.at),
            *(f"  {problem}" for problem in self.problems),
            *(f"  | {line}" for line in self.trails.splitlines()),
            f"  again: python -m tests.crash.points --scenario {self.scenario!r} "
            f"--flavour {self.flavour!r} --at {at}",
        ]
        return "\n".join(lines)


@dataclass
class Tally:
    """What was tried: positions by flavour, pairs of crashes, runs, and what went wrong."""

    positions: dict[str, int] = field(default_factory=dict)
    pairs: int = 0
    runs: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A run without faults. `left[n]` is what a crash at point n leaves; `accepted` is the number
    of the point after the first transaction of the client's request; `wrong_before` is what the
    scenario has put wrong for somebody to put right."""

    points: list[Point]
    left: list[Remains[Any]]
    accepted: int
    wrong_before: list[str]


@dataclass(frozen=True, slots=True)
class Part:
    """Every so many of what is there, from that one on; the first, if that would be none."""

    every: int = 1
    first: int = 0

    def __call__(self, found: Sequence[T]) -> Sequence[T]:
        return found[self.first :: self.every] or found[:1]


WHOLE = Part()


class Enumeration:
    """All cases of one scenario."""

    def __init__(self, scenario: Playable, prepared: Remains[Any], rehearsal: Rehearsal) -> None:
        self.scenario = scenario
        self.prepared = prepared
        self.rehearsal = rehearsal
        self.tally = Tally()

    @classmethod
    async def of(cls, scenario: Playable) -> Enumeration:
        """Rehearse the scenario. Raises AssertionError when it goes wrong without any fault."""
        prepared = await scenario.prepare()
        world = scenario.open(prepared, workers=1)
        wrong_before = [str(one) for one in world.violations(quiet=False)]
        left = _keeping_remains(world)
        client = world.spawn(scenario.act(world))
        await world.settle(client)
        points = list(world.points)
        world.plan = lambda *_: Order.GO
        await world.recover(client)
        client.result()
        problems = _problems(scenario, world, Strike(cut=False))
        trails = world.trails()
        await world.close()
        assert not problems, f"{scenario.name}: {problems}\n{trails}"
        accepted = next(
            point.number
            for point in points
            if point.actor == "api" and point.kind == "store.write" and point.when == "after"
        )
        kept = left[: len(points)]
        return cls(scenario, prepared, Rehearsal(points, kept, accepted, wrong_before))

    # -- one flavour at every position ---------------------------------------------------------

    async def flavour(self, flavour: Flavour, part: Part = WHOLE) -> None:
        """Try the flavour at each point where it can strike, or at a part of them."""
        if flavour.undone and not self.scenario.can_be_undone:
            return
        points = part([one for one in self.rehearsal.points if flavour.strikes_at(one)])
        self.tally.positions[flavour.name] = len(points)
        for point in points:
            await self.play(flavour, point)

    async def play(self, flavour: Flavour, point: Point) -> None:
        """One case: the fault strikes at this point, the deployment recovers, all is checked."""
        scenario = self.scenario
        world = scenario.open(self.prepared, workers=1)
        world.plan = flavour.plan(point.number)
        client = world.spawn(scenario.act(world))
        try:
            await world.settle(client)
            struck = world.points[point.number]
            assert struck == point, f"not repeatable: {struck} was {point}"
            world.plan = lambda *_: Order.GO
            stopped = [actor for actor in world.actors if not actor.alive]
            strike = self._strike(flavour, point)
            if stopped and flavour.undone:
                await world.take_over(client)
                await scenario.undo(world)
            elif stopped:
                await world.recover(client)
                self._judge(flavour.name, (point,), world, _problems(scenario, world, strike))
            for actor in stopped:
                actor.thaw()
            await world.recover(client)
            if client.done():
                client.exception()  # the service did not answer: he has nothing to say
            strike = replace(strike, begun=strike.begun or bool(stopped), late=bool(stopped))
            self._judge(flavour.name, (point,), world, _problems(scenario, world, strike))
        finally:
            await world.close()

    def _strike(self, flavour: Flavour, point: Point) -> Strike:
        accepted = point.number >= self.rehearsal.accepted
        return Strike(may_fail=flavour.may_fail, begun=accepted, undone=flavour.undone)

    # -- late, and the one that takes over is late, too ------------------------------------------

    async def relay(self, *, thorough: bool = False, part: Part = WHOLE) -> None:
        """Two strikes: see RELAY. The first is late where it matters most, before it calls what
        is OUTSIDE; if `thorough`, before and after all that changes something."""
        late = [one for one in self.rehearsal.points if one.actor != "api" and _matters(one)]
        if not thorough:
            late = [one for one in late if one.kind in OUTSIDE and one.when == "before"]
        tried = 0
        for point in part(late):
            taken_over = await self._relay(point)
            for second in taken_over:
                if second.actor not in (point.actor, "api") and _matters(second):
                    tried += 1
                    await self._relay(point, second)
        self.tally.positions[RELAY] = tried

    async def _relay(self, *strikes: Point) -> list[Point]:
        """One case; the points of those who took over."""
        numbers = {point.number for point in strikes}
        scenario = self.scenario
        world = scenario.open(self.prepared, workers=1)
        world.plan = lambda _stage, _actor, point: (
            Order.FREEZE if point.number in numbers else Order.GO
        )
        client = world.spawn(scenario.act(world))
        try:
            await world.settle(client)
            began = len(world.points)
            await world.take_over(client)
            seen = world.points[began:]
            for actor in [one for one in world.actors if not one.alive]:
                actor.thaw()
                await world.settle(client)
            await world.recover(client)
            if len(strikes) > 1:
                self._judge(RELAY, strikes, world, _problems(scenario, world, Strike(late=True)))
            return seen
        finally:
            await world.close()

    # -- crashes, and crashes of the recovery --------------------------------------------------

    async def crashes(self, *, pairs: bool = True, part: Part = WHOLE) -> None:
        """Let everything die at each point; and, as pairs, the recovery at each of its points, or
        at a part of them."""
        self.tally.positions[CRASH] = len(self.rehearsal.points)
        for point, left, same in _distinct(self.rehearsal.points, self.rehearsal.left):
            recovery, kept = await self._recovery(left, (point,))
            if pairs:
                self.tally.pairs += same * len(recovery)
                for second, rest, _ in part(list(_distinct(recovery, kept))):
                    await self._recovery(rest, (point, second))

    async def again(
        self, flavour: str, numbers: list[int], flavours: Iterable[Flavour] = FLAVOURS
    ) -> None:
        """One case once more, by the numbers of its points."""
        points = self.rehearsal.points
        if flavour == CRASH:
            await self._crash(numbers)
        elif flavour == RELAY:
            late = points[numbers[0]]
            seen = await self._relay(late)
            await self._relay(late, *(one for one in seen if one.number in numbers[1:]))
        else:
            known = {one.name: one for one in flavours}
            await self.play(known[flavour], points[numbers[0]])

    async def _crash(self, numbers: list[int]) -> None:
        at: tuple[Point, ...] = ()
        points, left = self.rehearsal.points, self.rehearsal.left
        for number in numbers:
            at = (*at, points[number])
            points, left = await self._recovery(left[number], at)

    async def _recovery(
        self, left: Remains[Any], at: tuple[Point, ...]
    ) -> tuple[list[Point], list[Remains[Any]]]:
        """Recover from what was left, and check; the points of the recovery, with remains."""
        world = self.scenario.open(left, workers=0)
        try:
            now = [str(one) for one in world.violations(quiet=False)]
            problems = [
                f"right after the crash: {one}"
                for one in now
                if one not in self.rehearsal.wrong_before
            ]
            kept = _keeping_remains(world)
            await world.recover()
            begun = at[0].number >= self.rehearsal.accepted
            problems += _problems(self.scenario, world, Strike(begun=begun))
            self._judge(CRASH, at, world, problems)
            return list(world.points), kept
        finally:
            await world.close()

    def _judge(
        self, flavour: str, at: tuple[Point, ...], world: Any, problems: Collection[str]
    ) -> None:
        self.tally.runs += 1
        if problems:
            failure = Failure(self.scenario.name, flavour, at, tuple(problems), world.trails())
            self.tally.failures.append(failure)


def _matters(point: Point) -> bool:
    """Whether somebody else could see the difference that this effect makes."""
    return not point.kind.endswith(".read")


def _keeping_remains(world: Stage[Any]) -> list[Remains[Any]]:
    """Have the world note at each point what a crash there would leave."""
    left: list[Remains[Any]] = []

    def plan(stage: Stage[Any], _actor: Actor, _point: Point) -> Order:
        left.append(stage.remains())
        return Order.GO

    world.plan = plan
    return left


def _distinct(
    points: Iterable[Point], left: Iterable[Remains[Any]]
) -> Iterator[tuple[Point, Remains[Any], int]]:
    """(first point, remains, how many points leave just this)."""
    groups: dict[int, list[tuple[Point, Remains[Any]]]] = {}
    for point, one in zip(points, left, strict=False):
        groups.setdefault(id(one), []).append((point, one))
    for group in groups.values():
        point, one = group[0]
        yield point, one, len(group)


def _problems(scenario: Playable, world: Any, strike: Strike) -> list[str]:
    excused = scenario.excuses(strike)
    wrong_rows = [str(one) for one in world.violations() if one.rule not in excused]
    problems = [*world.never(), *wrong_rows]
    wrong = scenario.problem(world, strike)
    return [*problems, wrong] if wrong else problems
