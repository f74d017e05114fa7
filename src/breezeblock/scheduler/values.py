"""Reading values of uncertain kind, for all of the scheduler.

Pool reports come from drivers, extra specs and hints from people: a number may arrive as text, a
boolean as "True" or "yes". Filters and weighers read every such value through this file, so that
a bad report refuses its own pool with a reason and never stops the ranking.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


def number(value: object) -> float | None:
    """The value as a finite number, or None when it is not one."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, (int, float, str)):
        try:
            result = float(value)
        except (ValueError, OverflowError):
            return None
        return result if math.isfinite(result) else None
    return None


def boolean(value: object) -> bool | None:
    """The value as a boolean, text spellings included, or None when it is not one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float, str)):
        word = str(value).strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return None


def shown(value: object, longest: int = 120) -> str:
    """The value as a reason quotes it: text in quotes, long ones cut."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def figures(named: Iterable[tuple[str, object]]) -> str:
    """The numbers among named values, for the end of a reason: ` (volume.size = 20)`.

    Text is left out: it may name hosts, and the reason quotes what was compared with it.
    """
    numbers = ((name, number(value)) for name, value in named)
    listed = ", ".join(f"{name} = {value:g}" for name, value in numbers if value is not None)
    return f" ({listed})" if listed else ""
