"""Pages of a table: filters, order, keyset paging (shared facts, query.md).

The marker is turned into a comparison on the sort columns, so a page deep in the list costs what
the first one does.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Table

from breezeblock.model.errors import NotFound
from breezeblock.model.listing import Comparison, ListQuery
from breezeblock.store.store import ReadTx


def page(
    tx: ReadTx,
    table: Table,
    query: ListQuery,
    where: ColumnElement[bool],
    *,
    kind: str,
    columns: Mapping[str, ColumnElement[Any]] | None = None,
) -> tuple[list[sa.Row[Any]], int | None]:
    """The rows of one page, and the number of all rows when the query wants it.

    `columns` are further names that may be filtered by. Raises NotFound for a marker that is not
    there (or not visible).
    """
    if query.empty:
        return [], 0 if query.with_count else None
    named = {**{column.name: column for column in table.c}, **(columns or {})}
    condition = sa.and_(where, *_conditions(named, query))
    total = (
        tx.scalar(sa.select(sa.func.count()).select_from(table).where(condition))
        if query.with_count
        else None
    )
    statement = sa.select(table).where(condition)
    if query.marker is not None:
        marked = tx.first(sa.select(table).where(where, table.c.id == query.marker))
        if marked is None:
            raise NotFound(kind, query.marker)
        statement = statement.where(_beyond(table, query.sort, marked))
    statement = statement.order_by(*(_ordered(table, key, way) for key, way in query.sort))
    rows = tx.rows(statement.limit(query.limit).offset(query.offset)) if query.limit else []
    return list(rows), total


def _ordered(table: Table, key: str, way: str) -> ColumnElement[Any]:
    column = table.c[key]
    # Nulls come first ascending on every engine, so that markers mean the same everywhere.
    return column.asc().nulls_first() if way == "asc" else column.desc().nulls_last()


def _beyond(
    table: Table, sort: tuple[tuple[str, str], ...], marked: sa.Row[Any]
) -> ColumnElement[bool]:
    """Rows that come after the marked one: equal in the first columns, further in the next."""
    choices: list[Any] = []
    equal: list[Any] = []
    for key, way in sort:
        column, value = table.c[key], marked._mapping[key]
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


def _further(column: sa.Column[Any], value: Any, way: str) -> ColumnElement[bool]:
    if value is None and way == "asc":
        return column.is_not(None)
    if value is None:
        return sa.false()
    if way == "asc":
        return column > value  # type: ignore[no-any-return]
    return sa.or_(column < value, column.is_(None))


def _conditions(
    columns: Mapping[str, ColumnElement[Any]], query: ListQuery
) -> list[ColumnElement[bool]]:
    tests = [_equal(columns[name], value) for name, value in query.filters.items()]
    tests += [columns[name].contains(text) for name, text in query.like.items()]
    for name, comparisons in query.times.items():
        tests += [_compared(columns[name], comparison) for comparison in comparisons]
    return tests


def _equal(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    if value is None:
        return column.is_(None)
    if isinstance(value, dict):
        pairs = [column[key].as_string() == str(text) for key, text in value.items()]
        return sa.and_(sa.true(), *pairs)
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
