"""Ranking: candidates best first, and for every other pool the reason why not."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pool_builders import a_pool, asking

from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.ranking import READINESS, Ranking, Refusal, rank
from breezeblock.scheduler.registry import FILTERS, load_filters, load_weighers
from breezeblock.scheduler.weighers import AllocatedCapacityWeigher, CapacityWeigher


def ranked(*pools, request=None, weighers=None):
    return rank(pools, request or asking(20), load_filters(), weighers or load_weighers())


def test_the_pool_with_the_most_room_comes_first():
    ranking = ranked(
        a_pool("h@a#1", free_capacity_gb=30),
        a_pool("h@b#1", free_capacity_gb=90),
        a_pool("h@c#1", free_capacity_gb=60),
    )
    assert [candidate.pool for candidate in ranking.candidates] == ["h@b#1", "h@c#1", "h@a#1"]
    assert [candidate.weight for candidate in ranking.candidates] == [1, 0.5, 0]


def test_weights_are_scaled_multiplied_and_summed():
    pools = (
        a_pool("a", free_capacity_gb=50, allocated_capacity_gb=10),
        a_pool("b", free_capacity_gb=90, allocated_capacity_gb=40),
    )
    weighers = (CapacityWeigher(), AllocatedCapacityWeigher(-2.0))
    best, other = ranked(*pools, weighers=weighers).candidates
    assert (best.pool, best.weight) == ("a", 0)
    assert (other.pool, other.weight) == ("b", 1 - 2)
    assert [(one.weigher, one.value, one.score) for one in other.figures] == [
        ("CapacityWeigher", 60, 1),
        ("AllocatedCapacityWeigher", 40, -2),
    ]


def test_equal_pools_come_in_the_order_of_their_names():
    ranking = ranked(a_pool("b"), a_pool("a"))
    assert [candidate.pool for candidate in ranking.candidates] == ["a", "b"]


def test_without_weighers_all_weights_are_0():
    ranking = rank([a_pool()], asking(20), (), ())
    assert ranking.candidates[0].weight == 0


def test_a_refused_pool_names_the_first_filter_that_said_no():
    full_and_elsewhere = a_pool("h@a#1", free_capacity_gb=3, availability_zone="az2")
    ranking = ranked(full_and_elsewhere, request=asking(20, availability_zones=("nova",)))
    assert ranking.candidates == ()
    assert ranking.refusals == (
        Refusal(
            "h@a#1",
            "AvailabilityZoneFilter",
            "availability zone 'nova' wanted, pool is in 'az2'",
        ),
    )


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"up": False}, "down"),
        ({"enabled": False}, "disabled"),
        ({"frozen": True}, "frozen"),
        ({"reported": False}, "not reported"),
    ],
)
def test_a_pool_that_is_not_ready_is_refused_before_all_filters(state, word):
    (refusal,) = ranked(a_pool(**state)).refusals
    assert refusal.filter == READINESS
    assert word in refusal.reason


def test_what_the_driver_says_of_its_state_does_not_filter():
    assert len(ranked(a_pool(backend_state="down")).candidates) == 1


def test_one_named_pool_is_looked_at_alone():
    pools = (a_pool("h@a#1"), a_pool("h@b#1", free_capacity_gb=1))
    assert [c.pool for c in ranked(*pools, request=asking(20, only="h@a#1")).candidates] == [
        "h@a#1"
    ]
    refused = ranked(*pools, request=asking(20, only="h@b#1"))
    assert [refusal.filter for refusal in refused.refusals] == ["CapacityFilter"]


def test_a_named_pool_that_nobody_knows_is_refused():
    (refusal,) = ranked(a_pool("h@a#1"), request=asking(20, only="h@z#1")).refusals
    assert (refusal.pool, refusal.filter) == ("h@z#1", READINESS)


def test_a_ranking_survives_json():
    ranking = ranked(
        a_pool("h@a#1"), a_pool("h@b#1", free_capacity_gb="infinite"), a_pool("c", up=0)
    )
    assert msgspec.json.decode(msgspec.json.encode(ranking), type=Ranking) == ranking


class TestSummary:
    def test_the_operator_reads_every_pool_by_name(self):
        ranking = ranked(a_pool("h@a#1"), a_pool("h@b#1", free_capacity_gb=3))
        assert ranking.summary() == (
            "1 of 2 pools can take the request, best h@a#1:\n"
            "h@b#1: CapacityFilter: free 3.00 GiB of 100.00 GiB after 0 reserved and 0.00"
            " provisioned, 20 asked"
        )

    def test_the_user_reads_reasons_and_numbers_but_no_names(self):
        pools = [
            a_pool("storage1@lvm#p1", free_capacity_gb=3),
            a_pool("storage2@lvm#p1", free_capacity_gb=3),
            a_pool("storage3@lvm#p1", up=False),
        ]
        text = ranked(*pools).summary(for_user=True)
        assert text == (
            "0 of 3 pools can take the request:\n"
            "2 pools: CapacityFilter: free 3.00 GiB of 100.00 GiB after 0 reserved and 0.00"
            " provisioned, 20 asked\n"
            "1 pool: Readiness: its volume service is down"
        )

    def test_the_operators_expressions_and_extra_specs_are_hidden_from_the_user(self):
        function = "stats.host == 'storage9.example@lvm#p1' and volume.size < 5"
        refused = ranked(
            a_pool("storage1@lvm#p1", filter_function=function),
            a_pool("storage9.example@lvm#p1", up=False),
        )
        assert "storage9" in refused.summary()
        assert "storage" not in refused.summary(for_user=True)
        assert "volume.size" in refused.summary()
        assert "volume.size" not in refused.summary(for_user=True)
        assert "its own rule" in refused.summary(for_user=True)

    def test_many_reasons_are_cut(self):
        pools = [a_pool(f"h{free}@b#p", free_capacity_gb=free) for free in range(15)]
        for for_user in (True, False):
            lines = ranked(*pools).summary(for_user=for_user, limit=4).splitlines()
            assert len(lines) == 6
            assert lines[-1] == "… and 11 more"

    def test_no_pools_at_all(self):
        assert ranked().summary(for_user=True) == "No backend has reported a pool yet."

    def test_all_fit(self):
        assert ranked(a_pool("h@a#1")).summary(for_user=True) == (
            "1 of 1 pools can take the request."
        )


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
FIGURES = """
    total_capacity_gb free_capacity_gb allocated_capacity_gb provisioned_capacity_gb
    reserved_percentage max_over_subscription_ratio thin_provisioning_support multiattach
    filter_function goodness_function storage_protocol
"""
REPORT = st.dictionaries(
    st.sampled_from(FIGURES.split()),
    ANY_VALUE | st.sampled_from(["infinite", "unknown", "auto", 100, 50.5, 1e308, True]),
)


@settings(deadline=None)
@given(st.lists(REPORT, max_size=4), st.floats(0, 1e6))
def test_no_report_stops_the_ranking_of_the_others(reports, size):
    pools = [Pool(f"h@b#{i}", "h@b", "nova", report) for i, report in enumerate(reports)]
    request = asking(
        size,
        extra_specs={"multiattach": "<is> True", "storage_protocol": "<or> iSCSI <or> FC"},
        hints={"query": '[">=", "$free_capacity_gb", 1]'},
    )
    weighers = load_weighers(["CapacityWeigher", "GoodnessWeigher", "AllocatedCapacityWeigher"])
    for filters in (load_filters(), load_filters(tuple(FILTERS)), ()):
        ranking = rank(
            [*pools, a_pool("good@b#p", free_capacity_gb="infinite")], request, filters, weighers
        )
        assert len(ranking.candidates) + len(ranking.refusals) == len(pools) + 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(0, 50))
def test_placing_one_after_the_other_never_takes_more_than_there_is(sizes, reserved):
    pools = {
        name: a_pool(name, reserved_percentage=reserved) for name in ("h@a#1", "h@b#1", "h@c#1")
    }
    for size in sizes:
        for candidate in ranked(*pools.values(), request=asking(size)).candidates[:1]:
            pools[candidate.pool] = pools[candidate.pool].booked(size)
    for pool in pools.values():
        assert pool.capacity.provisioned <= 100 - reserved
        assert pool.capacity.free >= reserved
