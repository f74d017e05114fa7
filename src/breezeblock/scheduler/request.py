"""What is to be placed: everything the filters and weighers may ask about a volume.

Built by the scheduling step of a workflow from rows of the database (the scheduler reads none
itself), read by `rank`. The same form serves creation, which looks at all pools, and extend,
snapshot, migrate, retype and get_pools, which name one pool or no size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Request:
    """One wish for space.

    `size`: GiB asked for (the growth, for extend); 0 asks for none and passes the CapacityFilter.
    `volume`: the `volume.*` names of filter functions (size, display_name, volume_metadata, …).
    `extra_specs`, `qos`: of the volume type. `hints`: the request's scheduler hints, as sent.
    `availability_zones`: the allowed zones; empty takes those of the type, and else any.
    `attempted`: pools that failed already (full names), for the IgnoreAttemptedHostsFilter.
    `only`: the one pool to check. `already_on`: the pool that holds the volume's space already
    (retype, migrate onto itself; not for extend). `extending_attached`: a host uses the volume
    while it grows. `locations`: the pool of each volume that a hint names (`hinted_volumes`), those
    that the caller may see only.
    """

    size: float = 0
    volume: Mapping[str, Any] = field(default_factory=dict)
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    qos: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)
    availability_zones: tuple[str, ...] = ()
    attempted: tuple[str, ...] = ()
    only: str | None = None
    already_on: str | None = None
    extending_attached: bool = False
    locations: Mapping[str, str] = field(default_factory=dict)

    @property
    def thin(self) -> bool:
        """The volume takes space as it is written, unless its type says thick."""
        return self.extra_specs.get("provisioning:type") != "thick"

    @property
    def allowed_zones(self) -> frozenset[str]:
        """The request's zones, else those of the type (`RESKEY:availability_zones`); empty: any."""
        if self.availability_zones:
            return frozenset(self.availability_zones)
        listed = self.extra_specs.get("RESKEY:availability_zones") or ""
        return frozenset(zone.strip() for zone in listed.split(",") if zone.strip())

    @property
    def names(self) -> dict[str, Mapping[str, Any]]:
        """The part of a filter function's names that is the same for all pools."""
        return {
            "volume": {"size": self.size, **self.volume},
            "extra": self.extra_specs,
            "qos": self.qos,
        }


def hinted_ids(hint: object) -> tuple[str, ...] | None:
    """The volume ids of a same_host or different_host hint, or None if one is not a UUID."""
    wanted = [hint] if isinstance(hint, str) else hint
    if not isinstance(wanted, (list, tuple)):
        return None
    try:
        return tuple(str(UUID(ident)) for ident in wanted)
    except (ValueError, AttributeError, TypeError):
        return None


def hinted_volumes(hints: Mapping[str, Any]) -> frozenset[str]:
    """All volumes whose pools `Request.locations` must give for these hints."""
    named = (hinted_ids(hints.get(key) or ()) for key in ("same_host", "different_host"))
    return frozenset(ident for ids in named if ids for ident in ids)
