"""Extra specs against capabilities: the CapabilitiesFilter and its operators."""

import pytest
from pool_builders import a_pool, asking

from breezeblock.scheduler.extra_specs import matcher
from breezeblock.scheduler.filters import CapabilitiesFilter


def refusal(specs, **capabilities):
    return CapabilitiesFilter().refuse(a_pool(**capabilities), asking(extra_specs=specs))


@pytest.mark.parametrize(
    ("wanted", "passes", "fails"),
    [
        ("fast", ["fast"], ["slow", "FAST", "fast ", None]),
        ("5", [5, "5"], [6, "5.0"]),
        ("True", [True, "True"], [False, "true"]),
        ("false", [False], [True]),
        ("two words", ["two words"], ["two"]),
        ("= 10", [10, 11, "10.0"], [9.9, "x", None]),
        ("== 10", [10, "10.0"], [11, 9]),
        ("!= 10", [11, 9], [10, "ten"]),
        (">= 10", [10, 11], [9]),
        ("<= 10", [10, 9], [11]),
        ("s== a", ["a"], ["b", None]),
        ("s!= a", ["b"], ["a"]),
        ("s< b", ["a"], ["b", "c"]),
        ("s<= b", ["a", "b"], ["c"]),
        ("s> b", ["c"], ["a", "b"]),
        ("s>= b", ["b", "c"], ["a"]),
        ("s< 9", ["10"], ["99"]),
        ("<is> True", [True, "true", "yes", "on", "1", 1], [False, "no", None, "maybe"]),
        ("<is> False", [False, "off", "0"], [True]),
        ("<in> gcc", ["gcc-12"], ["clang", None, 5]),
        ("<or> a <or> b", ["a", "b"], ["c", "or", None]),
        ("<or> 1 <or> 2", [1, "2"], [3]),
        ("== 1 2", [1], [2]),
        ("== one", [], [1, "one"]),
        ("==", [], [0, "", "=="]),
        ("", [""], ["x", None]),
    ],
)
def test_operator(wanted, passes, fails):
    matches = matcher(wanted)
    assert [value for value in passes if not matches(value)] == []
    assert [value for value in fails if matches(value)] == []


def test_every_extra_spec_must_hold():
    specs = {"volume_backend_name": "fast", "compression": "<is> True"}
    assert refusal(specs, volume_backend_name="fast", compression=True) is None
    assert refusal(specs, volume_backend_name="fast", compression=False) is not None


def test_the_reason_gives_both_sides():
    assert refusal({"volume_backend_name": "fast"}, volume_backend_name="slow") == (
        "extra spec volume_backend_name wants 'fast', pool has 'slow'"
    )


def test_a_missing_capability_refuses():
    assert refusal({"compression": "<is> True"}) == (
        "extra spec compression wants '<is> True', pool reports none"
    )


def test_a_null_capability_refuses():
    assert refusal({"volume_backend_name": "fast"}, volume_backend_name=None) is not None


def test_the_prefix_capabilities_descends():
    specs = {"capabilities:tier:disk": "ssd"}
    assert refusal(specs, tier={"disk": "ssd"}) is None
    assert refusal(specs, tier={"disk": "hdd"}) is not None
    assert refusal(specs, tier="ssd") is not None
    assert refusal({"capabilities:tier": "gold"}, tier="gold") is None


@pytest.mark.parametrize(
    "key", ["provisioning:type", "RESKEY:availability_zones", "quality:x", "vendor:a:b"]
)
def test_other_prefixes_are_not_for_us(key):
    assert refusal({key: "anything"}) is None


def test_one_matching_element_of_a_list_is_enough():
    assert refusal({"tiers": "gold"}, tiers=["silver", "gold"]) is None
    assert refusal({"tiers": "gold"}, tiers=["silver"]) is not None
    assert refusal({"tiers": "gold"}, tiers=[]) is not None


@pytest.mark.parametrize(
    ("wanted", "reported"),
    [
        ("iSCSI", "iscsi"),
        ("fc", "FC"),
        ("fibre_channel", ["FC"]),
        ("<in> NFS", "nfs"),
        ("nvmeof", ["iSCSI", "NVMe-oF"]),
        ("ceph", "ceph"),
    ],
)
def test_any_spelling_of_a_storage_protocol_matches(wanted, reported):
    assert refusal({"storage_protocol": wanted}, storage_protocol=reported) is None


def test_protocols_of_different_groups_do_not_match():
    assert refusal({"storage_protocol": "iSCSI"}, storage_protocol="FC") is not None


def test_a_multiattach_type_needs_a_pool_that_can():
    specs = {"multiattach": "<is> True"}
    assert refusal(specs, multiattach=True) is None
    assert refusal(specs, multiattach=False) == (
        "extra spec multiattach wants '<is> True', pool has False"
    )


def test_an_attached_volume_grows_only_where_that_is_supported():
    growing, pool = asking(1, extending_attached=True), a_pool(online_extend_support=False)
    assert "online_extend_support" in CapabilitiesFilter().refuse(pool, growing)
    assert CapabilitiesFilter().refuse(pool, asking(1)) is None
    assert refusal({"tier": "gold"}, tier="gold", online_extend_support=False) is None
    assert CapabilitiesFilter().refuse(a_pool(), growing) is None
