"""Single values of a query: numbers, booleans, texts that may be Python literals, times.

`web.query` declares filters with `Column` and has their values read here; handlers use `parse_bool`
for parameters of their own. What cannot be understood is an InvalidInput that names the parameter.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from breezeblock.model.errors import InvalidInput, shortened
from breezeblock.model.listing import Comparison
from breezeblock.web.microversion import Version
from breezeblock.web.types import MAX_INT

OPERATORS = frozenset({"gt", "gte", "eq", "neq", "lt", "lte"})
TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
NO_MATCH = object()
"""Read from a filter that no row can match."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def version_of(text: str) -> Version:
    major, _, minor = text.partition(".")
    return Version(int(major), int(minor))


@dataclass(frozen=True, slots=True)
class Column:
    """A column that can be filtered on, and how its value in the query is read.

    text      as it stands
    value     a text, or a Python literal: None, or ['a', 'b'] (a tuple: any of them)
    integer   a whole number, or a literal as above; nothing matches what is no number
    bool      a boolean text, strictly (see `strict_since`)
    metadata  a Python dict of texts, all pairs must match
    time      comparisons `gt:2026-01-01T00:00:00,lt:…`

    `since` is the version that announced the filter: below it and below the listing's
    `strict_since` the filter is dropped.
    """

    kind: Literal["text", "value", "integer", "bool", "metadata", "time"] = "text"
    since: str = "0.0"
    strict_since: str = "0.0"

    @property
    def known_from(self) -> Version:
        return version_of(self.since)


def parse_number(name: str, text: str, maximum: int | None = None) -> int:
    """A whole number of at least 0. Raises InvalidInput, naming the parameter."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise InvalidInput(
            f"Invalid value {shortened(text)!r} for {name}: a whole number is needed."
        )
    number = int(text)
    if maximum is not None and number > maximum:
        raise InvalidInput(f"{name} must be at most {maximum}.")
    return number


def parse_bool(name: str, text: str) -> bool:
    """A boolean text in a query, strictly. Raises InvalidInput, naming the parameter."""
    word = text.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise InvalidInput(f"Invalid value {shortened(text)!r} for {name}: a boolean is needed.")


def read_filter(name: str, text: str, column: Column, version: Version) -> Any:
    """The value of a filter, or NO_MATCH."""
    if column.kind == "text":
        return text
    if column.kind == "metadata":
        return _pairs(_literal(text))
    if column.kind == "bool":
        strict = version >= version_of(column.strict_since)
        return parse_bool(name, text) if strict else text.strip().lower() not in FALSE
    literal = _literal(text)
    read = _integer if column.kind == "integer" else _text
    if isinstance(literal, list | tuple):
        found = [read(item, str(item)) for item in literal]
        return tuple(item for item in found if item is not NO_MATCH) or NO_MATCH
    return read(literal, text)


def _pairs(literal: Any) -> Any:
    if not isinstance(literal, dict):
        return NO_MATCH
    return {_storable(str(key)): _storable(str(text)) for key, text in literal.items()}


def _integer(literal: Any, _text: str) -> Any:
    if literal is None:
        return None
    fits = type(literal) is int and abs(literal) <= MAX_INT
    return literal if fits else NO_MATCH


def _text(literal: Any, text: str) -> Any:
    if literal is None:
        return None
    return _storable(literal) if isinstance(literal, str) else text


def _storable(text: str) -> str:
    """The text, if a database can hold it: a literal can spell out what a URL cannot."""
    if _UNSTORABLE.search(text):
        raise InvalidInput("A filter holds a character that no text can have.")
    return text


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def read_comparisons(name: str, text: str) -> tuple[Comparison, ...]:
    """Comparisons of a time: `gt:2026-01-01T00:00:00,lt:…`."""
    return tuple(_comparison(name, part) for part in text.split(","))


def _comparison(name: str, text: str) -> Comparison:
    operator, colon, time = text.partition(":")
    if not colon or operator not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise InvalidInput(f"{name} needs an operator ({known}) before the time, as in gt:2026-…")
    try:
        moment = datetime.fromisoformat(time)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{name}: {shortened(time)!r} is not a time in ISO 8601.") from None
    return operator, moment
