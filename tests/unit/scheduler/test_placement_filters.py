"""The filters that look at where a pool is, what lies in it and what its driver says."""

import json

import pytest
from pool_builders import VOLUME_1, VOLUME_2, a_pool, asking

from breezeblock.scheduler.filters import (
    AvailabilityZoneFilter,
    DifferentBackendFilter,
    DriverFilter,
    IgnoreAttemptedHostsFilter,
    JsonFilter,
    SameBackendFilter,
)
from breezeblock.scheduler.request import hinted_volumes

HERE, THERE = "h1@lvm#p1", "h2@lvm#p1"


class TestAvailabilityZone:
    def refusal(self, zone, **request):
        return AvailabilityZoneFilter().refuse(a_pool(availability_zone=zone), asking(**request))

    def test_no_zone_given_passes(self):
        assert self.refusal("az1") is None

    def test_the_zone_must_be_allowed(self):
        assert self.refusal("az1", availability_zones=("az1", "az2")) is None
        assert self.refusal("az3", availability_zones=("az1", "az2")) == (
            "availability zone 'az1' or 'az2' wanted, pool is in 'az3'"
        )

    def test_the_type_may_name_the_zones(self):
        specs = {"RESKEY:availability_zones": "az1, az2"}
        assert self.refusal("az2", extra_specs=specs) is None
        assert self.refusal("az3", extra_specs=specs) is not None

    def test_the_request_goes_before_the_type(self):
        specs = {"RESKEY:availability_zones": "az1"}
        assert self.refusal("az3", extra_specs=specs, availability_zones=("az3",)) is None


class TestSameBackend:
    def refusal(self, hint, locations):
        request = asking(hints={"same_host": hint}, locations=locations)
        return SameBackendFilter().refuse(a_pool(HERE), request)

    def test_no_hint_passes(self):
        assert SameBackendFilter().refuse(a_pool(), asking()) is None
        assert self.refusal([], {}) is None

    def test_one_of_the_volumes_here_is_enough(self):
        where = {VOLUME_1: HERE, VOLUME_2: THERE}
        assert self.refusal(VOLUME_1, where) is None
        assert self.refusal([VOLUME_2, VOLUME_1], where) is None

    def test_none_of_them_here_refuses(self):
        assert self.refusal([VOLUME_1, VOLUME_2], {VOLUME_2: THERE}) == (
            "hint same_host: pool holds none of the 2 named volumes"
        )

    @pytest.mark.parametrize("hint", ["my-volume", ["x"], 5, {"a": 1}, [[VOLUME_1]]])
    def test_what_is_no_uuid_refuses(self, hint):
        assert "must be a volume's UUID" in self.refusal(hint, {VOLUME_1: HERE})

    def test_a_uuid_may_be_written_in_capitals(self):
        assert self.refusal(VOLUME_1.upper(), {VOLUME_1: HERE}) is None


class TestDifferentBackend:
    def refusal(self, hint, locations):
        request = asking(hints={"different_host": hint}, locations=locations)
        return DifferentBackendFilter().refuse(a_pool(HERE), request)

    def test_no_hint_passes(self):
        assert DifferentBackendFilter().refuse(a_pool(), asking()) is None

    def test_all_of_them_elsewhere_passes(self):
        assert self.refusal([VOLUME_1, VOLUME_2], {VOLUME_1: THERE}) is None

    def test_one_of_them_here_refuses(self):
        assert self.refusal([VOLUME_1, VOLUME_2], {VOLUME_1: HERE}) == (
            "hint different_host: pool holds 1 of the 2 named volumes"
        )

    def test_what_is_no_uuid_refuses(self):
        assert "must be a volume's UUID" in self.refusal("my-volume", {})


def test_hints_tell_which_volumes_must_be_located():
    hints = {"same_host": VOLUME_1, "different_host": [VOLUME_2.upper()], "query": "[]"}
    assert hinted_volumes(hints) == {VOLUME_1, VOLUME_2}
    assert hinted_volumes({"same_host": "nonsense"}) == frozenset()


class TestIgnoreAttempted:
    def refusal(self, *attempted):
        return IgnoreAttemptedHostsFilter().refuse(a_pool(HERE), asking(attempted=attempted))

    def test_a_pool_that_was_not_tried_passes(self):
        assert self.refusal() is None
        assert self.refusal(THERE) is None

    def test_a_pool_that_failed_is_refused(self):
        assert "failed before" in self.refusal(THERE, HERE)


class TestDriver:
    def refusal(self, function, size=20, **request):
        return DriverFilter().refuse(a_pool(filter_function=function), asking(size, **request))

    def test_no_function_passes(self):
        assert self.refusal(None) is None
        assert DriverFilter().refuse(a_pool(), asking(1)) is None

    def test_a_true_function_passes(self):
        assert self.refusal("volume.size <= 20") is None

    def test_a_false_function_refuses_with_its_figures(self):
        assert self.refusal("volume.size < stats.total_capacity_gb / 10") == (
            "filter_function 'volume.size < stats.total_capacity_gb / 10' is false"
            " (volume.size = 20, stats.total_capacity_gb = 100)"
        )

    def test_it_sees_the_volume_its_type_and_the_pool(self):
        function = (
            "volume.volume_metadata.tier == 'gold' and extra.iops > 100 and qos.speed == 1"
            " and capabilities.free_capacity_gb == 100 and stats.allocated_capacity_gb == 0"
        )
        request = {
            "volume": {"volume_metadata": {"tier": "gold"}},
            "extra_specs": {"iops": "500"},
            "qos": {"speed": "1"},
        }
        assert self.refusal(function, **request) is None

    @pytest.mark.parametrize("function", ["volume.size <", "volume.colour == 1", 5, "stats.host"])
    def test_a_function_that_cannot_be_evaluated_refuses(self, function):
        assert "cannot be evaluated" in self.refusal(function)


class TestJson:
    def refusal(self, query, **pool):
        text = query if isinstance(query, str) else json.dumps(query)
        return JsonFilter().refuse(a_pool(**pool), asking(hints={"query": text}))

    def test_no_query_passes(self):
        assert JsonFilter().refuse(a_pool(), asking()) is None
        assert self.refusal([]) is None

    @pytest.mark.parametrize(
        "query",
        [
            ["=", "$free_capacity_gb", 100],
            ["<", "$free_capacity_gb", 101],
            [">", "$free_capacity_gb", 99, 98],
            ["<=", "$free_capacity_gb", 100],
            [">=", "$free_capacity_gb", 100],
            ["in", "$volume_backend_name", "slow", "fast"],
            ["not", ["=", "$volume_backend_name", "slow"]],
            ["or", ["=", 1, 2], ["=", 1, 1]],
            ["and", [">=", "$free_capacity_gb", 50], ["=", "$volume_backend_name", "fast"]],
            ["=", "$tier.disk", "ssd"],
            ["=", "$capabilities.tier.disk", "ssd"],
        ],
    )
    def test_true(self, query):
        assert self.refusal(query, volume_backend_name="fast", tier={"disk": "ssd"}) is None

    @pytest.mark.parametrize(
        "query",
        [
            ["=", "$free_capacity_gb", 99],
            [">", "$free_capacity_gb", 99, 100],
            ["in", "$volume_backend_name", "slow"],
            ["and", ["=", 1, 1], ["=", 1, 2]],
            ["not", ["=", 1, 1]],
        ],
    )
    def test_false(self, query):
        assert self.refusal(query, volume_backend_name="fast") is not None

    def test_an_unknown_name_is_dropped_and_nothing_is_left_to_compare(self):
        assert self.refusal(["=", "$colour", "red"]) is not None
        assert self.refusal(["=", "$colour", "$shade"]) is not None
        assert self.refusal(["not", ["=", "$colour", "red"]]) is None

    def test_the_reason_gives_the_figures_but_no_texts(self):
        query = ["and", [">", "$free_capacity_gb", 200], ["=", "$host", "x"]]
        reason = self.refusal(query)
        assert reason.endswith("is false (free_capacity_gb = 100)")
        assert HERE not in reason

    def test_values_of_different_kinds_are_refused(self):
        query = [">", "$free_capacity_gb", 5]
        assert "different kinds" in self.refusal(query, free_capacity_gb="infinite")

    @pytest.mark.parametrize(
        "query", ["{", "5", '{"a": 1}', '["xor", 1, 2]', "[[1]]", "[" * 10_000, '["or",' * 99 + "1"]
    )
    def test_what_is_no_query_refuses_and_says_why(self, query):
        assert self.refusal(query).startswith("hint query: ")

    def test_a_query_nested_too_deep_is_refused(self):
        assert "nested deeper" in self.refusal('["not",' * 50 + "1" + "]" * 50)
