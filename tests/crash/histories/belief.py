"""What a client knows of one resource: the ways that it may be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic

from tests.crash.histories.ways import GONE, Way


class Disagreement(AssertionError):
    """The service has answered or shown what the model does not allow."""


@dataclass
class Belief(Generic[Way]):
    """All ways that one resource may be. `blurred`: calls about it may yet be carried out, or it
    has attachments without names, so a look settles nothing. `told` are the messages about it."""

    ident: str
    name: str
    ways: frozenset[Way]
    goes_on: Callable[[Way, float, bool], Iterator[Way]]
    blurred: set[object] = field(default_factory=set)
    told: set[str] = field(default_factory=set)

    def present(self, now: float, calm: bool) -> frozenset[Way]:
        """All ways, with what may have happened meanwhile."""
        fresh = set(self.ways)
        known = set(fresh)
        while fresh:
            fresh = {then for one in fresh for then in self.goes_on(one, now, calm)} - known
            known |= fresh
        self.ways = frozenset(known)
        return self.ways

    def answered(self, code: int, options: Collection[tuple[int, Way]]) -> None:
        """Keep what the answer allows. Raises Disagreement."""
        left = frozenset(then for allowed, then in options if allowed == code)
        if not left:
            allowed_codes = sorted({allowed for allowed, _ in options})
            raise Disagreement(f"{code} where only {allowed_codes} are allowed, for {self}")
        self.ways = left

    def unanswered(self, options: Collection[tuple[int, Way]]) -> None:
        """Whether it was done is not known."""
        self.ways |= frozenset(then for _, then in options)

    def shown(self, matching: Iterable[Way], what: object) -> None:
        """Keep what a look allows. Raises Disagreement."""
        left = frozenset(matching)
        if not left:
            raise Disagreement(f"{what} is shown, which is not among what may be: {self}")
        self.ways = left

    @property
    def may_be_gone(self) -> bool:
        return any(one.status == GONE for one in self.ways)

    @property
    def may_be_there(self) -> bool:
        return any(one.status != GONE for one in self.ways)


def used(beliefs: Iterable[Belief[Way]]) -> tuple[int, int]:
    """The fewest and the most GiB that these volumes or snapshots may count for."""
    fewest = most = 0
    for belief in beliefs:
        there = [one for one in belief.ways if one.status != GONE]
        fewest += 0 if belief.may_be_gone else min(one.size for one in there)
        most += max((max(one.size, getattr(one, "most", 0)) for one in there), default=0)
    return fewest, most


def counted(beliefs: Iterable[Belief[Way]]) -> tuple[int, int]:
    """The fewest and the most of these resources that there may be."""
    known = list(beliefs)
    return sum(not one.may_be_gone for one in known), sum(one.may_be_there for one in known)
