"""DriverFilter: does the backend's own filter_function accept the request?"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from breezeblock.scheduler.expressions import ExpressionError, parse, read
from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request
from breezeblock.scheduler.values import shown


class DriverFilter(Filter):
    """Refuses pools whose filter_function is false or cannot be evaluated; none given passes."""

    def check(self, request: Request) -> Check | None:
        fixed = request.names

        def check(pool: Pool) -> str | None:
            function = pool.capabilities.get("filter_function")
            if function is None:
                return None
            try:
                expression = parse(function)
                names = {**fixed, "stats": pool.stats, "capabilities": pool.capabilities}
                if expression.holds(names):
                    return None
            except ExpressionError as error:
                return f"filter_function {shown(function)} cannot be evaluated: {error}"
            return f"filter_function {shown(function)} is false{expression.figures(names)}"

        return check

    def passing(self, request: Request, pools: PoolTable, among: int) -> int:
        """Asks each function once for all pools that have the same of what it reads."""
        check = self.check(request)
        if check is None:
            return among
        functions = pools.column("filter function", _function).values()
        asked = {name for function in functions for name in _read_by(function, _REQUEST)}
        said = tuple((name, repr(read(name, request.names))) for name in sorted(asked))
        column = pools.column("what filter functions read", lambda pool: pool, key=_ruled)
        return column.where(said, lambda pool: check(pool) is None)


_POOL = ("stats", "capabilities")
_REQUEST = ("volume", "extra", "qos")


def _function(pool: Pool) -> object:
    return pool.capabilities.get("filter_function")


def _read_by(function: object, roots: tuple[str, ...]) -> Iterable[str]:
    """The names under these roots that a function reads; one that is no function reads none."""
    if function is None:
        return ()
    try:
        return [name for name in parse(function).names if name.partition(".")[0] in roots]
    except ExpressionError:
        return ()


def _ruled(pool: Pool) -> Hashable:
    """Pools for which this is the same pass or fail the filter together."""
    function = _function(pool)
    if function is None:
        return None
    asked = _read_by(function, _POOL)
    names = {"capabilities": pool.capabilities} if asked else {}
    if any(name.startswith("stats.") for name in asked):
        names["stats"] = pool.stats
    return repr(function), tuple(repr(read(name, names)) for name in asked)
