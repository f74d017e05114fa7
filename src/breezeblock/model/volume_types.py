"""Volume types: a name for a set of extra specs that the scheduler and the drivers read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from breezeblock.model.errors import InvalidInput

ZONES_SPEC = "RESKEY:availability_zones"
SEEN_BY_ALL = frozenset({ZONES_SPEC, "multiattach", "replication_enabled"})
"""Extra specs that users without administrator's rights see (shared facts, types.md)."""


class VolumeType(msgspec.Struct, frozen=True, kw_only=True):
    """A volume type as it stands in the database."""

    id: str
    name: str
    created_at: datetime
    description: str | None = None
    is_public: bool = True
    extra_specs: dict[str, str] = {}
    qos_specs_id: str | None = None
    updated_at: datetime | None = None

    @property
    def multiattach(self) -> bool:
        """Whether volumes of the type may be attached more than once."""
        return is_true(self.extra_specs.get("multiattach"))

    @property
    def zones(self) -> tuple[str, ...]:
        """Zones that volumes of the type may be in; empty: any."""
        text = self.extra_specs.get(ZONES_SPEC) or ""
        return tuple(zone.strip() for zone in text.split(",") if zone.strip())


_NOT_FOR_BACKENDS = frozenset(
    {
        *("multiattach", "cacheable", "volume_backend_name", "storage_protocol", "vendor_name"),
        *("driver_version", "provisioning:min_vol_size", "provisioning:max_vol_size"),
    }
)
"""Extra specs that say where a volume may be, or how large, and nothing of what it is there."""


def for_backend(specs: Mapping[str, str]) -> dict[str, str]:
    """What of a type's extra specs a backend may have to make of a volume."""
    return {
        key: value
        for key, value in specs.items()
        if key not in _NOT_FOR_BACKENDS and not key.startswith(("RESKEY:", "capabilities:"))
    }


def check_extra_specs(specs: Mapping[str, str]) -> None:
    """Whether a type may have these extra specs together. Raises InvalidInput."""
    if is_true(specs.get("multiattach")) and is_true(specs.get("cacheable")):
        raise InvalidInput(
            "A type cannot be both multiattach and cacheable: a host's cache would not see what "
            "other hosts write."
        )


def is_true(spec: str | None) -> bool:
    """Whether an extra spec says `<is> True`."""
    return (spec or "").split() == ["<is>", "True"] or (spec or "").lower().split() == [
        "<is>",
        "true",
    ]
