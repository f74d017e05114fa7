"""Values of filter and goodness functions, and what the operators do with them.

Used by the parser (`expressions.py`) only. Everything is a number, a boolean, a text or null. Text
that reads as a number counts as one wherever a number is wanted, because extra specs are always
text; a boolean counts as 1 or 0. What makes no sense is a ValueError.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

from breezeblock.scheduler.values import boolean, number, shown

Value = float | bool | str | None

_ORDER: Mapping[str, Callable[[float | str, float | str], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def as_number(value: Value) -> float:
    """The value where a number is wanted."""
    found = number(value)
    if found is None:
        raise ValueError(f"{_named(value)} is not a number")
    return found


def as_truth(value: Value) -> bool:
    """The value where a condition is wanted: a number is true unless 0, null is false."""
    if value is None or isinstance(value, bool):
        return bool(value)
    found = number(value)
    if found is not None:
        return found != 0
    word = boolean(value)
    if word is None:
        raise ValueError(f"{_named(value)} is neither true nor false")
    return word


def compare(sign: str, left: Value, right: Value) -> bool:
    """As numbers if both are, else as texts; values of two kinds are unequal and have no order."""
    a, b = number(left), number(right)
    if a is None or b is None:
        if sign == "==":
            return left == right
        if sign == "!=":
            return left != right
        if not (isinstance(left, str) and isinstance(right, str)):
            raise ValueError(f"{_named(left)} {sign} {_named(right)} compares different kinds")
        return _ORDER[sign](left, right)
    if sign == "==":
        return a == b
    return a != b if sign == "!=" else _ORDER[sign](a, b)


def calculate(sign: str, left: Value, right: Value) -> float:
    """Arithmetic; dividing by zero and results beyond a float's range are errors."""
    a, b = as_number(left), as_number(right)
    try:
        result = _ARITHMETIC[sign](a, b)
    except ZeroDivisionError:
        raise ValueError(f"{a:g} is divided by zero") from None
    except (ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise ValueError(f"{a:g} {sign} {b:g} is not a number")
    return result


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": math.pow,
}

FUNCTIONS: Mapping[str, tuple[int, Callable[..., float]]] = {
    "abs": (1, lambda x: abs(as_number(x))),
    "min": (2, lambda a, b: min(as_number(a), as_number(b))),
    "max": (2, lambda a, b: max(as_number(a), as_number(b))),
}
"""Name → how many arguments, and what it does."""


def _named(value: Value) -> str:
    return "null" if value is None else shown(value)
