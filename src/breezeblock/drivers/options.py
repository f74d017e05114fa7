"""Reading what an operator wrote under `options` of a backend; each driver checks its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class Given:
    """What the operator wrote; each look takes one option away. Raises ValueError that names it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._left = dict(options)

    def text(self, key: str) -> str | None:
        value = self._left.pop(key, None)
        if value is not None and not (isinstance(value, str) and value):
            raise ValueError(f"{key}: {value!r} is no text")
        return value

    def needed(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise ValueError(f"{key}: is needed")
        return value

    def secret(self, key: str, *, at_least: int = 1) -> str | None:
        """Text that no message repeats."""
        value = self._left.pop(key, None)
        if value is not None and not (isinstance(value, str) and len(value) >= at_least):
            raise ValueError(f"{key}: is no text of at least {at_least} characters")
        return value

    def one_of(self, key: str, *choices: str) -> str:
        """The first choice is the default."""
        value = self._left.pop(key, choices[0])
        if value not in choices:
            raise ValueError(f"{key}: {value!r} is none of {', '.join(choices)}")
        return str(value)

    def number(self, key: str, default: float | None, *, at_least: float) -> float | None:
        value = self._left.pop(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= at_least:
            raise ValueError(f"{key}: {value!r} is no number from {at_least} on")
        return value

    def whole(self, key: str, default: int, *, at_least: int, at_most: int) -> int:
        value = self._left.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{key}: {value!r} is no whole number")
        if not at_least <= value <= at_most:
            raise ValueError(f"{key}: {value} is not from {at_least} to {at_most}")
        return value

    def ratio(self, key: str, default: float) -> float | str:
        if self._left.get(key) == "auto":
            return str(self._left.pop(key))
        return self.number(key, default, at_least=1) or default

    def flag(self, key: str) -> bool:
        value = self._left.pop(key, False)
        if not isinstance(value, bool):
            raise ValueError(f"{key}: {value!r} is neither true nor false")
        return value

    def pattern(self, key: str, default: str) -> re.Pattern[str]:
        text = self.text(key) or default
        try:
            return re.compile(text)
        except re.error as error:
            raise ValueError(f"{key}: {text!r} is no regular expression: {error}") from error

    def nothing_left(self) -> None:
        if self._left:
            raise ValueError(f"unknown option: {', '.join(sorted(self._left))}")
