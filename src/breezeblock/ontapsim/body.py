"""A request's JSON object, as handlers ask for it.

Keys may be nested or dotted (`"space.size"`), numbers and booleans may be texts, sizes may have a
unit. A value that is not what its field holds is refused with the field's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from breezeblock.ontapsim import names
from breezeblock.ontapsim.errors import bad_json, invalid, required, unexpected

Document = dict[str, Any]
DEEPEST = 64


def nested(document: Mapping[str, object]) -> Document:
    """The same with every dotted key taken apart."""
    whole: Document = {}
    for key, value in document.items():
        _merge(whole, key.split("."), _inside(value))
    return whole


def _inside(value: object) -> object:
    if isinstance(value, dict):
        return nested(value)
    return [_inside(item) for item in value] if isinstance(value, list) else value


def _merge(whole: Document, path: list[str], value: object) -> None:
    for part in path[:-1]:
        below = whole.setdefault(part, {})
        if not isinstance(below, dict):
            raise invalid(".".join(path), value)
        whole = below
    there = whole.get(path[-1])
    if isinstance(there, dict) and isinstance(value, dict):
        for key, item in value.items():
            _merge(there, [key], item)
    else:
        whole[path[-1]] = value


def decode(raw: bytes) -> Any:
    """JSON that is no deeper than what walks through it later can go."""
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:  # also bytes that are no UTF-8
        raise bad_json(str(error)) from None
    waiting = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if depth > DEEPEST:
            raise bad_json(f"it is more than {DEEPEST} levels deep")
        if isinstance(part, dict):
            waiting += [(below, depth + 1 + key.count(".")) for key, below in part.items()]
        elif isinstance(part, list):
            waiting += [(below, depth + 1) for below in part]
    return value


def parse(raw: bytes) -> Document:
    """The object in a request; nothing is an empty one."""
    if not raw.strip():
        return {}
    document = decode(raw)
    if not isinstance(document, dict):
        raise bad_json("an object was expected")
    return nested(document)


class Body:
    """One object, or a part of one; `where` is the path to it, for messages."""

    def __init__(self, document: Document, where: str = "") -> None:
        self.document = document
        self._where = where

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys that nothing would look at."""
        for key in self.document:
            if key not in known:
                raise unexpected(self._name(key))

    def has(self, name: str) -> bool:
        """Whether it was given at all, be it as null."""
        return self._find(name) is not _ABSENT

    def text(self, name: str) -> str | None:
        value = self._given(name)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise invalid(self._name(name), value)

    def need(self, name: str) -> str:
        text = self.text(name)
        if not text:
            raise required(self._name(name))
        return text

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        text = self.text(name)
        if text is not None and text not in choices:
            raise invalid(self._name(name), text)
        return text

    def flag(self, name: str) -> bool | None:
        value = self._given(name)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if value is None or isinstance(value, bool):
            return value
        raise invalid(self._name(name), value)

    def number(self, name: str) -> int | None:
        value = self._given(name)
        if isinstance(value, bool):
            raise invalid(self._name(name), value)
        if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
            return int(value)
        if value is None or isinstance(value, int):
            return value
        raise invalid(self._name(name), value)

    def size(self, name: str) -> int | None:
        value = self._given(name)
        if value is None:
            return None
        count = names.size(str(value)) if isinstance(value, str | int) else None
        if count is None or isinstance(value, bool):
            raise invalid(self._name(name), value)
        return count

    def part(self, name: str) -> Body:
        """The object under that key; an empty one if there is none."""
        value = self._given(name)
        if value is not None and not isinstance(value, dict):
            raise invalid(self._name(name), value)
        return Body(value or {}, self._name(name))

    def parts(self, name: str) -> Iterator[Body]:
        """The objects of a list; one that is alone counts as a list of one."""
        value = self._given(name)
        items = value if isinstance(value, list) else [] if value is None else [value]
        for item in items:
            if not isinstance(item, dict):
                raise invalid(self._name(name), item)
            yield Body(item, self._name(name))

    def _name(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name

    def _given(self, name: str) -> Any:
        value = self._find(name)
        return None if value is _ABSENT else value

    def _find(self, name: str) -> object:
        value: object = self.document
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                return _ABSENT
            value = value[part]
        return value


_ABSENT = object()
