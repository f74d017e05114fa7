"""Filters and weighers by name: ours, and those of other packages by entry point."""

from importlib.metadata import EntryPoint

import pytest

from breezeblock.scheduler import registry
from breezeblock.scheduler.filters import Filter
from breezeblock.scheduler.registry import load_filters, load_weighers


class OddFilter(Filter):
    """What another package might bring."""

    def check(self, request):
        return lambda pool: "odd"


class Nothing:
    """Neither a filter nor a weigher."""


@pytest.fixture
def installed(monkeypatch):
    """Pretend that other packages have these entry points."""

    def install(*points):
        found = [EntryPoint(name, value, group) for group, name, value in points]
        monkeypatch.setattr(
            registry, "entry_points", lambda group: [one for one in found if one.group == group]
        )

    return install


def test_the_defaults_are_the_standard_ones():
    assert [one.name for one in load_filters()] == [
        "AvailabilityZoneFilter",
        "CapacityFilter",
        "CapabilitiesFilter",
        "DriverFilter",
        "SameBackendFilter",
        "DifferentBackendFilter",
    ]
    assert [(one.name, one.multiplier) for one in load_weighers()] == [("CapacityWeigher", 1.0)]


@pytest.mark.parametrize("name", sorted(registry.FILTERS))
def test_each_of_our_filters_is_found(name, installed):
    installed()
    assert load_filters([name])[0].name == name


@pytest.mark.parametrize("name", sorted(registry.WEIGHERS))
def test_each_of_our_weighers_is_found(name, installed):
    installed()
    assert load_weighers([name])[0].name == name


def test_multipliers_replace_the_defaults():
    names = ["CapacityWeigher", "VolumeNumberWeigher", "AllocatedCapacityWeigher"]
    weighers = load_weighers(names, {"VolumeNumberWeigher": 3.0})
    assert [one.multiplier for one in weighers] == [1.0, 3.0, -1.0]


def test_a_filter_of_another_package_is_found(installed):
    installed(("breezeblock.filters", "OddFilter", f"{__name__}:OddFilter"))
    assert [one.name for one in load_filters(["OddFilter", "CapacityFilter"])] == [
        "OddFilter",
        "CapacityFilter",
    ]


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown name Capacity; there are .*CapacityFilter"):
        load_filters(["Capacity"])
    with pytest.raises(ValueError, match=r"unknown name X; there are .*ChanceWeigher"):
        load_weighers(["X"])
    with pytest.raises(ValueError, match="unknown name CapacityWeigter"):
        load_weighers(multipliers={"CapacityWeigter": 2.0})


def test_a_class_of_the_wrong_kind_is_refused(installed):
    installed(
        ("breezeblock.filters", "Nothing", f"{__name__}:Nothing"),
        ("breezeblock.weighers", "OddFilter", f"{__name__}:OddFilter"),
    )
    with pytest.raises(ValueError, match="Nothing is no filter"):
        load_filters(["Nothing"])
    with pytest.raises(ValueError, match="OddFilter is no weigher"):
        load_weighers(["OddFilter"])


def test_one_name_for_two_classes_is_refused(installed):
    installed(
        ("breezeblock.filters", "OddFilter", f"{__name__}:OddFilter"),
        ("breezeblock.filters", "OddFilter", f"{__name__}:Nothing"),
    )
    with pytest.raises(ValueError, match=r"OddFilter in breezeblock\.filters is claimed by"):
        load_filters()
