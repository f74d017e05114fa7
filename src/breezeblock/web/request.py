"""What the application reads from a request besides its body's content: pure helpers.

`web.app` calls them one after the other; `web.versions` needs the base URL.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from breezeblock.auth.identity import Identity
from breezeblock.model.errors import InvalidInput
from breezeblock.web import bodies
from breezeblock.web.asgi import Request
from breezeblock.web.faults import Fault
from breezeblock.web.microversion import (
    Negotiation,
    Version,
    VersionMalformed,
    VersionOutOfRange,
)
from breezeblock.web.service import Service

NOT_FOUND = "404 Not Found\n\nThe resource could not be found.\n"


def not_found() -> Fault:
    """There is no such path, or nothing is done to it by this method."""
    return Fault(404, NOT_FOUND, plain=True)


def base_url(request: Request, service: Service) -> str:
    """Scheme and host for links: the configured endpoint, else what the client has asked."""
    if service.public_endpoint:
        return service.public_endpoint.rstrip("/")
    return request.base_url


def within_project(service: Service, identity: Identity, project: str | None) -> Identity:
    """The caller; an anonymous one takes the project of the URL.

    A segment that is no project id is a wrong path: 404. The caller's own project is always one.
    """
    if project is None or project == identity.project_id:
        return identity
    if not service.project_id.fullmatch(project):
        raise not_found()
    return replace(identity, project_id=project) if identity.is_anonymous else identity


def require_same_project(identity: Identity, project: str | None) -> None:
    if project is not None and project != identity.project_id:
        raise InvalidInput("Malformed request url: the project differs from the credentials' one.")


def negotiate(service: Service, request: Request) -> Version:
    """The version to serve; the answer tells of it, unless the request's is malformed."""
    rules = service.negotiation
    try:
        version = rules.choose(request.headers)
    except VersionMalformed as error:
        raise Fault(400, str(error)) from None
    except VersionOutOfRange as error:
        told = rules.reply_headers(error.wanted)
        raise Fault(406, str(error), told) from None
    request.told += _told(rules, version)
    return version


@cache  # As many as there are versions.
def _told(rules: Negotiation, version: Version) -> tuple[tuple[bytes, bytes], ...]:
    headers = rules.reply_headers(version).items()
    return tuple((name.lower().encode(), value.encode()) for name, value in headers)


async def read_body(request: Request, service: Service) -> bytes:
    """The body; b"" when there is none, or when its type is not said (it is then not looked at)."""
    raw = await request.body(service.max_body)
    if not raw:
        return raw
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type and media_type not in service.media_types:
        raise Fault(415, f"Unsupported Content-Type: {media_type[:100]}")
    bodies.refuse_null_characters(raw)
    return raw if media_type else b""


def global_request_id(headers: Mapping[str, str]) -> str | None:
    """The id that a calling service gave to the whole chain of requests, if it is well formed."""
    text = headers.get("x-openstack-request-id", "")
    try:
        return f"req-{uuid.UUID(text.removeprefix('req-'))}" if text.startswith("req-") else None
    except ValueError:
        return None
