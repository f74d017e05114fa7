"""Every workflow of compute, with every fault: nothing is ever stuck, no disk outlives its export.

Death of everything is tried at every position, each other fault at one position of each scenario.
`python -m tests.crash.points` tries all of them, and pairs (`make crash-points`).
"""

from __future__ import annotations

from functools import cache

import pytest

from breezeblock.compute.workflows.registry import REGISTRY
from tests.crash.compute_faults import FLAVOURS
from tests.crash.compute_scenarios import SCENARIOS, ComputeScenario
from tests.crash.enumeration import Enumeration, Tally
from tests.crash.world import run

SHOWN = 3
STEP = 7
"""How far apart the positions lie that a fault is tried at, from one scenario to the next."""

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)


@cache
def rehearsed(scenario: str) -> Enumeration:
    return run(Enumeration.of(next(one for one in SCENARIOS if one.name == scenario)))


def cases(scenario: ComputeScenario) -> Enumeration:
    found = rehearsed(scenario.name)
    return Enumeration(scenario, found.prepared, found.rehearsal)


def assert_nothing_went_wrong(tally: Tally) -> None:
    assert not tally.failures, "\n\n".join(str(one) for one in tally.failures[:SHOWN])


def test_every_workflow_has_a_scenario() -> None:
    missing = {one.name for one in REGISTRY} - {one.workflow for one in SCENARIOS}
    assert not missing, f"add scenarios to tests/crash/compute_scenarios.py for {missing}"


@every_scenario
def test_everything_may_die_at_any_point(scenario: ComputeScenario) -> None:
    tried = cases(scenario)
    run(tried.crashes(pairs=False))
    assert_nothing_went_wrong(tried.tally)


@every_scenario
def test_a_fault_may_strike(scenario: ComputeScenario) -> None:
    tried = cases(scenario)
    turn = SCENARIOS.index(scenario)

    async def play() -> None:
        for number, flavour in enumerate(FLAVOURS):
            if flavour.undone and not scenario.can_be_undone:
                continue
            points = [one for one in tried.rehearsal.points if flavour.strikes_at(one)]
            if points:
                await tried.play(flavour, points[(turn + number) * STEP % len(points)])

    run(play())
    assert tried.tally.runs
    assert_nothing_went_wrong(tried.tally)
