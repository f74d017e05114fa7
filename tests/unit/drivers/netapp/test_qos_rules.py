"""What QoS specs and extra specs ask of an array."""

from __future__ import annotations

import pytest

from breezeblock.drivers.base import PermanentError
from breezeblock.drivers.netapp.qos_rules import Limits, Shared, wanted

NAMED = "netapp:qos_policy_group"
ADAPTIVE = "netapp:qos_policy_group_is_adaptive"


def fixed(iops: int = 0, mbps: int = 0, least: int = 0) -> Limits:
    settings = {
        "max_throughput_iops": iops,
        "max_throughput_mbps": mbps,
        "min_throughput_iops": least,
    }
    return Limits("fixed", settings)


@pytest.mark.parametrize(
    ("qos", "limits"),
    [
        ({"maxIOPS": "500"}, fixed(iops=500)),
        ({"maxIOPSperGiB": "50"}, fixed(iops=500)),
        ({"maxiopspergib": " 50 "}, fixed(iops=500)),
        ({"maxBPS": "10485760"}, fixed(mbps=10)),
        ({"maxBPS": "10485761"}, fixed(mbps=11)),
        ({"maxBPS": "1"}, fixed(mbps=1)),
        ({"maxBPSperGiB": "1048576"}, fixed(mbps=10)),
        ({"minIOPS": "20"}, fixed(least=20)),
        ({"minIOPSperGiB": "2", "maxBPS": "1"}, fixed(mbps=1, least=20)),
        ({"minIOPS": "20", "maxIOPS": "20"}, fixed(iops=20, least=20)),
    ],
)
def test_limits_follow_the_size_where_they_are_asked_by_gib(
    qos: dict[str, str], limits: Limits
) -> None:
    assert wanted({}, qos, 10) == limits


def test_an_adaptive_group_counts_by_tib_whatever_the_size() -> None:
    qos = {
        "expectedIOPSperGiB": "2",
        "peakIOPSperGiB": "5",
        "expectedIOPSAllocation": "used-space",
        "peakIOPSAllocation": "allocated-space",
        "absoluteMinIOPS": "75",
        "blockSize": "8K",
    }
    settings = {
        "expected_iops": 2048,
        "peak_iops": 5120,
        "expected_iops_allocation": "used_space",
        "peak_iops_allocation": "allocated_space",
        "absolute_min_iops": 75,
        "block_size": "8k",
    }
    assert wanted({}, qos, 10) == wanted({}, qos, 99) == Limits("adaptive", settings)


@pytest.mark.parametrize("qos", [{}, {"total_iops_sec": "100", "read_bytes_sec_max": "7"}])
def test_what_is_meant_for_hypervisors_asks_nothing(qos: dict[str, str]) -> None:
    assert wanted({}, qos, 10) is None


@pytest.mark.parametrize(
    ("qos", "key"),
    [
        ({"maxIOPS": "many"}, "maxIOPS"),
        ({"maxIOPS": "0"}, "maxIOPS"),
        ({"maxIOPS": "-1"}, "maxIOPS"),
        ({"maxIOPS": "1.5"}, "maxIOPS"),
        ({"maxIOPS": ""}, "maxIOPS"),
        ({"maxIOPS": "9" * 40}, "maxIOPS"),
        ({"maxIOPS": "1", "maxBPS": "1"}, "maxBPS"),
        ({"minIOPS": "1", "minIOPSperGiB": "1"}, "minIOPSperGiB"),
        ({"minIOPS": "2", "maxIOPS": "1"}, "minIOPS"),
        ({"minIOPSperGiB": "2", "maxIOPS": "19"}, "minIOPSperGiB"),
        ({"maxIOPSperGB": "1"}, "maxIOPSperGB"),
        ({"maxIOPS": "1", "expectedIOPSperGiB": "1", "peakIOPSperGiB": "2"}, "maxIOPS"),
        ({"expectedIOPSperGiB": "1"}, "peakIOPSperGiB"),
        ({"peakIOPSperGiB": "1"}, "expectedIOPSperGiB"),
        ({"blockSize": "8K"}, "expectedIOPSperGiB"),
        ({"expectedIOPSperGiB": "2", "peakIOPSperGiB": "1"}, "peakIOPSperGiB"),
        (
            {"expectedIOPSperGiB": "1", "peakIOPSperGiB": "1", "blockSize": "7K"},
            "blockSize",
        ),
        (
            {"expectedIOPSperGiB": "1", "peakIOPSperGiB": "1", "peakIOPSAllocation": "all"},
            "peakIOPSAllocation",
        ),
    ],
)
def test_a_wrong_key_is_named(qos: dict[str, str], key: str) -> None:
    with pytest.raises(PermanentError, match=rf"\b{key}\b"):
        wanted({}, qos, 10)


@pytest.mark.parametrize(
    ("specs", "shared"),
    [
        ({NAMED: "gold"}, Shared("gold", "fixed")),
        ({NAMED: "gold", ADAPTIVE: "<is> False"}, Shared("gold", "fixed")),
        ({NAMED: "gold", ADAPTIVE: "<is> True"}, Shared("gold", "adaptive")),
        ({NAMED: " gold ", ADAPTIVE: "true"}, Shared("gold", "adaptive")),
    ],
)
def test_a_type_may_name_a_group_that_is_there(specs: dict[str, str], shared: Shared) -> None:
    assert wanted(specs, {"total_iops_sec": "1"}, 10) == shared


@pytest.mark.parametrize(
    ("specs", "qos", "key"),
    [
        ({NAMED: "gold"}, {"maxIOPS": "1"}, NAMED),
        ({NAMED: "  "}, {}, NAMED),
        ({ADAPTIVE: "<is> True"}, {}, ADAPTIVE),
        ({NAMED: "gold", ADAPTIVE: "perhaps"}, {}, ADAPTIVE),
    ],
)
def test_extra_specs_that_make_no_sense_are_named(
    specs: dict[str, str], qos: dict[str, str], key: str
) -> None:
    with pytest.raises(PermanentError, match=key):
        wanted(specs, qos, 10)


@pytest.mark.parametrize(
    ("record", "held"),
    [
        ({"fixed": {"max_throughput_iops": 500}}, True),
        ({"fixed": {"max_throughput_iops": 500, "max_throughput_mbps": 0}}, True),
        ({"fixed": {"max_throughput_iops": 501}}, False),
        ({"fixed": {"max_throughput_iops": 500, "min_throughput_iops": 1}}, False),
        ({"adaptive": {"peak_iops": 500}}, False),
    ],
)
def test_a_group_is_compared_with_all_that_is_asked(
    record: dict[str, dict[str, int]], held: bool
) -> None:
    assert fixed(iops=500).held_by(record) is held
