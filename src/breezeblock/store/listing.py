"""Pages of a table: filters, order, keyset paging (shared facts, query.md).

The marker is turned into a comparison on the sort columns, so a page deep in the list costs what
the first one does. A page is found by walking along an index that has the rows in the wanted order,
and statements are written so that the database sees it (`_walks`). They are built once for each
combination of order, marker and plain filters: building costs more than a short page does.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Row, Select, Table

from breezeblock.model.errors import NotFound
from breezeblock.model.listing import Comparison, Direction, ListQuery
from breezeblock.store.store import ReadTx

Test = Callable[[Any], ColumnElement[bool] | None]
"""A filter that is no plain comparison: from the wanted value to a condition; None: for this value
it is one."""
Sort = Sequence[tuple[Column[Any], Direction]]
Nulls = tuple[bool, ...] | None
"""Which of the marker's sort values are null; None: there is no marker."""

STATEMENTS = 500
"""How many shapes of statements a listing keeps: clients may combine filters at will."""

_KEY = re.compile(r"[a-zA-Z0-9\-_:. /]{1,255}", re.ASCII)


class Listed:
    """What is listed: a table, whose its rows are, and what filters and orders may name.

    `kind` is what a client is told of a marker that is not there. `owner` is the column that says
    whose a row is. `shown` is what is read of a row. `aliases` are further names of columns,
    `tests` are filters that are no plain comparison. Of the columns in `few` each value is that of
    a few rows: who filters by them is served by their own indexes.
    """

    def __init__(
        self,
        table: Table,
        kind: str,
        *,
        owner: Column[str] | None = None,
        shown: Sequence[ColumnElement[Any]] | None = None,
        aliases: Mapping[str, Column[Any]] | None = None,
        tests: Mapping[str, Test] | None = None,
        few: Sequence[Column[str]] = (),
    ) -> None:
        self.table, self.kind = table, kind
        self._owner = owner
        self._few = frozenset(few)
        self._shown = table.c if shown is None else shown
        self._named = {**{column.name: column for column in table.c}, **(aliases or {})}
        self._tests = tests or {}
        self._kept: dict[Any, Sequence[Select[Any]]] = {}

    def page(
        self,
        tx: ReadTx,
        query: ListQuery,
        owner: str | None = None,
        where: ColumnElement[bool] | None = None,
    ) -> tuple[list[Row[Any]], int | None]:
        """The rows of one page, and the number of all rows when the query wants it.

        The caller may see the owner's rows (None: everybody's), and of these `where`. Raises
        NotFound for a marker that is not there (or not visible).
        """
        if query.empty:
            return [], 0 if query.with_count else None
        plain, others = self._filters(query)
        values = {f"is_{name}": text for name, text in plain.items()}
        seen = () if where is None else (where,)
        if owner is not None:
            values["owner"] = owner
        total = None
        if query.with_count:
            (count,) = self._built(("count", *values), (*others, *seen), self._count)
            (total,) = tx.rows(count, **values)[0]
        if not query.limit:
            return [], total
        nulls: Nulls = None
        if query.marker is not None:
            marked = self._marked(tx, query, owner, seen)
            nulls = tuple(value is None for value in marked)
            values |= {f"after_{place}": value for place, value in enumerate(marked)}
        shape = ("page", query.sort, nulls, bool(query.offset), *values)
        walks = self._built(shape, (*others, *seen), self._pages)
        return _walked(tx, walks, query, values), total

    def matching(self, query: ListQuery) -> ColumnElement[bool]:
        """The query's filters alone, for sums over all that match."""
        if query.empty:
            return sa.false()
        plain, others = self._filters(query)
        equal = (self._named[name] == text for name, text in plain.items())
        return sa.and_(sa.true(), *equal, *others)

    def _filters(self, query: ListQuery) -> tuple[dict[str, str], list[ColumnElement[bool]]]:
        """The filters: comparisons with a text, of which only the value differs, and others."""
        plain: dict[str, str] = {}
        others: list[ColumnElement[bool]] = []
        for name, value in query.filters.items():
            test = self._tests[name](value) if name in self._tests else None
            if test is not None:
                others.append(test)
            elif isinstance(value, str) and isinstance(self._named[name].type, sa.String):
                plain[name] = value
            else:
                others.append(_equal(self._named[name], value))
        others += [_like(self._named[name], text) for name, text in query.like.items()]
        for name, comparisons in query.times.items():
            others += [_compared(self._named[name], comparison) for comparison in comparisons]
        return plain, others

    def _built(
        self,
        shape: tuple[Any, ...],
        others: Sequence[ColumnElement[bool]],
        build: Callable[[tuple[Any, ...]], Sequence[Select[Any]]],
    ) -> Sequence[Select[Any]]:
        """Statements of this shape, with the conditions that make one theirs alone."""
        found = self._kept.get(shape)
        if found is None:
            if len(self._kept) >= STATEMENTS:
                self._kept.clear()
            found = self._kept[shape] = build(shape)
        return [one.where(*others) for one in found] if others else found

    def _count(self, shape: tuple[Any, ...]) -> Sequence[Select[Any]]:
        counted = sa.select(sa.func.count()).select_from(self.table)
        return [counted.where(*self._conditions(shape[1:]))]

    def _pages(self, shape: tuple[Any, ...]) -> Sequence[Select[Any]]:
        _, wanted, nulls, skips, *names = shape
        sort = self._sort(wanted)
        page = sa.select(*self._shown).where(*self._conditions(names))
        page = page.order_by(*_order(sort)).limit(_number("top"))
        if skips:
            page = page.offset(_number("skip"))
        return [page.where(walk) for walk in _walks(sort, nulls)]

    def _conditions(self, names: Sequence[str]) -> list[ColumnElement[bool]]:
        """What the values of these names are for."""
        filtered = {
            name: self._named[name.removeprefix("is_")] for name in names if name.startswith("is_")
        }
        found = [column == sa.bindparam(name) for name, column in filtered.items()]
        if "owner" in names:
            assert self._owner is not None
            # SQLite would rather walk through all of the owner's rows than sort those few.
            aside = not self._few.isdisjoint(filtered.values())
            whose = self._owner.concat("") if aside else self._owner
            found.append(whose == sa.bindparam("owner"))
        return found

    def _marked(
        self,
        tx: ReadTx,
        query: ListQuery,
        owner: str | None,
        seen: Sequence[ColumnElement[bool]],
    ) -> Sequence[Any]:
        """The sort values of the marker's row."""
        values: dict[str, Any] = {"marker": query.marker}
        if owner is not None:
            values["owner"] = owner
        (statement,) = self._built(("marker", query.sort, *values), seen, self._marker)
        row = tx.first(statement, **values)
        if row is None:
            raise NotFound(self.kind, str(query.marker))
        return tuple(row)

    def _marker(self, shape: tuple[Any, ...]) -> Sequence[Select[Any]]:
        _, wanted, *names = shape
        columns = [column for column, _ in self._sort(wanted)]
        is_it = self.table.c.id == sa.bindparam("marker")
        return [sa.select(*columns).where(is_it, *self._conditions(names))]

    def _sort(self, wanted: Sequence[tuple[str, Direction]]) -> Sort:
        """The sort keys as columns, each once: a second direction for one would mean nothing."""
        found: dict[Any, Direction] = {}
        for key, way in wanted:
            found.setdefault(self._named[key], way)
        return list(found.items())


def _walked(
    tx: ReadTx, walks: Sequence[Select[Any]], query: ListQuery, values: Mapping[str, Any]
) -> list[Row[Any]]:
    """The page, from as many walks as it needs: each begins where the one before has ended."""
    if len(walks) == 1:
        skip = {"skip": query.offset} if query.offset else {}
        return list(tx.rows(walks[0], **values, **skip, top=query.limit))
    skip = {"skip": 0} if query.offset else {}
    found: list[Row[Any]] = []
    for walk in walks:
        if (missing := query.offset + query.limit - len(found)) > 0:
            found += tx.rows(walk, **values, **skip, top=missing)
    return found[query.offset :]


def _number(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=sa.Integer)


def _walks(sort: Sort, nulls: Nulls) -> list[ColumnElement[bool]]:
    """The conditions of the walks that bring all rows (beyond the marker, if any) in their order.

    Each is a range of an index that begins with the first sort column: rows that are equal to the
    marker in it and further in the rest, rows that are further in it, rows where it is null. Nulls
    come first ascending on every engine, so that markers mean the same everywhere.
    """
    (first, way), rest = sort[0], sort[1:]
    is_null, is_some = first.is_(None), first.is_not(None)
    if nulls is None:
        if not first.nullable:
            return [sa.true()]
        return [is_null, is_some] if way == "asc" else [is_some, is_null]
    if _is_even(sort):
        return [_beyond(sort, nulls)]
    marker = _after(0, first)
    equal = sa.and_(is_null if nulls[0] else first == marker, _beyond(rest, nulls[1:], 1))
    if way == "asc":
        return [equal, is_some if nulls[0] else first > marker]
    if nulls[0]:
        return [equal]
    return [equal, first < marker, is_null] if first.nullable else [equal, first < marker]


def _beyond(sort: Sort, nulls: tuple[bool, ...], place: int = 0) -> ColumnElement[bool]:
    """Rows that come after the marker: equal in the first columns, further in the next."""
    markers = [_after(place + n, column) for n, (column, _) in enumerate(sort)]
    if _is_even(sort):
        here = sa.tuple_(*(column for column, _ in sort))
        return here > sa.tuple_(*markers) if sort[0][1] == "asc" else here < sa.tuple_(*markers)
    choices: list[Any] = []
    equal: list[Any] = []
    for (column, way), null, marker in zip(sort, nulls, markers, strict=True):
        further: Any
        if null:
            further = column.is_not(None) if way == "asc" else sa.false()
        elif way == "asc":
            further = column > marker
        else:
            further = sa.or_(column < marker, column.is_(None))
        choices.append(sa.and_(*equal, further))
        equal.append(column.is_(None) if null else column == marker)
    return sa.or_(sa.false(), *choices)


def _after(place: int, column: Column[Any]) -> sa.BindParameter[Any]:
    return sa.bindparam(f"after_{place}", type_=column.type)


def _is_even(sort: Sort) -> bool:
    """Whether one comparison of all the columns together says what comes later."""
    return all(not column.nullable and way == sort[0][1] for column, way in sort)


def _order(sort: Sort) -> list[ColumnElement[Any]]:
    """The order within a walk, where the first column is never null beside other values.

    Of nulls is spoken only where there may be some: an index has its own place for them.
    """
    (first, way), *rest = sort
    return [first.asc() if way == "asc" else first.desc(), *(_ordered(*one) for one in rest)]


def _ordered(column: Column[Any], way: Direction) -> ColumnElement[Any]:
    if not column.nullable:
        return column.asc() if way == "asc" else column.desc()
    return column.asc().nulls_first() if way == "asc" else column.desc().nulls_last()


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
