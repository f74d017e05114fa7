"""Crash-point enumeration by command: all of it with a table, or one case again.

    python -m tests.crash.points                                 everything (`make crash-points`)
    python -m tests.crash.points --service compute               that of one service
    python -m tests.crash.points --service netapp                block storage on a NetApp array
    python -m tests.crash.points --scenario attach               one scenario
    python -m tests.crash.points --scenario attach --flavour late --at 7
    python -m tests.crash.points --scenario attach --flavour crash --at 7,3

Ends with status 1 when a case went wrong. A full run writes what it has tried to
`.cache/reliability/`, one file for each service, from which docs/reliability.md is made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash import (
    array_scenarios,
    array_world,
    compute_faults,
    compute_scenarios,
    faults,
    scenarios,
)
from tests.crash.enumeration import Enumeration, Tally
from tests.crash.faults import CRASH, RELAY, Flavour
from tests.crash.scenarios import Scenario
from tests.crash.world import run

CACHE = Path(".cache/reliability")
MOST_SHOWN = 5


@dataclass(frozen=True)
class Suite:
    """What is enumerated together, and where the figures go. `thorough`: see Enumeration.relay."""

    service: str
    results: Path
    scenarios: Sequence[Scenario]
    flavours: Sequence[Flavour]
    thorough: bool

    @property
    def names(self) -> list[str]:
        return [CRASH, *(one.name for one in self.flavours), RELAY]


SUITES = (
    Suite(
        "block-storage",
        CACHE / "crash_points.json",
        scenarios.SCENARIOS,
        faults.FLAVOURS,
        thorough=True,
    ),
    Suite(
        "compute",
        CACHE / "compute_crash_points.json",
        compute_scenarios.SCENARIOS,
        compute_faults.FLAVOURS,
        thorough=False,
    ),
    Suite(
        "netapp",
        CACHE / "netapp_crash_points.json",
        array_scenarios.SCENARIOS,
        array_world.FLAVOURS,
        thorough=False,
    ),
)


async def everything(suite: Suite, scenario: Scenario, only: str | None) -> Tally:
    """All cases of a scenario, or those of one flavour."""
    cases = await Enumeration.of(scenario)
    if only in (None, CRASH):
        await cases.crashes()
    for flavour in suite.flavours:
        if only in (None, flavour.name):
            await cases.flavour(flavour)
    if only in (None, RELAY):
        await cases.relay(thorough=suite.thorough)
    return cases.tally


async def one_case(suite: Suite, scenario: Scenario, flavour: str, numbers: list[int]) -> Tally:
    cases = await Enumeration.of(scenario)
    await cases.again(flavour, numbers, suite.flavours)
    return cases.tally


def main() -> int:
    told = _arguments()
    wrong = [_try(suite, told) for suite in SUITES if _concerns(suite, told)]
    return 1 if any(wrong) else 0


def _concerns(suite: Suite, told: Any) -> bool:
    if told.service not in (None, suite.service):
        return False
    scenarios = {one.name for one in suite.scenarios}
    return told.scenario in (None, *scenarios) and told.flavour in (None, *suite.names)


def _try(suite: Suite, told: Any) -> int:
    """How many cases of the suite went wrong."""
    chosen = [one for one in suite.scenarios if told.scenario in (None, one.name)]
    if told.at:
        numbers = [int(one) for one in told.at.split(",")]
        tally = run(one_case(suite, chosen[0], told.flavour, numbers))
        print(*tally.failures or ["as it should be"], sep="\n\n")
        return len(tally.failures)
    began = time.perf_counter()
    results = {}
    print(f"{'scenario':42} {'positions':>9} {'pairs':>6} {'runs':>5} {'seconds':>7}")
    for scenario in chosen:
        start = time.perf_counter()
        tally = results[scenario.name] = run(everything(suite, scenario, told.flavour))
        positions, seconds = sum(tally.positions.values()), time.perf_counter() - start
        print(f"{scenario.name:42} {positions:9} {tally.pairs:6} {tally.runs:5} {seconds:7.1f}")
        for failure in tally.failures[:MOST_SHOWN]:
            print(f"\n{failure}\n")
        sys.stdout.flush()
    seconds = time.perf_counter() - began
    wrong = sum(len(one.failures) for one in results.values())
    _print_flavours(suite, results)
    cases = sum(sum(one.positions.values()) + one.pairs for one in results.values())
    print(f"{cases} cases in {seconds:.0f} s, {wrong} went wrong\n")
    if not (told.scenario or told.flavour):
        _write(suite, results, seconds, cases)
    return wrong


def _arguments() -> Any:
    scenarios = [one.name for suite in SUITES for one in suite.scenarios]
    flavours = dict.fromkeys(name for suite in SUITES for name in suite.names)
    parser = argparse.ArgumentParser(prog="python -m tests.crash.points")
    parser.add_argument("--service", choices=[suite.service for suite in SUITES])
    parser.add_argument("--scenario", choices=scenarios)
    parser.add_argument("--flavour", choices=list(flavours))
    parser.add_argument("--at", help="numbers of points, as a failed case tells them")
    told = parser.parse_args()
    if told.at and not (told.scenario and told.flavour):
        parser.error("--at needs --scenario and --flavour")
    return told


def _print_flavours(suite: Suite, results: dict[str, Tally]) -> None:
    print(f"\n{'flavour':42} {'positions':>9}")
    for name in suite.names:
        print(f"{name:42} {sum(one.positions.get(name, 0) for one in results.values()):9}")
    print(f"{'crash, and a crash of the recovery':42} {sum(o.pairs for o in results.values()):9}\n")


def _write(suite: Suite, results: dict[str, Tally], seconds: float, cases: int) -> None:
    workflows = {one.name: one.workflow for one in suite.scenarios}
    document = {
        "scenarios": {
            name: {
                "workflow": workflows[name],
                "flavours": tally.positions,
                "pairs": tally.pairs,
                "runs": tally.runs,
            }
            for name, tally in results.items()
        },
        "seconds": round(seconds, 1),
        "cases": cases,
    }
    suite.results.parent.mkdir(parents=True, exist_ok=True)
    suite.results.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
