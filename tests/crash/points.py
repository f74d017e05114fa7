"""Crash-point enumeration by command: all of it with a table, or one case again.

    python -m tests.crash.points                                 everything (`make crash-points`)
    python -m tests.crash.points --scenario attach               one scenario
    python -m tests.crash.points --scenario attach --flavour late --at 7
    python -m tests.crash.points --scenario attach --flavour crash --at 7,3

Ends with status 1 when a case went wrong. A full run writes what it has tried to
`.cache/reliability/crash_points.json`, from which docs/reliability.md is made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.crash.enumeration import Enumeration, Tally
from tests.crash.faults import CRASH, FLAVOURS, RELAY
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.world import run

RESULTS = Path(".cache/reliability/crash_points.json")
NAMES = (CRASH, *(one.name for one in FLAVOURS), RELAY)
MOST_SHOWN = 5


async def everything(scenario: Scenario, flavours: Sequence[str]) -> Tally:
    """All cases of a scenario in these flavours."""
    cases = await Enumeration.of(scenario)
    if CRASH in flavours:
        await cases.crashes()
    for flavour in FLAVOURS:
        if flavour.name in flavours:
            await cases.flavour(flavour)
    if RELAY in flavours:
        await cases.relay(thorough=True)
    return cases.tally


async def one_case(scenario: Scenario, flavour: str, numbers: list[int]) -> Tally:
    cases = await Enumeration.of(scenario)
    await cases.again(flavour, numbers)
    return cases.tally


def main() -> int:
    told = _arguments()
    chosen = [one for one in SCENARIOS if told.scenario in (None, one.name)]
    if told.at:
        numbers = [int(one) for one in told.at.split(",")]
        tally = run(one_case(chosen[0], told.flavour, numbers))
        print(*tally.failures or ["as it should be"], sep="\n\n")
        return 1 if tally.failures else 0
    flavours = [told.flavour] if told.flavour else list(NAMES)
    began = time.perf_counter()
    results = {}
    print(f"{'scenario':38} {'positions':>9} {'pairs':>6} {'runs':>5} {'seconds':>7}")
    for scenario in chosen:
        start = time.perf_counter()
        tally = results[scenario.name] = run(everything(scenario, flavours))
        positions, seconds = sum(tally.positions.values()), time.perf_counter() - start
        print(f"{scenario.name:38} {positions:9} {tally.pairs:6} {tally.runs:5} {seconds:7.1f}")
        for failure in tally.failures[:MOST_SHOWN]:
            print(f"\n{failure}\n")
        sys.stdout.flush()
    seconds = time.perf_counter() - began
    wrong = sum(len(one.failures) for one in results.values())
    _print_flavours(results)
    cases = sum(sum(one.positions.values()) + one.pairs for one in results.values())
    print(f"{cases} cases in {seconds:.0f} s, {wrong} went wrong")
    if len(chosen) == len(SCENARIOS) and not told.flavour:
        _write(results, seconds, cases)
    return 1 if wrong else 0


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.points")
    parser.add_argument("--scenario", choices=[one.name for one in SCENARIOS])
    parser.add_argument("--flavour", choices=NAMES)
    parser.add_argument("--at", help="numbers of points, as a failed case tells them")
    told = parser.parse_args()
    if told.at and not (told.scenario and told.flavour):
        parser.error("--at needs --scenario and --flavour")
    return told


def _print_flavours(results: dict[str, Tally]) -> None:
    print(f"\n{'flavour':38} {'positions':>9}")
    for name in NAMES:
        print(f"{name:38} {sum(one.positions.get(name, 0) for one in results.values()):9}")
    print(f"{'crash, and a crash of the recovery':38} {sum(o.pairs for o in results.values()):9}\n")


def _write(results: dict[str, Tally], seconds: float, cases: int) -> None:
    workflows = {one.name: one.workflow for one in SCENARIOS}
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
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
