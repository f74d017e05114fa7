"""JsonFilter: a query over pool figures that the user sends as a hint.

The hint `query` is JSON text, a list with an operator first: `["and", [">=", "$free_capacity_gb",
1024], ["=", "$volume_backend_name", "x"]]`. `$name` reads the pool's figures (`Pool.stats`), dots
descend; a name that the pool does not have is dropped from its list. The first operand is compared
with each of the others; a comparison with fewer than two operands is false.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request
from breezeblock.scheduler.values import figures, shown

MAX_DEPTH = 32
MAX_LENGTH = 16_384

_Node = Callable[[Mapping[str, Any]], object]
_DROPPED = object()
_NAMES = re.compile(r'"\$([\w.]+)"')
_COMPARE: Mapping[str, Callable[[Any, Any], object]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class QueryError(ValueError):
    """The hint is no query; the message says what is wrong with it."""


class JsonFilter(Filter):
    """Hint `query`: refuses the pools for which it is false. Not in the default list."""

    def check(self, request: Request) -> Check | None:
        query = request.hints.get("query")
        if not query:
            return None
        try:
            holds = compile_query(query)
        except QueryError as error:
            reason = f"hint query: {error}"
            return lambda _pool: reason

        paths = dict.fromkeys(_NAMES.findall(query))

        def names(pool: Pool) -> Iterator[tuple[str, object]]:
            return ((path, _lookup(path)(pool.stats)) for path in paths)

        def check(pool: Pool) -> str | None:
            try:
                if holds(pool.stats):
                    return None
                verdict = "is false"
            except TypeError:
                verdict = "compares values of different kinds"
            return f"hint query {shown(query)} {verdict}{figures(names(pool))}"

        return check


def compile_query(query: object) -> _Node:
    """Compile the hint's text; raises QueryError. The result may raise TypeError on odd figures."""
    if not isinstance(query, str) or len(query) > MAX_LENGTH:
        raise QueryError(f"must be JSON text of at most {MAX_LENGTH} characters")
    try:
        tree = json.loads(query)
    except (ValueError, RecursionError):
        raise QueryError(f"is not JSON: {shown(query)}") from None
    if not isinstance(tree, list):
        raise QueryError("must be a list with an operator first")
    return _node(tree, 0)


def _node(tree: object, depth: int) -> _Node:
    if isinstance(tree, str) and tree.startswith("$"):
        return _lookup(tree[1:])
    if not isinstance(tree, list):
        return lambda _figures: tree
    if not tree:
        return lambda _figures: True
    if depth > MAX_DEPTH:
        raise QueryError(f"is nested deeper than {MAX_DEPTH} lists")
    sign, *rest = tree
    apply = _OPERATORS.get(sign) if isinstance(sign, str) else None
    if apply is None:
        raise QueryError(f"knows no operator {shown(sign)}; there are {', '.join(_OPERATORS)}")
    operands = [_node(operand, depth + 1) for operand in rest]

    def node(figures: Mapping[str, Any]) -> object:
        values = (operand(figures) for operand in operands)
        return apply([value for value in values if value is not _DROPPED])

    return node


def _lookup(name: str) -> _Node:
    path = name.split(".")

    def node(figures: Mapping[str, Any]) -> object:
        found: Any = figures
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None
        return _DROPPED if found is None else found

    return node


def _comparison(compare: Callable[[Any, Any], object]) -> Callable[[list[Any]], object]:
    def apply(values: list[Any]) -> bool:
        return len(values) > 1 and all(compare(values[0], value) for value in values[1:])

    return apply


_OPERATORS: Mapping[str, Callable[[list[Any]], object]] = {
    **{sign: _comparison(compare) for sign, compare in _COMPARE.items()},
    "in": lambda values: len(values) > 1 and values[0] in values[1:],
    "not": lambda values: not any(values),
    "or": any,
    "and": all,
}
