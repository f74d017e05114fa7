"""CapacityFilter: is there room? (shared facts, scheduler.md)"""

import pytest
from pool_builders import a_pool, a_thin_pool, asking

from breezeblock.scheduler.filters import CapacityFilter

THICK = {"provisioning:type": "thick"}


def refusal(pool, request):
    return CapacityFilter().refuse(pool, request)


def test_what_fits_exactly_passes():
    assert refusal(a_pool(free_capacity_gb=20), asking(20)) is None


def test_too_little_free_space_is_refused_with_the_figures():
    pool = a_pool(total_capacity_gb=10, free_capacity_gb=3, reserved_percentage=10)
    assert refusal(pool, asking(20)) == (
        "free 3.00 GiB of 10.00 GiB after 1 reserved and 0.00 provisioned, 20 asked"
    )


def test_reserved_space_is_not_given_away():
    pool = a_pool(reserved_percentage=10)
    assert refusal(pool, asking(90)) is None
    assert "after 10 reserved" in refusal(pool, asking(91))


def test_promised_space_is_not_given_away_twice():
    assert refusal(a_pool(provisioned_capacity_gb=95), asking(10)) is not None


def test_nothing_asked_passes_even_a_full_pool():
    assert refusal(a_pool(free_capacity_gb=0), asking(0)) is None


def test_the_pool_that_holds_the_volume_already_needs_no_room():
    full = a_pool("h1@lvm#p1", free_capacity_gb=0)
    assert refusal(full, asking(20, already_on="h1@lvm#p1")) is None
    assert refusal(full, asking(20, already_on="h2@lvm#p1")) is not None


@pytest.mark.parametrize("word", ["infinite", "unknown"])
def test_free_space_without_limit_passes(word):
    assert refusal(a_pool(free_capacity_gb=word, reserved_percentage=50), asking(10**6)) is None


@pytest.mark.parametrize("word", ["infinite", "unknown"])
def test_a_total_without_limit_passes_only_if_nothing_is_reserved(word):
    assert refusal(a_pool(total_capacity_gb=word), asking(10**6)) is None
    assert refusal(a_pool(total_capacity_gb=word, reserved_percentage=5), asking(1)) == (
        "5 % of an unlimited or unknown total is reserved, 1 GiB asked"
    )


@pytest.mark.parametrize("free", [None, "plenty", [1]])
def test_free_space_that_is_no_number_is_refused(free):
    assert refusal(a_pool(free_capacity_gb=free), asking(1)) == (
        "free capacity is not reported as a number, 1 GiB asked"
    )


@pytest.mark.parametrize("total", [0, -1])
def test_a_pool_without_any_capacity_is_refused(total):
    assert "total capacity is" in refusal(a_pool(total_capacity_gb=total), asking(1))


def test_a_pool_that_reports_no_capacity_has_none():
    pool = a_pool()
    bare = type(pool)(pool.name, pool.backend, "nova")
    assert refusal(bare, asking(1)) == "total capacity is 0.00 GiB, 1 asked"


def test_thin_space_may_be_promised_many_times():
    pool = a_thin_pool(free_capacity_gb=1, provisioned_capacity_gb=1900)
    assert refusal(pool, asking(100)) is None
    assert refusal(pool, asking(101)) == (
        "thin: provisioned 1900.00 + 101 asked > 100.00 GiB * 20 = 2000.00 (0 of 100.00 reserved)"
    )


def test_a_thick_type_gets_no_over_subscription():
    pool = a_thin_pool(free_capacity_gb=10)
    assert refusal(pool, asking(11)) is None
    assert refusal(pool, asking(11, extra_specs=THICK)) is not None


def test_a_thin_type_on_a_thick_pool_is_counted_thick():
    assert refusal(a_pool(free_capacity_gb=10), asking(11)) is not None


def test_a_ratio_below_one_is_refused():
    pool = a_thin_pool(max_over_subscription_ratio=0.5)
    assert refusal(pool, asking(1)) == (
        "thin: max_over_subscription_ratio is 0.5, it must be 1 or more"
    )


def test_a_ratio_that_is_no_number_is_refused():
    assert "neither a number" in refusal(a_thin_pool(max_over_subscription_ratio="a"), asking(1))


def test_numbers_may_come_as_text():
    pool = a_thin_pool(
        total_capacity_gb="100", free_capacity_gb="100", max_over_subscription_ratio="2.0"
    )
    assert refusal(pool, asking(200)) is None
    assert refusal(pool, asking(201)) is not None
