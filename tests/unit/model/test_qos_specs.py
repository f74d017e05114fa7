"""Who has to keep which limits of a volume."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from breezeblock.model.errors import InvalidInput
from breezeblock.model.qos_specs import QosSpecs, consumer_of, for_driver, for_host


def qos(consumer: str, **specs: str) -> QosSpecs:
    return QosSpecs(
        id="q",
        name="gold",
        consumer=consumer,
        specs=specs,
        created_at=datetime.min.replace(tzinfo=UTC),
    )


def test_the_backend_is_the_consumer_unless_told_otherwise() -> None:
    assert consumer_of(None) == "back-end"
    assert consumer_of("both") == "both"


@pytest.mark.parametrize("text", ["", "x", "Both", "front-end "])
def test_another_consumer_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"qos_specs\.consumer"):
        consumer_of(text)


@pytest.mark.parametrize(
    ("consumer", "driver", "host"),
    [
        ("back-end", {"a": "1"}, None),
        ("front-end", {}, {"a": "1"}),
        ("both", {"a": "1"}, {"a": "1"}),
    ],
)
def test_the_consumer_decides_who_gets_them(
    consumer: str, driver: dict[str, str], host: dict[str, str] | None
) -> None:
    assert for_driver(qos(consumer, a="1")) == driver
    assert for_host(qos(consumer, a="1"), 1) == host


def test_without_qos_specs_nobody_gets_anything() -> None:
    assert for_driver(None) == {}
    assert for_host(None, 1) is None


@pytest.mark.parametrize(
    ("specs", "size", "told"),
    [
        ({"read_iops_sec_per_gb": "3"}, 10, {"read_iops_sec": "30"}),
        (
            {"total_iops_sec_per_gb": "3", "total_iops_sec_per_gb_min": "100"},
            10,
            {"total_iops_sec": "100"},
        ),
        (
            {"write_bytes_sec_per_gb": "3", "write_bytes_sec_max": "20"},
            10,
            {"write_bytes_sec": "20"},
        ),
        (
            {"write_bytes_sec_per_gb": "3", "write_bytes_sec_max": "40", "write_bytes_sec": "1"},
            10,
            {"write_bytes_sec": "30"},
        ),
        # Without a limit for each GiB the other two keep their own meaning.
        ({"read_iops_sec_max": "9", "read_iops_sec": "5"}, 10, None),
        ({"read_iops_sec_per_gb_min": "9"}, 10, None),
        # What is no number was meant for somebody else.
        ({"read_iops_sec_per_gb": "three"}, 10, None),
        ({"read_iops_sec_per_gb": "-3"}, 10, None),
        ({"size_iops_sec_per_gb": "3"}, 10, None),
    ],
)
def test_limits_grow_with_the_volume(
    specs: dict[str, str], size: int, told: dict[str, str] | None
) -> None:
    assert for_host(qos("front-end", **specs), size) == (specs if told is None else told)


def test_working_them_out_leaves_the_specs_as_they_are() -> None:
    given = qos("both", read_iops_sec_per_gb="3")
    for_host(given, 5)
    assert given.specs == {"read_iops_sec_per_gb": "3"}
