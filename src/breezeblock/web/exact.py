"""Results as JSON and back, exactly: what came out of a call is what a repetition is told.

`web/journal.py` writes what a handler was told into the database and reads it in another process.
Only plain values and types of this package are known; anything else is refused when it is written,
where it does no harm. Types are found among the modules that are loaded: reading runs nothing.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec

PACKAGE = "breezeblock."
_SEQUENCES: dict[str, Callable[[Iterable[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


class Inexact(TypeError):
    """The value has no exact form here: a programming error."""


def encode(value: Any) -> Any:
    """A scalar as it stands, anything else as [kind, …]. Raises Inexact."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind in _SEQUENCES.values():
        return [kind.__name__, *map(encode, value)]
    if kind is dict:
        return ["dict", *([encode(key), encode(item)] for key, item in value.items())]
    if kind is datetime:
        return ["datetime", value.isoformat()]
    if value is msgspec.UNSET:
        return ["unset"]
    return ["object", _name(kind), {name: encode(item) for name, item in _state(value).items()}]


def decode(document: Any) -> Any:
    """The value that was encoded. Raises Inexact when its type is not here (any more)."""
    if not isinstance(document, list):
        return document
    kind, *content = document
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](map(decode, content))
    if kind == "dict":
        return {decode(key): decode(item) for key, item in content}
    if kind == "datetime":
        return datetime.fromisoformat(content[0])
    return msgspec.UNSET if kind == "unset" else _restored(*content)


def _name(kind: type) -> str:
    if not kind.__module__.startswith(PACKAGE) or "<" in kind.__qualname__:
        raise Inexact(f"{kind.__module__}.{kind.__qualname__} has no exact form")
    return f"{kind.__module__}:{kind.__qualname__}"


def _state(value: Any) -> dict[str, Any]:
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Exception):
        return {"args": value.args, **vars(value)}
    raise Inexact(f"{type(value).__module__}.{type(value).__qualname__} has no exact form")


def _restored(name: str, fields: dict[str, Any]) -> Any:
    module, _, path = name.partition(":")
    kind: Any = sys.modules.get(module) if module.startswith(PACKAGE) else None
    for part in path.split("."):
        kind = getattr(kind, part, None)
    if not isinstance(kind, type):
        raise Inexact(f"{name} is not known here")
    state = {field: decode(item) for field, item in fields.items()}
    if not issubclass(kind, Exception):
        return kind(**state)
    error = kind.__new__(kind)
    error.args = state.pop("args")
    vars(error).update(state)
    return error
