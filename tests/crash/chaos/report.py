"""What is told of a run: the violations with their operations, the last line, the figures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from breezeblock.cli.operations import show
from breezeblock.model.operation import Operation
from breezeblock.store import operations
from breezeblock.store.store import ReadTx, link_over
from tests.crash.chaos.observer import Record, snapshot_engine
from tests.crash.chaos.tally import Problem, Tally

REPOSITORY = Path(__file__).parents[3]
RELIABILITY = REPOSITORY / ".cache" / "reliability"
LOGS = REPOSITORY / ".cache" / "chaos"
SHOWN = 20
"""Problems that are shown with all their operations."""


@dataclass(frozen=True)
class Result:
    """A run that has come to its end."""

    seed: int
    seconds: float
    tally: Tally
    record: Record
    until_quiet: float
    samples: int

    @property
    def violations(self) -> list[Problem]:
        return self.tally.problems

    @property
    def last_line(self) -> str:
        faults = self.tally.faults
        kinds = ", ".join(f"{kind} {number}" for kind, number in faults.most_common())
        operations_run = sum(self.record.by_workflow.values())
        longest = max(self.record.longest_open.values(), default=0.0)
        return (
            f"chaos: seed {self.seed}, {self.seconds:.0f} s: {faults.total()} faults ({kinds}), "
            f"{operations_run} operations, longest open {longest:.1f} s, "
            f"{self.tally.bytes_verified >> 20} MiB verified, {len(self.violations)} violations"
        )

    def figures(self) -> dict[str, Any]:
        """For docs/reliability.md."""
        return {
            "seed": self.seed,
            "seconds": round(self.seconds),
            "commit": _commit(),
            "faults": dict(self.tally.faults),
            "operations": dict(self.record.by_workflow),
            "ended": dict(self.record.by_state),
            "begun_again": self.record.begun_again,
            "longest_open": self.record.longest_open,
            "until_quiet": round(self.until_quiet, 1),
            "wishes": dict(self.tally.wishes),
            "answers": dict(self.tally.answers),
            "samples": self.samples,
            "writes_kept": self.tally.writes_kept,
            "bytes_verified": self.tally.bytes_verified,
            "violations": [str(one) for one in self.violations],
        }

    def save(self) -> Path:
        """Add the figures to those of the seed's earlier runs."""
        RELIABILITY.mkdir(parents=True, exist_ok=True)
        path = RELIABILITY / f"chaos-{self.seed}.json"
        runs = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*runs, self.figures()], indent=1) + "\n")
        return path


def _commit() -> str:
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def print_problems(result: Result, urls: Mapping[str, str], console: Console) -> None:
    """Each violation, and what had happened to its resource."""
    for problem in result.violations[:SHOWN]:
        console.print(f"VIOLATION (seed {result.seed}) {problem}", markup=False, soft_wrap=True)
        for operation in _operations_on(problem.subject, urls):
            show(console, operation)
    left = len(result.violations) - SHOWN
    if left > 0:
        console.print(f"... and {left} more violations")


def _operations_on(resource: str, urls: Mapping[str, str]) -> list[Operation]:
    found = []
    for url in urls.values():
        with snapshot_engine(url).connect() as connection:
            found += (
                operations.touching(ReadTx(link_over(connection)), resource) if resource else []
            )
    return sorted(found, key=lambda one: one.opened_at)


def keep(result: Result, urls: Mapping[str, str]) -> Path:
    """A directory for all that may explain the run: diary, violations, operations."""
    directory = LOGS / f"seed-{result.seed}-{result.seconds:.0f}s"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "diary.txt").write_text("\n".join(result.tally.diary) + "\n")
    with (directory / "violations.txt").open("w") as file:
        print_problems(result, urls, Console(file=file, width=200))
    return directory
