"""The weighers: which of the pools that passed is the best?

Each gives a raw value for every pool; `rank` scales a weigher's values to 0..1, multiplies them by
its multiplier and sums over the weighers, highest first (shared facts, "Weighers"). A negative
multiplier prefers low values.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import ClassVar, NamedTuple

from breezeblock.scheduler.capacity import UNLIMITED
from breezeblock.scheduler.expressions import ExpressionError, Names, parse
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request
from breezeblock.scheduler.values import number


class Worth(NamedTuple):
    """A figure that a pool has by itself, and what it depends on besides the pool."""

    name: Hashable
    of: Callable[[Pool], float]


class Weigher(ABC):
    """Gives pools raw values. Pure, apart from an injected source of chance.

    A subclass is named in the configuration by its class name, and made without arguments or with
    the operator's `multiplier`.
    """

    default_multiplier: ClassVar[float] = 1.0

    def __init__(self, multiplier: float | None = None) -> None:
        self.multiplier = self.default_multiplier if multiplier is None else multiplier

    @property
    def name(self) -> str:
        return type(self).__name__

    @abstractmethod
    def weigh(self, pools: Sequence[Pool], request: Request) -> list[float]:
        """One raw value a pool, in their order. Called once a request."""

    def worth(self, request: Request) -> Worth | None:  # noqa: ARG002
        """The raw value of any pool, where it does not depend on the others that pass: large
        clouds keep their pools in its order (`pool_table.py`). None where it does."""
        return None


class CapacityWeigher(Weigher):
    """Virtual free capacity in GiB: spreads over the roomiest pools (stacks, if negative).

    Pools that know no limit come last, whatever the sign of the multiplier.
    """

    def weigh(self, pools: Sequence[Pool], request: Request) -> list[float]:
        thin = request.thin
        values = [pool.capacity.virtual_free(thin=thin) for pool in pools]
        known = [value for value in values if value != UNLIMITED]
        worst = -1.0 if self.multiplier > 0 else max(known, default=0.0) + 1.0
        return [worst if value == UNLIMITED else value for value in values]

    def worth(self, request: Request) -> Worth | None:
        thin = request.thin
        if self.multiplier <= 0:
            return None  # pools without a limit come after the roomiest of those that pass

        def of(pool: Pool) -> float:
            value = pool.capacity.virtual_free(thin=thin)
            return -1.0 if value == UNLIMITED else value

        return Worth(("virtual free", thin), of)


class AllocatedCapacityWeigher(Weigher):
    """GiB that we allocated in the pool; by default the least is the best."""

    default_multiplier = -1.0

    def weigh(self, pools: Sequence[Pool], request: Request) -> list[float]:  # noqa: ARG002
        return [pool.capacity.allocated for pool in pools]

    def worth(self, request: Request) -> Worth:  # noqa: ARG002
        return Worth("allocated", lambda pool: pool.capacity.allocated)


class VolumeNumberWeigher(Weigher):
    """Number of volumes in the pool; by default the least is the best."""

    default_multiplier = -1.0

    def weigh(self, pools: Sequence[Pool], request: Request) -> list[float]:  # noqa: ARG002
        return [float(pool.volumes) for pool in pools]

    def worth(self, request: Request) -> Worth:  # noqa: ARG002
        return Worth("volumes", lambda pool: float(pool.volumes))


class GoodnessWeigher(Weigher):
    """The backend's own goodness_function, 0..100; an error or what is out of range counts 0."""

    def weigh(self, pools: Sequence[Pool], request: Request) -> list[float]:
        names = request.names
        return [
            _goodness(
                pool.capabilities.get("goodness_function"),
                {**names, "stats": pool.stats, "capabilities": pool.capabilities},
            )
            for pool in pools
        ]


class ChanceWeigher(Weigher):
    """A random value: any pool that passed, each as likely."""

    def __init__(
        self, multiplier: float | None = None, chance: random.Random | None = None
    ) -> None:
        super().__init__(multiplier)
        self.chance = chance or random.Random()

    def weigh(self, pools: Sequence[Pool], request: Request) -> list[float]:  # noqa: ARG002
        return [self.chance.random() for _ in pools]


def _goodness(function: object, names: Names) -> float:
    if function is None:
        return 0.0
    try:
        value = parse(function).evaluate(names)
    except ExpressionError:
        return 0.0
    if isinstance(value, bool):
        return 100.0 if value else 0.0
    score = number(value)
    return score if score is not None and 0 <= score <= 100 else 0.0


def normalised(values: Sequence[float]) -> list[float]:
    """Scale to 0..1, the lowest to 0 and the highest to 1; all equal gives 0 for each.

    What is not finite counts as the highest (infinity) or the lowest of the others.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return [0.0] * len(values)
    low, high = min(finite), max(finite)
    if low == high:
        return [0.0] * len(values)
    # Halves, where the distance itself is beyond a float.
    part = 1.0 if math.isfinite(high - low) else 0.5
    low, spread = low * part, high * part - low * part
    return [
        (value * part - low) / spread
        if math.isfinite(value)
        else (1.0 if value == math.inf else 0.0)
        for value in values
    ]
