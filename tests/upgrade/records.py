"""Whether two releases can go on with each other's work: what they write down about it, compared.

Releases are given as `described.py` prints them. Where they run side by side, an operation may
be opened by either, and any step of it may be run by either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_SAYS_NOTHING = {"title", "description", "default", "properties", "required", "$defs"}


def stumbles(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What the one cannot do with what the other has written, in words."""
    found: list[str] = []
    for name, was in old.items():
        if name not in new:
            found.append(f"{name}: the new release does not know it")
            continue
        now = new[name]
        if [step for step in now["steps"] if step in was["steps"]] != was["steps"]:
            found.append(f"{name}: steps were {was['steps']}, are {now['steps']}")
        found += (
            f"{name}: {one}"
            for one in _data("data", Described(was["data"]), Described(now["data"]))
        )
    return found


class Described:
    """A part of a JSON schema, with the definitions that it may refer to."""

    def __init__(self, schema: Schema, definitions: Schema | None = None) -> None:
        self.definitions = schema.get("$defs", {}) if definitions is None else definitions
        reference = schema.get("$ref", "").removeprefix("#/$defs/")
        self.schema: Schema = self.definitions[reference] if reference else schema

    def part(self, schema: Schema) -> Described:
        return Described(schema, self.definitions)

    @property
    def fields(self) -> Schema:
        fields: Schema = self.schema.get("properties", {})
        return fields


def _data(where: str, old: Described, new: Described) -> Iterator[str]:
    for field in new.schema.get("required", ()):
        if field not in old.fields:
            yield f"{where}.{field}: the new release needs it, the old one does not write it"
    for field in old.schema.get("required", ()):
        if field not in new.fields:
            yield f"{where}.{field}: the old release needs it, the new one does not write it"
    if old.schema.get("additionalProperties") is False and set(new.fields) - set(old.fields):
        yield f"{where}: the old release takes no field that it does not know"
    for field in old.fields.keys() & new.fields.keys():
        yield from _data(
            f"{where}.{field}", old.part(old.fields[field]), new.part(new.fields[field])
        )
    for key in sorted((old.schema.keys() | new.schema.keys()) - _SAYS_NOTHING):
        yield from _facet(f"{where}.{key}", old, new, old.schema.get(key), new.schema.get(key))


def _facet(where: str, old: Described, new: Described, was: Any, now: Any) -> Iterator[str]:
    """What is said of a value besides its fields: its type, its items, its alternatives."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        yield from _data(where, old.part(was), new.part(now))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _facet(f"{where}[{number}]", old, new, one, other)
    elif was != now:
        yield f"{where} was {was!r}, is {now!r}"
