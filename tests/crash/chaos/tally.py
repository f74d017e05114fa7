"""What a run has seen so far: shared by all who take part in it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Problem:
    """Something that must not be. `subject` is the resource's id, when it is one."""

    rule: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass
class Tally:
    """Counters, the diary (what happened when), and what was wrong."""

    faults: Counter[str] = field(default_factory=Counter)
    wishes: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    bytes_verified: int = 0
    writes_kept: int = 0
    problems: list[Problem] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def note(self, text: str) -> None:
        self.diary.append(f"{time.monotonic() - self.began:8.2f}  {text}")

    def wrong(self, rule: str, subject: str, text: str) -> None:
        """Note a problem; the same one counts once."""
        problem = Problem(rule, subject, text)
        if problem not in self.problems:
            self.problems.append(problem)
            self.note(f"PROBLEM {problem}")
