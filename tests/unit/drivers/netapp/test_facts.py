"""What a FlexVol's facts look like to volume types: judged by the scheduler's own filter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from breezeblock.drivers.netapp.facts import (
    Aggregate,
    Array,
    Disk,
    FlexVol,
    Named,
    Terms,
    disk_types,
    pool_stats,
)
from breezeblock.scheduler.extra_specs import demands

GIB = 1 << 30
THIN = Terms(thick=False, max_over_subscription_ratio=12.5, reserved_percentage=5, functions={})
AGGREGATES = {
    name: msgspec.convert(
        {
            "name": name,
            "home_node": {"name": node},
            "block_storage": {"primary": {"raid_type": "raid_dp"}, "storage_type": kind},
            "space": {"block_storage": {"size": 1000, "used": 414}},
        },
        Aggregate,
    )
    for name, node, kind in (("aggr1", "node1", "ssd"), ("aggr2", "node2", "hybrid"))
}
ARRAY = Array(
    aggregates=AGGREGATES,
    disk_types={"aggr1": frozenset({"SSD"}), "aggr2": frozenset({"SSD", "SAS"})},
    flash_nodes={"node1"},
    mirrored={"svm1:vol1"},
)


def flexvol(**given: Any) -> FlexVol:
    record = {
        "name": "vol1",
        "uuid": "u",
        "svm": {"name": "svm1"},
        "aggregates": [{"name": "aggr1"}],
        "space": {"size": 110 * GIB, "available": 30 * GIB, "afs_total": 100 * GIB},
        "efficiency": {"state": "enabled", "compression": "none"},
        **given,
    }
    return msgspec.convert(record, FlexVol)


def refused(capabilities: Any, specs: dict[str, str]) -> list[str]:
    """The extra specs that the pool does not satisfy."""
    return [one.key for one in demands(specs) if one.refusal(capabilities) is not None]


def test_its_capacity_is_that_of_the_active_file_system() -> None:
    pool = pool_stats(flexvol(), ARRAY, THIN, 42.0)
    assert (pool.name, pool.total_capacity_gb, pool.free_capacity_gb) == ("vol1", 100.0, 30.0)
    assert pool.provisioned_capacity_gb == 42.0
    assert (pool.max_over_subscription_ratio, pool.reserved_percentage) == (12.5, 5)
    assert pool.multiattach and pool.online_extend_support


@pytest.mark.parametrize("thick", [True, False])
def test_it_is_thin_or_thick(thick: bool) -> None:
    terms = Terms(thick, 20.0, 0, {"filter_function": "volume.size < 5"})
    pool = pool_stats(flexvol(), ARRAY, terms, 0.0)
    assert (pool.thin_provisioning_support, pool.thick_provisioning_support) == (not thick, thick)
    assert pool.extra["filter_function"] == "volume.size < 5"


@pytest.mark.parametrize(
    "specs",
    [
        {"netapp_dedup": "true", "netapp_nodedup": "<is> False"},
        {"netapp_compression": "false", "netapp_nocompression": "<is> True"},
        {"netapp_mirrored": "<is> True", "netapp_unmirrored": "false"},
        {"netapp_thin_provisioned": "true", "netapp_thick_provisioned": "<is> False"},
        {"netapp_flexvol_encryption": "<is> False"},
        {"netapp_aggregate": "aggr1", "netapp_raid_type": "raid_dp"},
        {"netapp_disk_type": "SSD", "netapp_hybrid_aggregate": "false"},
        {"netapp_disk_type": "<or> SSD <or> SAS"},
        {"netapp_aggregate_used_percent": "<= 50"},
        {"netapp_is_flexgroup": "<is> False", "netapp_qos_min_support": "<is> True"},
        {"QoS_support": "<is> True", "consistent_group_snapshot_enabled": "<is> True"},
        {"capabilities:netapp_dedup": "s== true"},
    ],
)
def test_operators_types_find_it(specs: dict[str, str]) -> None:
    assert refused(pool_stats(flexvol(), ARRAY, THIN, 0.0).extra, specs) == []


@pytest.mark.parametrize(
    ("given", "specs"),
    [
        ({"efficiency": {"state": "disabled", "compression": "none"}}, {"netapp_dedup": "true"}),
        ({"guarantee": {"type": "volume"}}, {"netapp_thin_provisioned": "<is> True"}),
        ({"name": "vol2"}, {"netapp_mirrored": "true"}),
        ({"svm": {"name": "svm2"}}, {"netapp_mirrored": "true"}),
        ({"aggregates": [{"name": "aggr2"}]}, {"netapp_qos_min_support": "<is> True"}),
        ({"aggregates": [{"name": "aggr2"}]}, {"netapp_hybrid_aggregate": "false"}),
        ({}, {"netapp_disk_type": "SAS"}),
        ({}, {"netapp_flexvol_encryption": "true"}),
        ({}, {"netapp_aggregate_used_percent": "<= 40"}),
    ],
)
def test_and_pass_by_what_does_not_fit(given: dict[str, Any], specs: dict[str, str]) -> None:
    assert refused(pool_stats(flexvol(**given), ARRAY, THIN, 0.0).extra, specs) == list(specs)


def test_what_the_account_may_not_see_is_not_reported() -> None:
    extra = pool_stats(flexvol(), Array(qos=False), THIN, 0.0).extra
    assert not extra["QoS_support"]
    hidden = {"netapp_mirrored", "netapp_aggregate", "netapp_raid_type", "netapp_disk_type"}
    assert hidden.isdisjoint(extra)
    assert refused(extra, {"netapp_dedup": "true", "netapp_aggregate": "aggr1"}) == [
        "netapp_aggregate"
    ]


def test_a_flexgroup_lies_on_several_aggregates() -> None:
    group = flexvol(style="flexgroup", aggregates=[{"name": "aggr1"}, {"name": "aggr2"}])
    extra = pool_stats(group, ARRAY, THIN, 0.0).extra
    assert extra["netapp_aggregate"] == ["aggr1", "aggr2"]
    assert extra["netapp_disk_type"] == ["SAS", "SSD"]
    assert refused(extra, {"netapp_is_flexgroup": "true", "netapp_aggregate": "aggr2"}) == []
    assert refused(extra, {"netapp_qos_min_support": "true"}) == ["netapp_qos_min_support"]


def test_disks_may_belong_to_several_aggregates() -> None:
    shared = Disk((Named("aggr1"), Named("aggr2")), "ssd")
    assert disk_types([shared, Disk((Named("aggr2"),), "fsas"), Disk()]) == {
        "aggr1": {"SSD"},
        "aggr2": {"SSD", "FSAS"},
    }
