"""The description of one HTTP service: what differs between the block storage and compute APIs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from breezeblock.web.microversion import Negotiation, Version


@dataclass(frozen=True)
class Service:
    """One API: its name in headers, its versions, where it lives.

    `project_id_regex` says which path segments behind the prefix may be a project id; the
    caller's own project id is accepted there whatever it looks like (noauth users call their
    projects `admin`). `public_endpoint` is the base of links when set, without the prefix.
    """

    name: str
    prefix: str
    minimum: Version
    maximum: Version
    title: str = ""
    legacy_header: str | None = None
    version_by_substring: bool = False
    public_endpoint: str | None = None
    project_id_regex: str = r"[0-9a-f-]+"
    max_body: int = 114_688
    max_limit: int = 1000
    media_types: frozenset[str] = frozenset({"application/json"})

    negotiation: Negotiation = field(init=False)
    project_id: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        negotiation = Negotiation(
            self.name, self.minimum, self.maximum, self.legacy_header, self.version_by_substring
        )
        object.__setattr__(self, "negotiation", negotiation)
        object.__setattr__(self, "project_id", re.compile(self.project_id_regex))


def block_storage(**options: object) -> Service:
    """The block storage API v3 with the versions of the reference release."""
    return _service(
        {
            "name": "volume",
            "prefix": "/v3",
            "minimum": Version(3, 0),
            "maximum": Version(3, 71),
            "title": "Block storage API v3",
            "version_by_substring": True,
            "media_types": frozenset({"application/json", "application/vnd.openstack.volume+json"}),
        },
        options,
    )


def compute(**options: object) -> Service:
    """The compute API v2.1 with the versions of the reference release."""
    return _service(
        {
            "name": "compute",
            "prefix": "/v2.1",
            "minimum": Version(2, 1),
            "maximum": Version(2, 104),
            "title": "Compute API v2.1",
            "legacy_header": "X-OpenStack-Nova-API-Version",
            "media_types": frozenset(
                {"application/json", "application/vnd.openstack.compute+json"}
            ),
        },
        options,
    )


def _service(defaults: dict[str, object], options: dict[str, object]) -> Service:
    return Service(**(defaults | options))  # type: ignore[arg-type]
