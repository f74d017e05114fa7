"""Every workflow, with every fault, at every third position, each fault at other ones: nothing is
ever stuck. Everything dies at all positions.

With `EVERY_PLACE=1` all faults strike everywhere. `python -m tests.crash.points` does so by hand,
repeats a single case, and tries the double faults at more positions (`make crash-points`).
"""

from __future__ import annotations

import os
from functools import cache

import pytest

from breezeblock.workflows.registry import REGISTRY
from tests.crash.enumeration import Enumeration, Part, Tally
from tests.crash.faults import FLAVOURS, Flavour
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.world import run

SHOWN = 3
EVERY = 1 if os.environ.get("EVERY_PLACE") else 3
"""Every third: positions come in pairs, before and after an effect."""

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
every_fault = pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda one: one.name)


@cache
def rehearsed(scenario: str) -> Enumeration:
    return run(Enumeration.of(next(one for one in SCENARIOS if one.name == scenario)))


def cases(scenario: Scenario) -> Enumeration:
    found = rehearsed(scenario.name)
    return Enumeration(scenario, found.prepared, found.rehearsal)


def assert_nothing_went_wrong(tally: Tally) -> None:
    assert not tally.failures, "\n\n".join(str(one) for one in tally.failures[:SHOWN])


def test_every_workflow_has_a_scenario() -> None:
    missing = {one.name for one in REGISTRY} - {one.workflow for one in SCENARIOS}
    assert not missing, f"add scenarios to tests/crash/scenarios.py for {', '.join(missing)}"


@every_scenario
def test_everything_may_die_at_any_point_and_again_while_it_recovers(scenario: Scenario) -> None:
    tried = cases(scenario)
    run(tried.crashes(part=Part(EVERY)))
    assert tried.tally.pairs
    assert_nothing_went_wrong(tried.tally)


@every_fault
@every_scenario
def test_a_fault_may_strike_at_any_point(scenario: Scenario, flavour: Flavour) -> None:
    tried = cases(scenario)
    run(tried.flavour(flavour, Part(EVERY, FLAVOURS.index(flavour) % EVERY)))
    assert_nothing_went_wrong(tried.tally)


@every_scenario
def test_a_worker_may_be_late_and_the_one_that_took_over_too(scenario: Scenario) -> None:
    tried = cases(scenario)
    run(tried.relay(part=Part(EVERY)))
    assert_nothing_went_wrong(tried.tally)
