"""Which faults, in which order: an endless list that follows from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

LEASE = 3.0
"""Seconds; the deployment is set up with it, and freezing lasts longer."""

SERVICE_KINDS = ("kill", "freeze", "restart")
WEIGHTS = {
    "kill": 8,
    "freeze": 6,
    "restart": 3,
    "daemon kill": 4,
    "broker kill": 2,
    "broker freeze": 2,
    "database kill": 2,
    "database freeze": 2,
}
"""Kinds of faults and how often each is chosen."""
TWO_AT_ONCE = 0.25
HASTY = 0.3


@dataclass(frozen=True)
class Fault:
    """One fault. `pick` (0 to 1) chooses among the victims that there are then; it lasts so many
    seconds, until its victim is started again or goes on."""

    kind: str
    pick: float
    lasts: float

    @property
    def victim(self) -> str:
        """Faults of one victim do not come together: broker, database, a daemon, or a service."""
        return "service" if self.kind in SERVICE_KINDS else self.kind.partition(" ")[0]


@dataclass(frozen=True)
class Round:
    """A pause, then one fault or two at once. The pause begins when all services are up again, but
    in a hasty round: then the next fault comes into what the last one has left."""

    pause: float
    hasty: bool
    faults: tuple[Fault, ...]


def rounds(seed: int, kinds: Collection[str] = ()) -> Iterator[Round]:
    """The plan of a seed; only of these kinds, when some are named."""
    weights = {kind: often for kind, often in WEIGHTS.items() if not kinds or kind in kinds}
    choice = random.Random(f"{seed} faults")
    while True:
        first = _fault(choice, weights)
        pair = (first, _fault(choice, weights)) if choice.random() < TWO_AT_ONCE else (first,)
        # Two services may go at once; one server cannot be frozen and killed in the same moment.
        together = len({one.victim for one in pair}) == len(pair) or first.victim == "service"
        yield Round(
            round(choice.uniform(0.3, 2.5), 2),
            choice.random() < HASTY,
            pair if together else pair[:1],
        )


def _fault(choice: random.Random, weights: Mapping[str, int]) -> Fault:
    (kind,) = choice.choices(list(weights), list(weights.values()))
    longer_than_a_lease = kind == "freeze" or choice.random() < 0.2
    lasts = choice.uniform(0.2, 2.5) + (LEASE + 0.5 if longer_than_a_lease else 0.0)
    return Fault(kind, choice.random(), round(lasts, 2))
