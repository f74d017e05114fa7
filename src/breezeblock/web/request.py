"""What the application reads from a request besides its body's content: pure helpers.

`web.app` calls them one after the other; `web.versions` needs the base URL.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import falcon.asgi

from breezeblock.auth.identity import Identity
from breezeblock.model.errors import InvalidInput
from breezeblock.web import bodies
from breezeblock.web.faults import Fault
from breezeblock.web.microversion import Version, VersionMalformed, VersionOutOfRange
from breezeblock.web.service import Service

Request = falcon.asgi.Request
Response = falcon.asgi.Response

NOT_FOUND = "404 Not Found\n\nThe resource could not be found.\n"
TOO_LARGE = "Request is too large."


def base_url(req: Request, service: Service) -> str:
    """Scheme and host for links: the configured endpoint, else the proxy's word, else ours."""
    if service.public_endpoint:
        return service.public_endpoint.rstrip("/")
    headers = req.headers_lower
    host = _first(headers, "x-forwarded-host") or req.netloc
    scheme = _first(headers, "x-forwarded-proto") or req.scheme
    return f"{scheme}://{host}"


def _first(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name, "").partition(",")[0].strip()


def within_project(service: Service, identity: Identity, project: str | None) -> Identity:
    """The caller; an anonymous one takes the project of the URL.

    A segment that is no project id is a wrong path: 404. The caller's own project is always one.
    """
    if project is None or project == identity.project_id:
        return identity
    if not service.project_id.fullmatch(project):
        raise Fault(404, NOT_FOUND, plain=True)
    return replace(identity, project_id=project) if identity.is_anonymous else identity


def require_same_project(identity: Identity, project: str | None) -> None:
    if project is not None and project != identity.project_id:
        raise InvalidInput("Malformed request url: the project differs from the credentials' one.")


def negotiate(service: Service, headers: Mapping[str, str], resp: Response) -> Version:
    """The version to serve; sets the reply's version headers, unless the request's is malformed."""
    rules = service.negotiation
    try:
        version = rules.choose(headers)
    except VersionMalformed as error:
        raise Fault(400, str(error)) from None
    except VersionOutOfRange as error:
        resp.set_headers(rules.reply_headers(error.wanted))
        raise Fault(406, str(error)) from None
    resp.set_headers(rules.reply_headers(version))
    return version


def refuse_large(req: Request, service: Service) -> None:
    """Refuses by the announced length, before anything is read."""
    if (req.content_length or 0) > service.max_body:
        raise _too_large()


async def read_body(req: Request, service: Service) -> bytes:
    """The body; b"" when there is none, or when its type is not said (it is then not looked at).

    Reads one byte more than is allowed and no further.
    """
    if not req.content_length and "transfer-encoding" not in req.headers_lower:
        return b""
    raw = await req.stream.read(service.max_body + 1)
    if len(raw) > service.max_body:
        raise _too_large()
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if raw and media_type and media_type not in service.media_types:
        raise Fault(415, f"Unsupported Content-Type: {media_type[:100]}")
    bodies.refuse_null_characters(raw)
    return raw if media_type else b""


def _too_large() -> Fault:
    # The rest of the body is not read, so the connection cannot be used again.
    return Fault(413, TOO_LARGE, {"Connection": "close"}, plain=True)


def last_values(params: Mapping[str, Any]) -> dict[str, str]:
    """Query parameters; of a repeated one the last counts."""
    found = {
        name: value[-1] if isinstance(value, list) else value for name, value in params.items()
    }
    if any("\0" in text for pair in found.items() for text in pair):
        raise InvalidInput("The query holds the null character.")
    return found


def global_request_id(headers: Mapping[str, str]) -> str | None:
    """The id that a calling service gave to the whole chain of requests, if it is well formed."""
    text = headers.get("x-openstack-request-id", "")
    try:
        return f"req-{uuid.UUID(text.removeprefix('req-'))}" if text.startswith("req-") else None
    except ValueError:
        return None
