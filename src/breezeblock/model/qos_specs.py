"""QoS specs: limits that volume types give their volumes, and who has to keep them.

The consumer says who reads them: the backend (`back-end`), the host that has a volume attached
(`front-end`), or both. What the keys mean is between the operator and those who read them; only
limits that grow with the volume (`read_iops_sec_per_gb`) are worked out here.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from breezeblock.model.errors import InvalidInput

BACK_END, FRONT_END, BOTH = "back-end", "front-end", "both"
CONSUMERS = (BACK_END, FRONT_END, BOTH)
GROWING = (
    "read_iops_sec",
    "read_bytes_sec",
    "write_iops_sec",
    "write_bytes_sec",
    "total_iops_sec",
    "total_bytes_sec",
)
"""Limits that may be given for each GiB of a volume."""

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class QosSpecs(msgspec.Struct, frozen=True, kw_only=True):
    """QoS specs as they stand in the database."""

    id: str
    name: str
    created_at: datetime
    consumer: str = BACK_END
    specs: dict[str, str] = {}
    updated_at: datetime | None = None


def consumer_of(text: str | None) -> str:
    """The consumer that is meant; by default the backend. Raises InvalidInput."""
    if text is None:
        return BACK_END
    if text not in CONSUMERS:
        raise InvalidInput(f"qos_specs.consumer: must be one of {', '.join(CONSUMERS)}.")
    return text


def for_driver(qos: QosSpecs | None) -> dict[str, str]:
    """What a backend has to keep for a volume of a type with these specs."""
    return dict(qos.specs) if qos is not None and qos.consumer in (BACK_END, BOTH) else {}


def for_host(qos: QosSpecs | None, size: int) -> dict[str, str] | None:
    """What a host has to keep for a volume of this size (GiB); None: nothing is said."""
    if qos is None or qos.consumer not in (FRONT_END, BOTH):
        return None
    specs = dict(qos.specs)
    for limit in GROWING:
        each = _number(specs.get(f"{limit}_per_gb"))
        if each is None:
            continue
        del specs[f"{limit}_per_gb"]
        least = _number(specs.pop(f"{limit}_per_gb_min", None)) or 0
        grown = max(each * size, least)
        most = _number(specs.pop(f"{limit}_max", None))
        specs[limit] = str(grown if most is None else min(grown, most))
    return specs


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
