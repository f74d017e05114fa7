"""A run of random histories from one seed, and its figures."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.crash.histories import tally as counts
from tests.crash.histories.machine import History
from tests.crash.world import quiet_logs


@dataclass
class Figures:
    """What was run, for docs/reliability.md."""

    seeds: list[int] = field(default_factory=list)
    examples: int = 0
    steps: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    certain: Counter[bool] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    hit: int = 0
    seconds: float = 0.0

    def add(self, other: Figures) -> None:
        self.seeds += other.seeds
        self.examples += other.examples
        self.steps += other.steps
        self.rules += other.rules
        self.faults += other.faults
        self.answers += other.answers
        self.certain += other.certain
        self.hits += other.hits
        self.hit += other.hit
        self.seconds += other.seconds

    def as_dict(self) -> dict[str, Any]:
        """As JSON; the rules and faults that come most often first."""
        most = {
            name: dict(getattr(self, name).most_common()) for name in ("rules", "faults", "hits")
        }
        answers = {str(code): self.answers[code] for code in sorted(self.answers)}
        return {
            "seeds": self.seeds,
            "examples": self.examples,
            "hit": self.hit,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            **most,
            "answers": answers,
            "foretold": round(self.certain[True] / max(1, self.certain.total()), 3),
        }


def run(number: int, examples: int, steps: int, *, shrink: bool = True) -> Figures:
    """So many histories of at most so many steps; raises what is wrong, shrunk."""
    began = time.monotonic()
    tally = counts.TALLY = counts.Tally()

    @seed(number)
    class Seeded(History):
        pass

    with quiet_logs():
        run_state_machine_as_test(
            Seeded,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
                suppress_health_check=list(HealthCheck),
                print_blob=False,
                report_multiple_bugs=False,
            ),
        )
    return Figures(
        [number],
        tally.examples,
        sum(tally.rules.values()),
        tally.rules,
        tally.faults,
        tally.answers,
        tally.certain,
        tally.hits,
        tally.hit,
        time.monotonic() - began,
    )
