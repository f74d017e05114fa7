"""Volume types: a name for a set of extra specs that the scheduler and the drivers read."""

from __future__ import annotations

from datetime import datetime

import msgspec

SEEN_BY_ALL = frozenset({"RESKEY:availability_zones", "multiattach", "replication_enabled"})
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
        text = self.extra_specs.get("RESKEY:availability_zones") or ""
        return tuple(zone.strip() for zone in text.split(",") if zone.strip())


def is_true(spec: str | None) -> bool:
    """Whether an extra spec says `<is> True`."""
    return (spec or "").split() == ["<is>", "True"] or (spec or "").lower().split() == [
        "<is>",
        "true",
    ]
