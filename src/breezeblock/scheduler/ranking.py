"""Rank the pools for a request: who can take it, in which order, and why the others cannot.

The scheduling step of a workflow calls `rank` and stores the result on the operation: the volume
service walks the candidates, the operator reads every refusal, the user reads a summary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from breezeblock.scheduler.filters.base import Filter
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request
from breezeblock.scheduler.summary import summarise
from breezeblock.scheduler.weighers import Weigher, normalised

READINESS = "Readiness"
"""Stands in `Refusal.filter` for what is checked before all filters."""

EXAMPLES = 20
"""How many refusals `choose` puts into words when there are pools to choose from."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One weigher's part in a candidate's weight: `value` as it came, `score` after scaling to
    0..1 and multiplying."""

    weigher: str
    value: float
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool that can take the request; `weight` is the sum of the scores."""

    pool: str
    weight: float
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A pool that cannot take the request: the first filter that said no, and its reason."""

    pool: str
    filter: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """The result: candidates, best first, and refusals, in the order of the pools.

    `fit` says how many pools can take the request, `refused_by` how many each filter refused: in a
    large cloud `choose` gives the best of the former, and examples of the latter.
    """

    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]
    fit: int = 0
    refused_by: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.fit and not self.refused_by:  # then all are here
            object.__setattr__(self, "fit", len(self.candidates))
            object.__setattr__(self, "refused_by", Counter(one.filter for one in self.refusals))

    @property
    def refused(self) -> int:
        """How many pools cannot take the request."""
        return sum(self.refused_by.values())

    def summary(self, *, for_user: bool = False, limit: int = 10) -> str:
        """The ranking as text, at most `limit` lines of reasons.

        `for_user` leaves out the names of pools, backends and hosts, and counts equal reasons.
        """
        return summarise(
            [candidate.pool for candidate in self.candidates],
            [(refusal.pool, refusal.filter, refusal.reason) for refusal in self.refusals],
            counts=(self.fit, self.refused),
            for_user=for_user,
            limit=limit,
        )

    @property
    def none_ready(self) -> bool:
        """Whether no pool was asked: their services are down, disabled, frozen or silent."""
        return not self.refused_by.keys() - {READINESS}

    @property
    def cause(self) -> str:
        """Why no pool takes the request, in a sentence for its user."""
        headline, *reasons = self.summary(for_user=True).splitlines()
        return f"{headline} {'; '.join(reasons)}".strip()


def rank(
    pools: Iterable[Pool],
    request: Request,
    filters: Sequence[Filter],
    weighers: Sequence[Weigher],
) -> Ranking:
    """Pass the pools through the filters, in their order, and weigh what is left.

    Pools whose service is down, disabled, frozen or silent are refused before. With
    `request.only` no other pool is looked at, and a name that is not among the pools is refused.
    Pools of equal weight come in the order of their names.
    """
    considered = list(pools)
    if request.only is not None:
        considered = [pool for pool in considered if pool.name == request.only]
        if not considered:
            unknown = Refusal(
                request.only, READINESS, "no service has reported a pool of this name"
            )
            return Ranking((), (unknown,))
    fit, refusals = _sieve(considered, request, filters)
    return Ranking(_weigh(fit, request, weighers), tuple(refusals))


def choose(
    pools: PoolTable,
    request: Request,
    filters: Sequence[Filter],
    weighers: Sequence[Weigher],
    most: int,
) -> Ranking:
    """As `rank`, with the best `most` candidates only, and at a cost that hardly grows with the
    cloud. Where no pool fits, it is `rank` that says of each why not."""
    with pools.lock:
        if request.only is not None:
            only = pools.get(request.only)
            return rank([only] if only else [], request, filters, weighers)
        fit, refused_by = _passing(pools, request, filters)
        if not fit:
            return rank(pools, request, filters, weighers)
        others = (pool for _, pool in pools.each(pools.present & ~fit))
        return Ranking(
            _best(pools, fit, request, weighers, most),
            tuple(_sieve(islice(others, EXAMPLES), request, filters)[1]),
            fit.bit_count(),
            refused_by,
        )


def _passing(
    pools: PoolTable, request: Request, filters: Sequence[Filter]
) -> tuple[int, dict[str, int]]:
    """The pools that pass, and how many each filter refused."""
    fit = pools.ready
    refused_by = {READINESS: (pools.present & ~fit).bit_count()}
    for one in filters:
        left = fit & one.passing(request, pools, fit)
        refused_by[one.name] = refused_by.get(one.name, 0) + (fit & ~left).bit_count()
        fit = left
    return fit, {name: number for name, number in refused_by.items() if number}


def _best(
    pools: PoolTable, fit: int, request: Request, weighers: Sequence[Weigher], most: int
) -> tuple[Candidate, ...]:
    """The first candidates. One weigher whose figures pools have by themselves keeps them in order;
    figures of several have to be scaled and summed for each pool."""
    worth = weighers[0].worth(request) if len(weighers) == 1 else None
    if worth is None or not weighers[0].multiplier:
        return _weigh([pool for _, pool in pools.each(fit)], request, weighers)[:most]
    multiplier, of = weighers[0].multiplier, worth.of
    sign = 1.0 if multiplier > 0 else -1.0
    order = pools.order((worth.name, sign), lambda pool: sign * of(pool))
    first, last = order.extremes(fit, most)
    values = [sign * figure for figure, _ in first]
    scores = [scaled * multiplier for scaled in normalised([*values, sign * last])]
    name = weighers[0].name
    return tuple(
        Candidate(pools.at(slot).name, score, (Figure(name, value, score),))
        for (_, slot), value, score in zip(first, values, scores, strict=False)
    )


def _sieve(
    pools: Iterable[Pool], request: Request, filters: Sequence[Filter]
) -> tuple[list[Pool], list[Refusal]]:
    prepared = ((one.name, one.check(request)) for one in filters)
    checks = [(name, check) for name, check in prepared if check is not None]
    fit: list[Pool] = []
    refusals: list[Refusal] = []
    for pool in pools:
        if reason := _not_ready(pool):
            refusals.append(Refusal(pool.name, READINESS, reason))
            continue
        for name, check in checks:
            if reason := check(pool):
                refusals.append(Refusal(pool.name, name, reason))
                break
        else:
            fit.append(pool)
    return fit, refusals


def _not_ready(pool: Pool) -> str | None:
    if pool.ready:
        return None
    if not pool.enabled:
        return "its volume service is disabled"
    if not pool.up:
        return "its volume service is down"
    if pool.frozen:
        return "its volume service is frozen and takes no changes"
    return "its volume service has not reported its capacity yet"


def _weigh(
    pools: Sequence[Pool], request: Request, weighers: Sequence[Weigher]
) -> tuple[Candidate, ...]:
    columns = [list(_figures(weigher, pools, request)) for weigher in weighers]
    rows: Iterable[tuple[Figure, ...]] = (
        zip(*columns, strict=True) if columns else [()] * len(pools)
    )
    candidates = (
        Candidate(pool.name, sum(figure.score for figure in figures), figures)
        for pool, figures in zip(pools, rows, strict=True)
    )
    return tuple(sorted(candidates, key=lambda one: (-one.weight, one.pool)))


def _figures(weigher: Weigher, pools: Sequence[Pool], request: Request) -> Iterator[Figure]:
    values = weigher.weigh(pools, request)
    for value, scaled in zip(values, normalised(values), strict=True):
        yield Figure(weigher.name, value, scaled * weigher.multiplier)
