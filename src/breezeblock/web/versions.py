"""The documents by which clients discover an API, and the health check: all without credentials.

`make_app` adds them beside the routes. openstacksdk asks exactly the configured endpoint for a
version document, be it `/v3`, `/v3/` or `/v3/<project>`, and works without microversions when it
gets none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from breezeblock.model.idempotency import Answer
from breezeblock.web.asgi import Request
from breezeblock.web.request import base_url
from breezeblock.web.service import Service

Ready = Callable[[], Awaitable[bool]]

_UPDATED = {"volume": "2023-08-31T00:00:00Z", "compute": "2013-07-23T11:33:21Z"}
_DOCUMENTATION = "https://docs.openstack.org/"


def version_of(service: Service, base: str) -> dict[str, Any]:
    """One entry of a version document. `base` is the URL in front of the service's prefix."""
    vendor = sorted(service.media_types - {"application/json"})
    number = service.prefix.removeprefix("/v")
    return {
        "id": f"v{service.minimum}",
        "status": "CURRENT",
        "version": str(service.maximum),
        "min_version": str(service.minimum),
        "updated": _UPDATED.get(service.name, "2026-01-01T00:00:00Z"),
        "links": [
            {"rel": "describedby", "type": "text/html", "href": _DOCUMENTATION},
            {"rel": "self", "href": f"{base}{service.prefix}/"},
        ],
        "media-types": [
            {"base": "application/json", "type": f"{kind};version={number}"} for kind in vendor
        ],
    }


class Versions:
    """Answers `/`, the prefix, and the prefix with a project id.

    The block storage API says 300 at the root and the array everywhere; the compute API says 200
    and, at its prefix, the one version.
    """

    def __init__(self, service: Service, at_root: bool) -> None:
        self._service = service
        self._status = 300 if at_root and service.name == "volume" else 200
        self._many = at_root or service.name == "volume"

    async def __call__(self, asked: Request) -> Answer:
        entry = version_of(self._service, base_url(asked, self._service))
        document = {"versions": [entry]} if self._many else {"version": entry}
        headers = {"content-type": "application/json"}
        return Answer(self._status, headers, msgspec.json.encode(document))


class WayToVersions:
    """Answers the prefix without its slash: the document is one step further."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, asked: Request) -> Answer:
        place = f"{base_url(asked, self._service)}{self._service.prefix}/"
        return Answer(302, {"location": place})


class Health:
    """`/healthcheck`: 200 OK when the service can do its work, else 503."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready

    async def __call__(self, _asked: Request) -> Answer:
        ready = await self._ready()
        status, word = (200, b"OK") if ready else (503, b"NOT READY")
        return Answer(status, {"content-type": "text/plain; charset=UTF-8"}, word)
