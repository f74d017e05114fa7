"""DriverFilter: does the backend's own filter_function accept the request?"""

from __future__ import annotations

from breezeblock.scheduler.expressions import ExpressionError, parse
from breezeblock.scheduler.filters.base import Check, Filter
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
