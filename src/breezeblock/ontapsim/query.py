"""ONTAP's query language: which records a request means, which fields it wants, and which page.

A filter is a dotted field and a value: `a,b` or `a|b` any of them, `*` anything, `!x` not,
`<5`, `>=1G`, `1..5` ranges, `null` absent, `"..."` literally. A field in a list matches if any item
does. `svm=x` is short for `svm.name=x`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any
from urllib.parse import quote, unquote_plus

from breezeblock.ontapsim import names
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.errors import invalid

MOST_RECORDS = 10_000
CONTROLS = frozenset(
    [
        "fields",
        "max_records",
        "order_by",
        "return_records",
        "return_timeout",
        "ignore_unknown_fields",
        "start.key",
        "continue_on_failure",
        "serial_records",
        "query",
        "query_fields",
    ]
)


@dataclass(frozen=True, slots=True)
class Query:
    """A request's query string, in order; `options` are what is no filter of the resource."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, raw: str) -> Query:
        # A probe that clients send has a second question mark before its next parameter.
        raw = re.sub(r"\?(?=max_records=)", "&", raw)
        pairs = (pair.partition("=") for pair in raw.split("&") if pair)
        return cls(tuple((unquote_plus(name), unquote_plus(value)) for name, _, value in pairs))

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.pairs if key == name), None)

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name)
        if value is None:
            return default
        if value.lower() not in ("true", "false", ""):
            raise invalid(name, value)
        return value.lower() != "false"

    def number(self, name: str, default: int, least: int, most: int) -> int:
        value = self.get(name)
        if value is None:
            return default
        if not value.isdecimal() or not least <= int(value) <= most:
            raise invalid(name, value)
        return int(value)

    def fields(self) -> tuple[str, ...]:
        asked = (value for key, value in self.pairs if key == "fields")
        return tuple(f.strip() for value in asked for f in value.split(",") if f.strip())

    def filters(self, options: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
        return tuple(p for p in self.pairs if p[0] not in CONTROLS and p[0] not in options)


def values(document: object, path: Sequence[str]) -> list[Any]:
    """What is at a dotted path, in every item of the lists on the way."""
    if isinstance(document, list):
        return [value for item in document for value in values(item, path)]
    if path:
        if not isinstance(document, dict):
            return []
        if path[0] == "*":
            return [value for item in document.values() for value in values(item, path[1:])]
        return values(document[path[0]], path[1:]) if path[0] in document else []
    if isinstance(document, dict):
        return [document["name"]] if "name" in document else list(document.values())
    return [] if document is None else [document]


def matches(document: Document, filters: Iterable[tuple[str, str]]) -> bool:
    return all(accepts(text, values(document, name.split("."))) for name, text in filters)


def accepts(text: str, found: Sequence[object]) -> bool:
    """Whether a filter's text holds for a field's values."""
    terms = _terms(text)
    wanted = [t for t in terms if not t.startswith("!")]
    unwanted = [t[1:] for t in terms if t.startswith("!")]
    return not any(_any(term, found) for term in unwanted) and (
        not wanted or any(_any(term, found) for term in wanted)
    )


def _terms(text: str) -> list[str]:
    """Split at commas and bars that are not in quotes."""
    return re.findall(r'(?:!?"[^"]*"|[^,|])+', text) or [""]


def _any(term: str, found: Sequence[object]) -> bool:
    if term == "null":
        return not found
    return any(map(_test(term), found))


def _test(term: str) -> Callable[[object], bool]:
    if len(term) > 1 and term[0] == term[-1] == '"':
        return lambda value: _text(value) == term[1:-1]
    for sign in ("<=", ">=", "<", ">"):
        if term.startswith(sign):
            return lambda value: _holds(sign, value, term.removeprefix(sign))
    low, dots, high = term.partition("..")
    if dots and low and high:
        return lambda value: _holds(">=", value, low) and _holds("<=", value, high)
    if "*" in term:
        # Only the star is special.
        pattern = re.compile(translate(re.sub(r"([\[\]?])", r"[\1]", term)))
        return lambda value: pattern.match(_text(value)) is not None
    return lambda value: _equal(value, term)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _equal(value: object, term: str) -> bool:
    if isinstance(value, bool):
        return _text(value) == term.lower()
    if isinstance(value, int | float):
        return names.size(term) == value or _text(value) == term
    return _text(value) == term


def _holds(sign: str, value: object, bound: str) -> bool:
    left: Any
    right: Any
    if isinstance(value, int | float) and not isinstance(value, bool):
        left, right = value, names.size(bound)
        if right is None:
            return False
    else:
        left, right = _text(value), bound
    return bool(
        {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]
    )


def project(document: Document, fields: Iterable[str], costly: Iterable[str]) -> Document:
    """Only these fields; `*` is all but the costly ones, `**` really all."""
    fields = list(fields)
    if "**" in fields:
        return document
    result: Document = {}
    if "*" in fields:
        result = without(document, costly)
    for field in fields:
        if field != "*":
            _take(document, field.removesuffix(".*").split("."), result)
    return result


def without(document: Document, paths: Iterable[str]) -> Document:
    """A copy without these dotted fields."""
    result = dict(document)
    for path in paths:
        first, _, rest = path.partition(".")
        if not rest:
            result.pop(first, None)
        elif isinstance(result.get(first), dict):
            result[first] = without(result[first], [rest])
    return result


def _take(source: Document, path: Sequence[str], target: Document) -> None:
    first, rest = path[0], path[1:]
    if first not in source:
        return
    value = source[first]
    if not rest or not isinstance(value, dict | list):
        target[first] = value
    elif isinstance(value, dict):
        _take(value, rest, target.setdefault(first, {}))
    else:
        items = target.setdefault(first, [{} for _ in value])
        for item, part in zip(value, items, strict=True):
            if item is not part and isinstance(item, dict):
                _take(item, rest, part)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the records, and where the rest is."""

    records: list[Document]
    next: str | None


def page(
    records: list[Document], query: Query, identity: Callable[[Document], str], path: str
) -> Page:
    """Cut after `max_records`. The next page starts behind the last record's identity, so that
    what is deleted meanwhile does not move the others over the edge."""
    most = query.number("max_records", MOST_RECORDS, 1, MOST_RECORDS)
    order = query.get("order_by")
    records = sorted(records, key=identity)
    if order:
        for term in reversed(order.split(",")):
            name, _, direction = term.strip().partition(" ")
            records = _by(records, name, direction.strip() == "desc")
    start = query.get("start.key")
    if start is not None:
        places = [number for number, record in enumerate(records) if identity(record) == start]
        if order or places:
            records = records[places[0] + 1 :] if places else []
        else:
            records = [record for record in records if identity(record) > start]
    if len(records) <= most:
        return Page(records, None)
    records = records[:most]
    kept = [(key, value) for key, value in query.pairs if key != "start.key"]
    following = [*kept, ("start.key", identity(records[-1]))]
    text = "&".join(f"{quote(key)}={quote(value)}" for key, value in following)
    return Page(records, f"{path}?{text}")


def _by(records: list[Document], name: str, backwards: bool) -> list[Document]:
    def key(record: Document) -> tuple[int, Any]:
        found = values(record, name.split("."))
        number = found and isinstance(found[0], int | float)
        return (0 if number else 1 if found else 2, found[0] if found else 0)

    return sorted(records, key=key, reverse=backwards)
