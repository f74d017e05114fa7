"""What a conformance suite is, so that one command can run them all.

A suite is a module of this package with `NAME` and `def run() -> Result`. It finds or starts what
it needs, compares, and returns counts; it raises only when it could not ask at all. The module ends
with `if __name__ == "__main__": main(NAME, run)`, so that `python -m tests.conformance.<module>`
runs it alone; `python -m tests.conformance` runs all of `SUITES`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SUITES = ("verified", "sessions", "schema", "tempest")
"""The modules, in the order in which `python -m tests.conformance` runs them."""


@dataclass(frozen=True)
class Difference:
    """One failed case: what was asked, what was expected, and what came."""

    case: str
    expected: str
    came: str

    def __str__(self) -> str:
        return f"{self.case}\n    expected: {self.expected}\n    came:     {self.came}"


@dataclass(frozen=True)
class Result:
    """What a suite found. `passed`, `failed` and `skipped` count its cases."""

    name: str
    passed: int
    failed: int = 0
    skipped: int = 0
    details: Sequence[Difference | str] = field(default=())
    """Each failure, and the reasons of what was skipped; printed as they are."""

    @property
    def line(self) -> str:
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"{self.name}: {counts}"


def main(name: str, run: Callable[[], Result]) -> None:
    """Run one suite, print each failure and the counts, and leave with 1 if any case failed."""
    sys.exit(1 if tell(name, run).failed else 0)


def tell(name: str, run: Callable[[], Result]) -> Result:
    """Run one suite and print what it found. A suite that could not ask counts as one failure."""
    began = time.monotonic()
    try:
        result = run()
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
        result = Result(name, 0, 1, 0, [Difference("the suite", "runs", came)])
    for detail in result.details:
        print(detail, flush=True)
    print(f"{result.line} ({time.monotonic() - began:.0f} s)", flush=True)
    return result
