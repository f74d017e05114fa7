"""Block storage on a NetApp array, with every fault at some positions, spread evenly; inside the
driver's calls, too: nothing is ever stuck, and the array holds what the database says.

`python -m tests.crash.points --service netapp` tries all positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest

from tests.crash.array_scenarios import SCENARIOS, ArrayScenario
from tests.crash.array_world import ASKS, CHANGES, FLAVOURS, RequestFlavour
from tests.crash.enumeration import Enumeration, Rehearsal, Tally
from tests.crash.stage import Point
from tests.crash.world import run

SHOWN = 3
MOST = 2
"""Positions of a flavour in one scenario."""

INSIDE = [one for one in FLAVOURS if isinstance(one, RequestFlavour) or one.name == "dead or late"]

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)


@cache
def rehearsed(scenario: str) -> Enumeration:
    return run(Enumeration.of(next(one for one in SCENARIOS if one.name == scenario)))


def at(scenario: ArrayScenario, positions: Sequence[Point]) -> Enumeration:
    """The cases at so many of these positions."""
    found = rehearsed(scenario.name)
    whole = found.rehearsal
    chosen = spread(positions)
    left = [whole.left[point.number] for point in chosen]
    thin = Rehearsal(chosen, left, whole.accepted, whole.wrong_before)
    return Enumeration(scenario, found.prepared, thin)


def spread(found: Sequence[Point]) -> list[Point]:
    """At most MOST of them, as far from each other as from the ends."""
    if len(found) <= MOST:
        return list(found)
    step = len(found) / MOST
    return [found[int((number + 0.5) * step)] for number in range(MOST)]


def assert_nothing_went_wrong(tally: Tally) -> None:
    assert not tally.failures, "\n\n".join(str(one) for one in tally.failures[:SHOWN])


def requests(scenario: ArrayScenario) -> list[Point]:
    """Before and after each request of the array."""
    points = rehearsed(scenario.name).rehearsal.points
    return [point for point in points if point.kind in (ASKS, CHANGES)]


@every_scenario
def test_everything_may_die_at_any_request(scenario: ArrayScenario) -> None:
    tried = at(scenario, requests(scenario))
    run(tried.crashes(pairs=False))
    assert tried.tally.runs
    assert_nothing_went_wrong(tried.tally)


@every_scenario
def test_any_request_may_go_wrong_or_be_late(scenario: ArrayScenario) -> None:
    found = requests(scenario)
    for flavour in INSIDE:
        tried = at(scenario, [point for point in found if flavour.strikes_at(point)])
        run(tried.flavour(flavour))
        assert_nothing_went_wrong(tried.tally)


def test_each_fault_of_an_array_strikes_somewhere() -> None:
    points = [point for one in SCENARIOS for point in rehearsed(one.name).rehearsal.points]
    idle = [one.name for one in FLAVOURS if not any(map(one.strikes_at, points))]
    assert not idle
