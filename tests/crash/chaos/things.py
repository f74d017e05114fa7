"""Volumes and snapshots as their owner knows them: what he asked for, and what he may expect."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from tests.crash.chaos.content import Content

LATE = 30.0
"""Seconds after which a request without an answer has had its effect, or never will."""

State = Literal["asked", "there", "going", "gone"]
"""asked: no answer yet, it may be there or come; there: acknowledged, it must be there;
going: its deletion was asked for; gone: its deletion is complete."""


@dataclass(eq=False)
class Thing:
    """A volume or a snapshot. No two have the same name, so one can be found without its id."""

    name: str
    content: Content
    sizes: set[int]
    origin: Content
    id: str = ""
    state: State = "asked"
    asked_at: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """GiB that it surely has."""
        return min(self.sizes)

    def settle_content(self) -> None:
        """It is there as it will be: what is written to its origin now is not in it."""
        self.origin.end_copy(self.content)

    def went(self) -> None:
        self.state = "gone"
        self.settle_content()


@dataclass(eq=False)
class Volume(Thing):
    """A volume; not to be attached before `rests_until`: a late request may still touch it."""

    rests_until: float = 0.0

    def rest(self) -> None:
        self.rests_until = time.monotonic() + LATE

    @property
    def rested(self) -> bool:
        return time.monotonic() >= self.rests_until


@dataclass(eq=False)
class Snapshot(Thing):
    """A snapshot of `volume`."""

    volume: Volume = None  # type: ignore[assignment]
