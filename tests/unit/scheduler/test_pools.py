"""Pools: what a report says, and how a placement is counted until the next one."""

from pool_builders import a_pool, a_thin_pool, asking

from breezeblock.scheduler.filters import CapacityFilter
from breezeblock.scheduler.pools import pool_reports


def test_a_placement_moves_every_figure():
    before = a_pool(
        free_capacity_gb=60, allocated_capacity_gb=30, provisioned_capacity_gb=40, volumes=3
    )
    after = before.booked(10)
    assert after.capabilities["free_capacity_gb"] == 50
    assert after.capabilities["allocated_capacity_gb"] == 40
    assert after.capabilities["provisioned_capacity_gb"] == 50
    assert after.volumes == 4


def test_booking_leaves_the_old_pool_alone():
    before = a_pool()
    before.booked(10)
    assert before.capacity.free == 100
    assert before.volumes == 0


def test_growing_a_volume_counts_no_new_one():
    assert a_pool(volumes=3).booked(10, volumes=0).volumes == 3


def test_provisioned_starts_from_allocated_where_the_driver_does_not_report_it():
    assert a_pool(allocated_capacity_gb=30).booked(10).capacity.provisioned == 40


def test_unlimited_space_stays_unlimited_when_booked():
    assert a_pool(free_capacity_gb="infinite").booked(10).capabilities["free_capacity_gb"] == (
        "infinite"
    )


def test_a_pool_booked_full_refuses_the_next_volume():
    pool = a_pool(total_capacity_gb=20, free_capacity_gb=20)
    capacity = CapacityFilter()
    assert capacity.refuse(pool, asking(20)) is None
    assert capacity.refuse(pool.booked(20), asking(1)) == (
        "free 0.00 GiB of 20.00 GiB after 0 reserved and 20.00 provisioned, 1 asked"
    )


def test_auto_ratio_is_one_plus_what_was_promised_over_what_is_used():
    pool = a_thin_pool(
        max_over_subscription_ratio="auto", free_capacity_gb=51, provisioned_capacity_gb=100
    )
    assert pool.capacity.ratio == 1 + 100 / (100 - 51 + 1)


def test_auto_ratio_is_20_while_nothing_is_provisioned():
    assert a_thin_pool(max_over_subscription_ratio="auto").capacity.ratio == 20


def test_a_thin_pool_that_names_no_ratio_has_20():
    assert a_thin_pool().capacity.ratio == 20


def test_the_ratio_is_one_without_thin_support_or_limits():
    assert a_pool(max_over_subscription_ratio=5).capacity.ratio == 1
    assert (
        a_thin_pool(free_capacity_gb="unknown", max_over_subscription_ratio=5).capacity.ratio == 1
    )


def test_reserved_space_is_rounded_down_to_whole_gib():
    assert a_pool(total_capacity_gb=19.9, reserved_percentage=10).capacity.reserved == 1


def test_thick_space_is_the_smaller_of_free_and_not_promised():
    free = a_pool(free_capacity_gb=5, provisioned_capacity_gb=10)
    promised = a_pool(free_capacity_gb=50, provisioned_capacity_gb=90)
    assert free.capacity.virtual_free(thin=False) == 5
    assert promised.capacity.virtual_free(thin=False) == 10


def test_thin_space_is_the_usable_total_times_the_ratio_less_what_is_promised():
    pool = a_thin_pool(
        reserved_percentage=10, max_over_subscription_ratio=2, provisioned_capacity_gb=30
    )
    assert pool.capacity.virtual_free(thin=True) == 90 * 2 - 30


def test_stats_give_defaults_for_what_is_not_reported():
    stats = a_pool("h@b#p").stats
    assert (stats["multiattach"], stats["online_extend_support"]) == (False, True)
    assert (stats["host"], stats["backend_id"]) == ("h@b#p", "h@b")


def test_a_pool_inherits_from_its_backend_and_may_say_otherwise():
    report = {
        "volume_backend_name": "fast",
        "filter_function": "1 == 1",
        "vendor_name": "us",
        "pools": [
            {"pool_name": "a", "vendor_name": "them", "filter_function": None},
            {"pool_name": "b", "total_capacity_gb": 5, "location_info": None},
        ],
    }
    pools = dict(pool_reports(report))
    assert pools["a"]["vendor_name"] == "them"
    assert pools["a"]["filter_function"] == "1 == 1"
    assert pools["b"]["volume_backend_name"] == "fast"
    assert pools["b"]["location_info"] is None
    assert "pools" not in pools["b"]


def test_a_backend_without_pools_is_one_pool_named_after_it():
    assert [name for name, _ in pool_reports({"volume_backend_name": "lvm"})] == ["lvm"]
    assert [name for name, _ in pool_reports({"volume_backend_name": None})] == ["_pool0"]
