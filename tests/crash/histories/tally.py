"""What the histories of a run consisted of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from hypothesis.stateful import rule


@dataclass
class Tally:
    """What all histories of a run consisted of."""

    rules: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    certain: Counter[bool] = field(default_factory=Counter)
    """Whether the model knew the one answer that a call could be given."""
    hits: Counter[str] = field(default_factory=Counter)
    """Which work was hit by the fault that was drawn together with it."""
    examples: int = 0
    hit: int = 0
    """In so many of the examples some work was."""


TALLY = Tally()


def step(*, named: str = "", **drawn: Any) -> Callable[[Any], Any]:
    """A rule that is counted."""

    def decorate(fn: Any) -> Any:
        fn.__name__ = named or fn.__name__

        @wraps(fn)
        def counted(history: Any, **values: Any) -> None:
            TALLY.rules[fn.__name__] += 1
            with history.noticing():
                fn(history, **values)

        return rule(**drawn)(counted)  # type: ignore[no-untyped-call]

    return decorate
