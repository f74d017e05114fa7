"""From QoS specs to what QEMU is to keep."""

from __future__ import annotations

from typing import Any

import pytest

from breezeblock.compute.disk_limits import limits_of
from breezeblock.compute.hypervisor import HostError


@pytest.mark.parametrize(
    ("specs", "limits"),
    [
        (None, {}),
        ({}, {}),
        ("total_iops_sec", {}),
        ({"minIOPS": "5", "total_iops_sec_per_gb": "x"}, {}),
        ({"total_iops_sec": "5"}, {"iops-total": 5}),
        ({"read_iops_sec": 5, "write_iops_sec": " 6 "}, {"iops-read": 5, "iops-write": 6}),
        (
            {"total_bytes_sec": "5", "total_bytes_sec_max": "9", "total_bytes_sec_max_length": "2"},
            {"bps-total": 5, "bps-total-max": 9, "bps-total-max-length": 2},
        ),
        (
            {"read_bytes_sec": "1", "write_bytes_sec": "0", "size_iops_sec": "4096"},
            {"bps-read": 1, "bps-write": 0, "iops-size": 4096},
        ),
    ],
)
def test_what_operators_write_becomes_what_qemu_keeps(specs: Any, limits: dict[str, int]) -> None:
    assert limits_of(specs) == limits


@pytest.mark.parametrize("value", ["many", "", "-1", "1.5", None, True, "9" * 16])
def test_a_limit_that_is_no_number_is_named(value: Any) -> None:
    with pytest.raises(HostError, match="total_iops_sec") as caught:
        limits_of({"total_iops_sec": value})
    assert not caught.value.temporary
