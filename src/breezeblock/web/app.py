"""The ASGI application of one service: from a request to a handler, and from its answer to bytes.

`make_app` is called once by whoever serves an API. A request passes: request id, path (the project
in it is optional), credentials, microversion, body, policy, handler. Falcon routes and talks ASGI;
all rules are ours, since they differ from what a framework would do (a wrong method is a 404, and
several handlers share a path by the single key of the body or by version).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import falcon
import falcon.asgi
import msgspec
import structlog

from breezeblock.auth.authenticators import Authenticator
from breezeblock.auth.identity import Identity
from breezeblock.model.errors import InvalidInput
from breezeblock.web import bodies
from breezeblock.web.call import Call, Enforcer, Reply
from breezeblock.web.faults import Fault, fault_of, is_expected
from breezeblock.web.microversion import Version, VersionMalformed, VersionOutOfRange
from breezeblock.web.routes import Candidates, Entry, Route, Table
from breezeblock.web.service import Service

Request = falcon.asgi.Request
Response = falcon.asgi.Response

NOT_FOUND = "404 Not Found\n\nThe resource could not be found.\n"
TOO_LARGE = "Request is too large."
_log = structlog.get_logger(__name__)


def make_app(
    service: Service,
    routes: Iterable[Route],
    *,
    app: Any,
    authenticator: Authenticator,
    policy: Enforcer,
) -> falcon.asgi.App[Request, Response]:
    """The ASGI application that serves these routes. `app` reaches every handler as `call.app`."""
    table = routes if isinstance(routes, Table) else Table(routes)
    api = Api(service, table, app, authenticator, policy)
    asgi: falcon.asgi.App[Request, Response] = falcon.asgi.App(middleware=[_Front(api)])
    asgi.resp_options.default_media_type = None  # type: ignore[assignment]
    asgi.add_error_handler(Exception, _outside_of_controllers)
    asgi.add_error_handler(falcon.HTTPError, _outside_of_controllers)
    for path, methods in table.paths.items():
        asgi.add_route(service.prefix + path, _Endpoint(api, methods))
    return asgi


@dataclass(frozen=True)
class Api:
    """What all endpoints of one application share."""

    service: Service
    table: Table
    app: Any
    authenticator: Authenticator
    policy: Enforcer


class _Front:
    """Gives each request its id, and takes the optional project out of its path."""

    def __init__(self, api: Api) -> None:
        self._prefix = f"{api.service.prefix}/"
        self._collections = api.table.collections

    async def process_request(self, req: Request, resp: Response) -> None:
        req.context.request_id = request_id = f"req-{uuid.uuid4()}"
        req.context.path = path = req.path
        req.context.project = None
        resp.set_header("x-openstack-request-id", request_id)
        if not path.startswith(self._prefix) or path == self._prefix:
            return
        if path.endswith("/") or "//" in path:
            raise falcon.HTTPNotFound
        path = path.removesuffix(".json")
        first, _, rest = path[len(self._prefix) :].partition("/")
        if first not in self._collections:
            req.context.project = first
            path = self._prefix + rest
        req.path = path


class _Endpoint:
    """One path: picks the route by method, version and action, and answers."""

    def __init__(self, api: Api, methods: Mapping[str, Candidates]) -> None:
        self._api = api
        self._methods = methods

    async def respond(self, req: Request, resp: Response, **params: str) -> None:
        candidates = self._methods.get(req.method)
        if candidates is None:
            raise falcon.HTTPNotFound
        headers = req.headers_lower
        try:
            identity = await self._api.authenticator.identify(headers)
            identity = _within_project(self._api.service, identity, req.context.project)
        except Exception as error:
            _send_fault(req, resp, error)
            return
        try:
            await self._answer(req, resp, candidates, identity, headers, params)
        except Exception as error:
            _send_fault(req, resp, error)

    async def _answer(
        self,
        req: Request,
        resp: Response,
        candidates: Candidates,
        identity: Identity,
        headers: Mapping[str, str],
        params: Mapping[str, str],
    ) -> None:
        service = self._api.service
        resp.set_header("x-compute-request-id", req.context.request_id)
        version = _negotiate(service, headers, resp)
        _same_project(identity, req.context.project)
        if None in candidates:
            entry = _served(candidates[None], version)
            raw = await _read_body(req, service)
            value: bytes | msgspec.Raw = raw
        else:
            raw = await _read_body(req, service)
            entry, value = _by_action(candidates, version, raw)
        route = entry.route
        call = Call(
            app=self._api.app,
            service=service,
            route=route,
            identity=identity,
            policy=self._api.policy,
            version=version,
            params=params,
            query=_last_values(req.params),
            headers=headers,
            body=_decode(route, version, raw, value),
            raw=raw,
            path=req.context.path,
            base_url=_base_url(req, service, headers),
            url_has_project=req.context.project is not None,
            request_id=req.context.request_id,
            global_request_id=_global_request_id(headers),
        )
        if route.policy is not None:
            call.require(route.policy)
        _send(req, resp, route, await route.handler(call), service)

    on_get = on_head = on_post = on_put = on_patch = on_delete = on_options = respond


def _within_project(service: Service, identity: Identity, project: str | None) -> Identity:
    """The caller, who if anonymous takes the project of the URL; 404 for what is no project id."""
    if project is None or project == identity.project_id:
        return identity
    if not service.project_id.fullmatch(project):
        raise Fault(404, NOT_FOUND, plain=True)
    return replace(identity, project_id=project) if identity.is_anonymous else identity


def _same_project(identity: Identity, project: str | None) -> None:
    if project is not None and project != identity.project_id:
        raise InvalidInput("Malformed request url: the project differs from the credentials' one.")


def _negotiate(service: Service, headers: Mapping[str, str], resp: Response) -> Version:
    negotiation = service.negotiation
    try:
        version = negotiation.choose(headers)
    except VersionMalformed as error:
        raise Fault(400, str(error)) from None
    except VersionOutOfRange as error:
        resp.set_headers(negotiation.reply_headers(error.wanted))
        raise Fault(406, str(error)) from None
    resp.set_headers(negotiation.reply_headers(version))
    return version


def _served(entries: Iterable[Entry], version: Version) -> Entry:
    for entry in entries:
        if entry.since <= version <= entry.until:
            return entry
    raise Fault(404, "The resource could not be found.")


def _by_action(candidates: Candidates, version: Version, raw: bytes) -> tuple[Entry, msgspec.Raw]:
    _require_body(raw)
    action, value = bodies.split_action(raw)
    if action not in candidates:
        raise InvalidInput(f"There is no such action: {action[:255]}")
    return _served(candidates[action], version), value


async def _read_body(req: Request, service: Service) -> bytes:
    """The body; b"" when there is none or its type is not said (it is then not looked at)."""
    length = req.content_length
    if not length and (length == 0 or "transfer-encoding" not in req.headers_lower):
        return b""
    raw = b"" if (length or 0) > service.max_body else await req.stream.read(service.max_body + 1)
    if (length or 0) > service.max_body or len(raw) > service.max_body:
        raise Fault(413, TOO_LARGE, {"Connection": "close"}, plain=True)
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if not media_type:
        return b""
    if raw and media_type not in service.media_types:
        raise Fault(415, f"Unsupported Content-Type: {media_type[:100]}")
    return raw


def _require_body(raw: bytes) -> None:
    if not raw:
        raise InvalidInput("A JSON body, with its Content-Type, is needed.")


def _decode(route: Route, version: Version, raw: bytes, value: bytes | msgspec.Raw) -> Any:
    kind = route.body_type(version)
    if kind is not None:
        _require_body(raw)
        return bodies.decode(kind, value, at=route.action or "")
    if raw and route.action is None:
        bodies.require_json(raw)
    return None


def _last_values(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: value[-1] if isinstance(value, list) else value for name, value in params.items()}


def _base_url(req: Request, service: Service, headers: Mapping[str, str]) -> str:
    if service.public_endpoint:
        return service.public_endpoint.rstrip("/")
    host = headers.get("x-forwarded-host", "").partition(",")[0].strip() or req.netloc
    scheme = headers.get("x-forwarded-proto", "").partition(",")[0].strip() or req.scheme
    return f"{scheme}://{host}"


def _global_request_id(headers: Mapping[str, str]) -> str | None:
    text = headers.get("x-openstack-request-id", "")
    try:
        return f"req-{uuid.UUID(text.removeprefix('req-'))}" if text.startswith("req-") else None
    except ValueError:
        return None


def _send(req: Request, resp: Response, route: Route, answer: Any, service: Service) -> None:
    reply = answer if isinstance(answer, Reply) else Reply(answer)
    resp.status = reply.status or route.success
    resp.set_headers(dict(reply.headers))
    if isinstance(reply.body, bytes):
        resp.data = reply.body
    elif reply.body is not None:
        resp.data = msgspec.json.encode(reply.body, enc_hook=_plain)
        resp.content_type = _accepted(req.accept, service)


def _accepted(accept: str, service: Service) -> str:
    """The vendor's JSON type when the client asks for just that, else plain JSON."""
    return accept if accept in service.media_types else "application/json"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _send_fault(req: Request, resp: Response, error: Exception) -> None:
    fault = fault_of(error)
    if not is_expected(error):
        _log.error("request failed", request_id=req.context.request_id, exc_info=error)
    resp.status = fault.status
    resp.set_headers(fault.headers)
    resp.data = fault.body()
    resp.content_type = "text/plain; charset=UTF-8" if fault.plain else "application/json"


async def _outside_of_controllers(
    req: Request, resp: Response, error: Exception, _params: dict[str, Any]
) -> None:
    """Answers what no endpoint answered: unknown paths and methods, malformed requests."""
    if isinstance(error, falcon.HTTPError) and 400 <= error.status_code < 500:
        missing = error.status_code in (404, 405)
        message = NOT_FOUND if missing else error.title or "Bad request"
        error = Fault(404 if missing else error.status_code, message, plain=missing)
    _send_fault(req, resp, error)
