"""The weighers: which pool is better, and how values are scaled."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pool_builders import a_pool, a_thin_pool, asking

from breezeblock.scheduler.ranking import rank
from breezeblock.scheduler.weighers import (
    AllocatedCapacityWeigher,
    CapacityWeigher,
    ChanceWeigher,
    GoodnessWeigher,
    VolumeNumberWeigher,
    normalised,
)


def order(weigher, *pools, request=None):
    ranking = rank(pools, request or asking(), (), (weigher,))
    return [candidate.pool for candidate in ranking.candidates]


def test_values_are_scaled_from_0_to_1():
    assert normalised([10, 20, 15]) == [0, 1, 0.5]


def test_equal_values_are_all_0():
    assert normalised([7, 7]) == [0, 0]
    assert normalised([]) == []


def test_values_whose_distance_is_beyond_a_float_are_scaled_too():
    assert normalised([-1.7e308, 0, 1.7e308]) == [0, 0.5, 1]


@settings(deadline=None)
@given(st.lists(st.floats()))
def test_scaled_values_stay_in_0_to_1_and_keep_their_order(values):
    scaled = normalised(values)
    assert all(0 <= value <= 1 for value in scaled)
    pairs = zip(values, scaled, strict=True)
    pairs = sorted((value, place) for value, place in pairs if math.isfinite(value))
    assert [place for _, place in pairs] == sorted(place for _, place in pairs)


def test_capacity_prefers_the_roomiest_pool():
    small, large = a_pool("a", free_capacity_gb=10), a_pool("b", free_capacity_gb=90)
    assert order(CapacityWeigher(), small, large) == ["b", "a"]
    assert order(CapacityWeigher(-1.0), small, large) == ["a", "b"]


def test_capacity_counts_over_subscription_for_thin_volumes_only():
    thin = a_thin_pool("thin", total_capacity_gb=20, free_capacity_gb=20)
    thick = a_pool("thick", free_capacity_gb=90)
    assert order(CapacityWeigher(), thin, thick) == ["thin", "thick"]
    wants_thick = asking(extra_specs={"provisioning:type": "thick"})
    assert order(CapacityWeigher(), thin, thick, request=wants_thick) == ["thick", "thin"]


@pytest.mark.parametrize("multiplier", [1.0, -1.0])
def test_pools_without_known_limits_come_last_either_way(multiplier):
    pools = [
        a_pool("known", free_capacity_gb=50),
        a_pool("full", free_capacity_gb=0),
        a_pool("endless", free_capacity_gb="infinite"),
        a_pool("unknown", total_capacity_gb="unknown"),
    ]
    assert set(order(CapacityWeigher(multiplier), *pools)[2:]) == {"endless", "unknown"}


def test_unlimited_counts_minus_one_with_a_positive_multiplier():
    pools = [a_pool(free_capacity_gb="infinite"), a_pool()]
    assert CapacityWeigher().weigh(pools, asking()) == [-1, 100]


def test_allocated_capacity_prefers_the_pool_we_used_least():
    used, fresh = a_pool("a", allocated_capacity_gb=50), a_pool("b", allocated_capacity_gb=5)
    assert order(AllocatedCapacityWeigher(), used, fresh) == ["b", "a"]
    assert order(AllocatedCapacityWeigher(1.0), used, fresh) == ["a", "b"]


def test_volume_number_prefers_the_pool_with_the_fewest_volumes():
    many, few = a_pool("a", volumes=50), a_pool("b", volumes=5)
    assert order(VolumeNumberWeigher(), many, few) == ["b", "a"]


def test_goodness_prefers_what_the_backend_calls_good():
    good = a_pool("a", goodness_function="volume.size < 5 ? 100 : 10")
    fair = a_pool("b", goodness_function="50")
    assert order(GoodnessWeigher(), good, fair, request=asking(1)) == ["a", "b"]
    assert order(GoodnessWeigher(), good, fair, request=asking(9)) == ["b", "a"]


@pytest.mark.parametrize(
    ("function", "goodness"),
    [
        ("55.5", 55.5),
        ("1 < 2", 100),
        ("1 > 2", 0),
        ("101", 0),
        ("-1", 0),
        ("1 / 0", 0),
        ("volume.nothing", 0),
        ("((", 0),
        ("'text'", 0),
        (None, 0),
        (7, 0),
    ],
)
def test_goodness_is_0_to_100_and_errors_are_0(function, goodness):
    pool = a_pool(goodness_function=function)
    assert GoodnessWeigher().weigh([pool], asking()) == [goodness]


def test_chance_takes_its_luck_from_the_given_source():
    pools = [a_pool(name) for name in "abcdef"]
    weigher = ChanceWeigher(chance=random.Random(3))
    again = ChanceWeigher(chance=random.Random(3))
    first = order(weigher, *pools)
    assert first == order(again, *pools)
    assert any(order(weigher, *pools) != first for _ in range(5))
