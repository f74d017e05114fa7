"""Pages of a table: filters, order, keyset paging (shared facts, query.md).

The marker is turned into a comparison on the sort columns, so a page deep in the list costs what
the first one does.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Table

from breezeblock.model.errors import NotFound
from breezeblock.model.listing import Comparison, ListQuery
from breezeblock.store.store import ReadTx

Test = Callable[[Any], ColumnElement[bool]]
"""A filter that is no plain comparison: from the wanted value to a condition."""

_KEY = re.compile(r"[a-zA-Z0-9\-_:. /]{1,255}", re.ASCII)


def page(
    tx: ReadTx,
    table: Table,
    query: ListQuery,
    where: ColumnElement[bool],
    *,
    kind: str,
    aliases: Mapping[str, ColumnElement[Any]] | None = None,
    tests: Mapping[str, Test] | None = None,
) -> tuple[list[sa.Row[Any]], int | None]:
    """The rows of one page, and the number of all rows when the query wants it.

    `where` is what the caller may see. `aliases` are further names of columns, `tests` are filters
    that are no plain comparison. Raises NotFound for a marker that is not there (or not visible).
    """
    if query.empty:
        return [], 0 if query.with_count else None
    named = {**{column.name: column for column in table.c}, **(aliases or {})}
    condition = sa.and_(where, *_conditions(named, tests or {}, query))
    total = (
        tx.scalar(sa.select(sa.func.count()).select_from(table).where(condition))
        if query.with_count
        else None
    )
    statement = sa.select(table).where(condition)
    sort = _by_column(named, query.sort)
    if query.marker is not None:
        marked = tx.first(sa.select(table).where(where, table.c.id == query.marker))
        if marked is None:
            raise NotFound(kind, query.marker)
        statement = statement.where(_beyond(sort, marked))
    statement = statement.order_by(*(_ordered(column, way) for column, way in sort))
    rows = tx.rows(statement.limit(query.limit).offset(query.offset)) if query.limit else []
    return list(rows), total


def matching(
    table: Table,
    query: ListQuery,
    *,
    aliases: Mapping[str, ColumnElement[Any]] | None = None,
    tests: Mapping[str, Test] | None = None,
) -> ColumnElement[bool]:
    """The query's filters alone, for sums over all that match."""
    if query.empty:
        return sa.false()
    named = {**{column.name: column for column in table.c}, **(aliases or {})}
    return sa.and_(sa.true(), *_conditions(named, tests or {}, query))


def _by_column(
    named: Mapping[str, ColumnElement[Any]], sort: tuple[tuple[str, str], ...]
) -> list[tuple[sa.Column[Any], str]]:
    """The sort keys as columns, each once: a second direction for one would mean nothing."""
    found: dict[Any, str] = {}
    for key, way in sort:
        found.setdefault(named[key], way)
    return list(found.items())


def _ordered(column: sa.Column[Any], way: str) -> ColumnElement[Any]:
    # Nulls come first ascending on every engine, so that markers mean the same everywhere.
    return column.asc().nulls_first() if way == "asc" else column.desc().nulls_last()


def _beyond(sort: list[tuple[sa.Column[Any], str]], marked: sa.Row[Any]) -> ColumnElement[bool]:
    """Rows that come after the marked one: equal in the first columns, further in the next."""
    choices: list[Any] = []
    equal: list[Any] = []
    for column, way in sort:
        value = marked._mapping[column.name]
        further: Any
        if value is None:
            further = column.is_not(None) if way == "asc" else sa.false()
        elif way == "asc":
            further = column > value
        else:
            further = sa.or_(column < value, column.is_(None))
        choices.append(sa.and_(*equal, further))
        equal.append(column.is_(None) if value is None else column == value)
    return sa.or_(*choices)


def _conditions(
    columns: Mapping[str, ColumnElement[Any]], tests: Mapping[str, Test], query: ListQuery
) -> list[ColumnElement[bool]]:
    conditions = [
        tests[name](value) if name in tests else _equal(columns[name], value)
        for name, value in query.filters.items()
    ]
    conditions += [_like(columns[name], text) for name, text in query.like.items()]
    for name, comparisons in query.times.items():
        conditions += [_compared(columns[name], comparison) for comparison in comparisons]
    return conditions


def _like(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    texts = column if isinstance(column.type, sa.String) else sa.cast(column, sa.String)
    return texts.contains(text)


def _equal(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    if value is None:
        return column.is_(None)
    if isinstance(value, dict):
        return sa.and_(sa.true(), *(holds(column, key, text) for key, text in value.items()))
    if isinstance(value, list | tuple):
        return sa.or_(sa.false(), *(_equal(column, one) for one in value))
    if isinstance(column.type, sa.String):
        return column == str(value)
    if isinstance(column.type, sa.Boolean):
        return column.is_(bool(value))
    if isinstance(column.type, sa.Integer):
        number = _integer(value)
        return sa.false() if number is None else column == number
    return sa.and_(column == value)


def holds(column: ColumnElement[Any], key: str, text: str) -> ColumnElement[bool]:
    """Whether a JSON object holds the pair. A key that could not have been stored holds nothing,
    and must not reach the database, where it would be read as a path."""
    if not _KEY.fullmatch(key):
        return sa.false()
    test: ColumnElement[bool] = column[key].as_string() == text
    return test


def _integer(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if -(2**31) <= number < 2**31 else None


def _compared(column: ColumnElement[Any], comparison: Comparison) -> ColumnElement[bool]:
    operation, moment = comparison
    test: ColumnElement[bool] = _COMPARISONS[operation](column, moment)
    return test


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "eq": operator.eq,
    "neq": operator.ne,
}
