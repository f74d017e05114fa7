"""What all rules share: a client that asks, and remembers what the answers allow."""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.crash.asgi import Reply
from tests.crash.histories import tally, ways
from tests.crash.histories.belief import Belief, Disagreement, counted, used
from tests.crash.histories.cloud import Cloud
from tests.crash.histories.ways import ANY, GONE, Snapshot, Volume
from tests.crash.stage import Actor
from tests.crash.virtual_time import VirtualLoop

T = TypeVar("T")


LIMITS = {"volumes": 10, "snapshots": 10, "gigabytes": 1000}
"""What a project has by default."""
NOBODY = "00000000-0000-4000-8000-000000000000"
"""An id that nothing has."""
TROUBLE = (500, 503)
"""The work failed, or something was away: whether it was done is not known."""


MOST = 5
which = st.integers(0, MOST)
lost = st.sampled_from([False, False, False, True])


@dataclass
class Lost:
    """A creation that was not answered: there is none or one of this name."""

    kind: str
    name: str
    body: dict[str, Any]
    key: str | None
    gigabytes: int
    asked: Actor
    parent: Belief[Volume] | None = None


class Client(RuleBasedStateMachine):
    """What a history is, without its rules."""

    def __init__(self) -> None:
        super().__init__()
        dice = random.Random(7)
        self._ids = patch.object(
            uuid, "uuid4", lambda: uuid.UUID(int=dice.getrandbits(128), version=4)
        )
        self._ids.start()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.cloud: Cloud = self.runner.run(_made())
        self.numbers = itertools.count(1)
        self.limits = {name: {limit} for name, limit in LIMITS.items()}
        self.late_limits: list[tuple[Actor, str, int]] = []
        self.volumes: list[Belief[Volume]] = []
        self.snapshots: list[Belief[Snapshot]] = []
        self.parents: dict[str, Belief[Volume]] = {}
        self.ages: dict[str, tuple[str, str]] = {}
        self.given: list[Belief[Volume]] = []
        self.away: set[str] = set()
        self.uses: list[tuple[Belief[Volume], str]] = []
        self.lost: list[Lost] = []
        self.meddled = False
        self.peaceful = False
        self.broken = False
        self.hit = False
        tally.TALLY.examples += 1

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Once something was wrong, the end of the history is not looked at any more."""
        try:
            yield
        except BaseException:
            self.broken = True
            raise

    @property
    def resources(self) -> list[Belief[Any]]:
        return [*self.volumes, *self.snapshots, *self.given]

    @property
    def calm(self) -> bool:
        """Whether nothing has gone wrong yet that more than time may come of: no work may fail."""
        return not (self.cloud.weather.harmed or self.meddled)

    def send(self, method: str, path: str, body: Any = None, **how: Any) -> tuple[Any, Actor]:
        reply, asked = self.run(self.cloud.send(method, path, body, **how))
        if reply is None and not self.cloud.api.alive:
            self.run(do(self.cloud.start_api))
        if reply is not None:
            tally.TALLY.answers[reply.status] += 1
            if reply.status in TROUBLE and self.calm:
                raise Disagreement(f"{reply.status} for {method} {path}, and nothing was wrong")
        return reply, asked

    def ask(
        self,
        about: Belief[Any],
        step: Callable[[Any], Iterable[tuple[int, Any]]],
        method: str,
        path: str,
        body: Any = None,
        *,
        lose: bool = False,
        limited: Callable[[], Collection[bool]] = lambda: (False,),
        several: bool = False,
        **how: Any,
    ) -> Reply | None:
        """A call about a resource: its answer must be one of those that `step` allows.

        `lose`: the client does not hear it. `limited`: whether the quota is in the way. `several`:
        the call is more than one transaction, so its traces are many when it is cut short.
        Administrators leave alone what another project may have taken over.
        """
        if how.get("role") == "admin" and about.ident in self.away:
            return None
        reply, asked = self.send(method, path, body, **how)
        options = self.options(about, step, limited)
        if reply is not None and reply.status not in TROUBLE:
            tally.TALLY.certain[len({code for code, _ in options}) == 1] += 1
            try:
                if lose:
                    about.unanswered(options)
                else:
                    about.answered(reply.status, options)
            except Disagreement as error:
                raise Disagreement(f"{method} {path} {body}: {error} {reply.json}") from None
            return None if lose else reply
        about.unanswered(options)
        if asked in self.cloud.weather.asleep:
            about.blurred.add(asked)
        if several or about.blurred:
            about.ways |= {unclear(one) for one in about.ways if one.status != GONE}
        return None

    def options(
        self, about: Belief[Any], step: Any, limited: Callable[[], Collection[bool]]
    ) -> list[tuple[int, Any]]:
        over = limited()
        return [
            (413, one) if blocked and code == 202 else (code, then)
            for one in about.present(self.cloud.clock, self.calm)
            for code, then in step(one)
            for blocked in over
        ]

    def over(
        self, *, limits: Mapping[str, set[int]] | None = None, **asked: int
    ) -> Collection[bool]:
        """Whether the quota does not allow so many more; both when that is not known."""
        for belief in (*self.volumes, *self.snapshots):
            belief.present(self.cloud.clock, self.calm)
        unsure = {
            "volumes": sum(one.kind == "volume" for one in self.lost),
            "snapshots": sum(one.kind == "snapshot" for one in self.lost),
            "gigabytes": sum(one.gigabytes for one in self.lost),
        }
        bounds = {
            "volumes": counted(self.volumes),
            "snapshots": counted(self.snapshots),
            "gigabytes": tuple(
                map(sum, zip(used(self.volumes), used(self.snapshots), strict=True))
            ),
        }
        surely = maybe = False
        for name, more in asked.items():
            fewest, most = bounds[name]
            possible = (limits or self.limits)[name]
            surely |= all(0 <= limit < fewest + more for limit in possible)
            maybe |= any(0 <= limit < most + unsure[name] + more for limit in possible)
        return (True,) if surely else (True, False) if maybe else (False,)

    def volume(self, number: int) -> Belief[Volume]:
        return one_of(self.volumes, [one for one in self.volumes if one.may_be_there], number)

    def snapshot(self, number: int) -> Belief[Snapshot]:
        there = [one for one in self.snapshots if one.may_be_there]
        return one_of(self.snapshots, there, number)

    def use(self, number: int) -> tuple[Belief[Volume], str]:
        there = [
            (about, ident)
            for about, ident in self.uses
            if any(one.status == ANY or one.use(ident) for one in about.ways)
        ]
        return one_of(self.uses, there, number)

    def children(self, parent: Belief[Volume]) -> list[Belief[Snapshot]]:
        return [one for one in self.snapshots if self.parents[one.ident] is parent]

    def has_children(self, parent: Belief[Volume]) -> Collection[bool]:
        known = self.children(parent)
        for one in known:
            one.present(self.cloud.clock, self.calm)
        if any(not one.may_be_gone for one in known):
            return (True,)
        maybe = any(one.may_be_there for one in known) or self.may_have_more(parent)
        return (True, False) if maybe else (False,)

    def may_have_more(self, parent: Belief[Volume]) -> bool:
        return any(one.parent is parent for one in self.lost)

    def add_snapshot(
        self, made: dict[str, Any], name: str, way: Snapshot, parent: Belief[Volume]
    ) -> None:
        ident = made["id"]
        self.ages[ident] = (made["created_at"], ident)
        self.snapshots.append(Belief(ident, name, frozenset({way}), ways.snapshot_goes_on))
        self.parents[ident] = parent


def one_of(all_of_them: list[T], there: list[T], number: int) -> T:
    """Mostly one of those that may be there; clients name others, too."""
    chosen = there if there and number < MOST else all_of_them
    return chosen[number % len(chosen)]


async def _made() -> Cloud:
    return Cloud()


async def do(fn: Callable[[], T]) -> T:
    return fn()


def _still(_one: Any, _now: float, _calm: bool) -> Iterable[Any]:
    return iter(())


def unclear(one: Any) -> Any:
    """The same resource, about whose status nothing is known any more."""
    if isinstance(one, Snapshot):
        return one._replace(status=ANY, checked=True)
    return one.perhaps_filled()._replace(status=ANY, uses=frozenset(), checked=True)
