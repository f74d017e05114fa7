"""Statements of SQLAlchemy as a driver takes them: text and values in, rows out.

SQLAlchemy writes the SQL and knows the types; what it does around each execution costs far more
than the database's own work. So each shape of a statement is compiled once, and from then on its
values go to the driver, and the driver's rows to the caller, through the same processors of types
that SQLAlchemy would use.

A shape is what SQLAlchemy caches by: the statement without its values. A statement that is built
once, at the head of a module, is found without even asking for its shape; one that is built anew
for each call costs the building, and the asking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import BindParameter, Dialect, Executable, Row
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql.compiler import SQLCompiler

Processor = Any
"""What makes a value of ours one of the driver's, or the other way round; None: nothing need be."""
Columns = Sequence[tuple[str, Any]]
"""What a driver says of a result's columns: name and code of the type."""

SHAPES = 1000
"""How many shapes are kept; lists with arbitrary filters have no end of them."""

LENGTHS = 50
"""How many texts of one shape are kept; each length of a list in it makes another."""


class StoredRow(Row[Any]):
    """SQLAlchemy's row, of which `_mapping` is a plain dict by the names of the columns."""

    __slots__ = ()

    @property
    def _mapping(self) -> dict[str, Any]:  # type: ignore[override]
        return dict(zip(self._parent._keys, self._data, strict=True))


class Call(NamedTuple):
    """One execution: what goes to the driver, and the shape that reads what comes back."""

    text: str
    values: Sequence[Any]
    shape: Shape


class _Slot(NamedTuple):
    """Where the value of one place in the text comes from."""

    name: str
    given: str | None
    """The caller's parameter, if he gives it."""
    number: int
    """Else the statement's own value of that number, unless it is below zero."""
    fixed: Callable[[], Any]
    """Else this."""
    process: Processor
    element: int | None = None
    """Which element of the value, when that is a list."""


class Shape:
    """A statement without its values, compiled, with certain parameters given."""

    def __init__(
        self,
        statement: Executable,
        dialect: Dialect,
        given: Sequence[str],
        key: sa.sql.cache_key.CacheKey | None,
    ) -> None:
        compiled = statement._compiler(  # type: ignore[attr-defined]
            dialect, cache_key=key, column_keys=sorted(given), for_executemany=False
        )
        assert isinstance(compiled, SQLCompiler)
        self._compiled = compiled
        self._dialect = dialect
        self._given = frozenset(given)
        self._own = _own_values(compiled, key)
        self._defaults = _defaults(compiled)
        self._expands = bool(compiled.post_compile_params or compiled.literal_execute_params)
        self._texts: dict[tuple[int, ...], tuple[str, list[_Slot]]] = {}
        self._slots = [self._slot(name) for name in _places(compiled)]
        self._lists = [
            slot
            for slot in self._slots
            if compiled.binds[slot.name] in compiled.post_compile_params
        ]
        self._reading: tuple[SimpleResultMetaData, list[Processor] | None] | None = None

    def call(self, parameters: Mapping[str, Any], own: Sequence[BindParameter[Any]]) -> Call:
        """With these values: the caller's, and those in the statement that has this shape."""
        text, slots = self._compiled.string, self._slots
        if self._expands:
            text, slots = self._expanded(parameters, own)
        values = []
        for slot in slots:
            value = _value(slot, parameters, own)
            if slot.element is not None:
                value = value[slot.element]
            values.append(value if slot.process is None else slot.process(value))
        return Call(text, values, self)

    def rows(
        self, found: Sequence[Sequence[Any]], columns: Callable[[], Columns]
    ) -> list[Row[Any]]:
        """What the driver has found, as rows. It says what columns there are when it is asked."""
        if not found:
            return []
        if self._reading is None:
            self._reading = self._read_as(columns())
        parent, processors = self._reading
        names = parent._key_to_index
        return [StoredRow(parent, processors, names, row) for row in found]

    def _slot(self, name: str) -> _Slot:
        bind = self._compiled.binds[name]
        given = next((one for one in (bind.key, name) if one in self._given), None)
        process = self._compiled._bind_processors.get(name)
        fixed = self._defaults.get(name)
        if given is None and fixed is None and bind.required:
            raise sa.exc.StatementError(
                f"A value is required for bind parameter {bind.key!r}", None, None, None
            )
        return _Slot(
            name, given, self._own.get(bind, -1), fixed or (lambda: bind.effective_value), process
        )

    def _expanded(
        self, parameters: Mapping[str, Any], own: Sequence[BindParameter[Any]]
    ) -> tuple[str, list[_Slot]]:
        """The text in which lists have places for as many elements as they have."""
        lengths = tuple(len(_value(slot, parameters, own)) for slot in self._lists)
        if (known := self._texts.get(lengths)) is not None:
            return known
        compiled, by_name = self._compiled, {slot.name: slot for slot in self._slots}
        state = compiled._process_parameters_for_postcompile(
            {name: _value(slot, parameters, own) for name, slot in by_name.items()}
        )
        elements = {
            element: by_name[name]._replace(element=place, process=state.processors.get(element))
            for name, expanded in state.parameter_expansion.items()
            for place, element in enumerate(expanded)
        }
        slots = [elements.get(name) or by_name[name] for name in state.positiontup or ()]
        if not compiled.literal_execute_params:
            if len(self._texts) >= LENGTHS:
                self._texts.clear()
            self._texts[lengths] = state.statement, slots
        return state.statement, slots

    def _read_as(self, columns: Columns) -> tuple[SimpleResultMetaData, list[Processor] | None]:
        """The names of a row's columns, and what makes the driver's values ours."""
        declared = self._compiled._result_columns
        if len(declared) != len(columns):  # plain text, whose columns only the database knows
            return SimpleResultMetaData([name for name, _ in columns]), None
        processors = [
            column.type._cached_result_processor(self._dialect, code)
            for column, (_, code) in zip(declared, columns, strict=True)
        ]
        names = SimpleResultMetaData([column.keyname for column in declared])
        return names, processors if any(processors) else None


def _value(slot: _Slot, parameters: Mapping[str, Any], own: Sequence[BindParameter[Any]]) -> Any:
    if slot.given is not None:
        return parameters[slot.given]
    return own[slot.number].effective_value if slot.number >= 0 else slot.fixed()


def _places(compiled: SQLCompiler) -> Sequence[str]:
    """The names of the text's places, in their order."""
    return compiled.positiontup or ()


def _own_values(
    compiled: SQLCompiler, key: sa.sql.cache_key.CacheKey | None
) -> dict[BindParameter[Any], int]:
    """Which of a statement's own values, counted as its cache key counts them, goes to which place.

    The compiler may have put copies in the place of the statement's parameters: it says which.
    """
    if key is None or compiled._cache_key_bind_match is None:
        return {}
    copies = compiled._cache_key_bind_match[0]
    return {copy: n for n, bind in enumerate(key.bindparams) for copy in copies[bind]}


def _defaults(compiled: SQLCompiler) -> dict[str, Callable[[], Any]]:
    """Values of columns that the caller leaves out and that have a default in Python."""
    found: dict[str, Callable[[], Any]] = {}
    if not compiled.insert_prefetch:
        return found
    name_of = compiled._within_exec_param_key_getter
    for column in compiled.insert_prefetch:
        default, scalar, called, _ = column._default_description_tuple
        if not (scalar or called):
            raise NotImplementedError(f"the default of {column} is neither a value nor a function")
        found[name_of(column)] = partial(default, None) if called else partial(_same, default)
    return found


def _same(value: Any) -> Any:
    return value


class Statements:
    """All statements of one kind of database. Any number of threads may ask."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._shapes: dict[Any, Shape] = {}
        self._seen: WeakKeyDictionary[
            Executable, dict[tuple[str, ...], tuple[Shape, Sequence[BindParameter[Any]]]]
        ] = WeakKeyDictionary()

    def call(self, statement: Executable, parameters: Mapping[str, Any]) -> Call:
        given = tuple(parameters)
        seen = self._seen.get(statement)
        if seen is None:
            seen = self._seen[statement] = {}
        known = seen.get(given)
        if known is None:
            known = seen[given] = self._shape(statement, given)
        shape, own = known
        return shape.call(parameters, own)

    def _shape(
        self, statement: Executable, given: tuple[str, ...]
    ) -> tuple[Shape, Sequence[BindParameter[Any]]]:
        key = statement._generate_cache_key()  # type: ignore[attr-defined]
        if key is None:
            return Shape(statement, self.dialect, given, None), ()
        shape = self._shapes.get((key.key, given))
        if shape is None:
            if len(self._shapes) >= SHAPES:
                # A shape holds on to the statement that it was made of, which `_seen` is keyed by.
                self._shapes.clear()
                self._seen = WeakKeyDictionary()
            shape = self._shapes[key.key, given] = Shape(statement, self.dialect, given, key)
        return shape, key.bindparams
