"""The ASGI application of one service: from a request to a handler, and from its answer to bytes.

`make_app` is called once by whoever serves an API. A request passes: request id, path (the project
in it is optional), credentials, microversion, body, policy, handler. Falcon routes and talks ASGI;
the rules are ours, since they differ from what a framework would do: a wrong method is a 404, and
several handlers share a path by the single key of the body or by version.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import falcon
import falcon.asgi
import msgspec

from breezeblock.auth.authenticators import Authenticator, Unauthenticated
from breezeblock.auth.identity import Identity
from breezeblock.model.errors import InvalidInput
from breezeblock.model.idempotency import Answer
from breezeblock.store.idempotency_keys import Taken
from breezeblock.web import bodies, openapi, request, watching
from breezeblock.web.answers import answer_of, answer_to
from breezeblock.web.call import Call, Enforcer
from breezeblock.web.faults import Fault
from breezeblock.web.idempotency import Idempotency, key_of
from breezeblock.web.journal import Diverged
from breezeblock.web.microversion import Version
from breezeblock.web.routes import Candidates, Entry, Route, Table
from breezeblock.web.service import Service
from breezeblock.web.versions import Health, Ready, Versions, WayToVersions
from breezeblock.web.watching import WatchedApp

Request = falcon.asgi.Request
Response = falcon.asgi.Response
AsgiApp = falcon.asgi.App[Request, Response]


async def always_ready() -> bool:
    return True


def make_app(
    service: Service,
    routes: Iterable[Route],
    *,
    app: Any,
    authenticator: Authenticator,
    policy: Enforcer,
    ready: Ready = always_ready,
    idempotency: Idempotency | None = None,
) -> AsgiApp:
    """The ASGI application that serves these routes.

    `app` reaches every handler as `call.app`; `ready` answers the health check. With `idempotency`
    the header Idempotency-Key is honoured; `app` is then a dataclass with a `store`. Raises
    BadTable when routes contradict each other.
    """
    table = routes if isinstance(routes, Table) else Table(routes)
    api = Api(service, table, app, authenticator, policy, idempotency)
    asgi: AsgiApp = WatchedApp(service.name, middleware=[_Front(api)])
    asgi.resp_options.default_media_type = None  # type: ignore[assignment]
    asgi.add_error_handler(Exception, _outside_of_controllers)
    asgi.add_error_handler(falcon.HTTPError, _outside_of_controllers)
    asgi.add_route("/", Versions(service, at_root=True))
    versions = Versions(service, at_root=False)
    bare = versions if service.name == "compute" else WayToVersions(service)
    asgi.add_route(service.prefix, bare)
    asgi.add_route(f"{service.prefix}/", versions)
    asgi.add_route("/healthcheck", Health(ready))
    asgi.add_route("/openapi.json", openapi.Document(service, table))
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
    idempotency: Idempotency | None


class _Front:
    """Gives each request its id, takes the optional project out of its path, and logs it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._prefix = f"{api.service.prefix}/"

    async def process_request(self, req: Request, resp: Response) -> None:
        context = req.context
        context.request_id = f"req-{uuid.uuid4()}"
        context.global_request_id = request.global_request_id(req.headers_lower)
        watching.begun(req, context.request_id, context.global_request_id)
        context.path = context.asked_path = req.path
        context.project = None
        resp.set_header("x-openstack-request-id", context.request_id)
        request.refuse_large(req, self._api.service)
        if req.path.startswith(self._prefix) and req.path != self._prefix:
            await self._take_project(req)

    async def _take_project(self, req: Request) -> None:
        """`/v3/PROJECT/volumes` becomes `/v3/volumes`, and `/v3/PROJECT` the version document."""
        if req.path.endswith("/") or "//" in req.path or "\0" in req.path:
            raise falcon.HTTPNotFound
        path = req.path.removesuffix(".json")
        first, _, rest = path[len(self._prefix) :].partition("/")
        if first not in self._api.table.collections:
            if not rest:
                await self._require_project(req, first)
            req.context.project = first
            path = self._prefix + rest
        req.path = path

    async def _require_project(self, req: Request, segment: str) -> None:
        """Discovery sends no credentials, so whoever has none is asked for his default project."""
        if self._api.service.project_id.fullmatch(segment):
            return
        try:
            identity = await _caller(self._api, req)
        except Unauthenticated:
            raise falcon.HTTPNotFound from None
        request.within_project(self._api.service, identity, segment)

    async def process_response(
        self, req: Request, resp: Response, _resource: object, _succeeded: bool
    ) -> None:
        watching.answered(self._api.service.name, req, resp)


class _Endpoint:
    """One path: picks the route by method, version and action, and answers."""

    def __init__(self, api: Api, methods: Mapping[str, Candidates]) -> None:
        self._api = api
        self._methods = methods

    async def respond(self, req: Request, resp: Response, **params: str) -> None:
        candidates = self._methods.get(req.method)
        if candidates is None:
            raise falcon.HTTPNotFound
        try:
            identity = await _caller(self._api, req)
            identity = request.within_project(self._api.service, identity, req.context.project)
            resp.set_header("x-compute-request-id", req.context.request_id)
            await self._answer(req, resp, candidates, identity, params)
        except Exception as error:
            _send(resp, answer_to(error, req.context.path))

    async def _answer(
        self,
        req: Request,
        resp: Response,
        candidates: Candidates,
        identity: Identity,
        params: Mapping[str, str],
    ) -> None:
        api, headers = self._api, req.headers_lower
        req.context.identity = identity
        version = request.negotiate(api.service, headers, resp)
        request.require_same_project(identity, req.context.project)
        if None in candidates:
            route = _served(candidates[None], version)
            raw: bytes | msgspec.Raw = await request.read_body(req, api.service)
        else:
            route, raw = _by_action(candidates, version, await request.read_body(req, api.service))
            req.context.action = route.action
        call = Call(
            app=api.app,
            service=api.service,
            route=route,
            identity=identity,
            policy=api.policy,
            version=version,
            params=params,
            query=request.last_values(req.params),
            headers=headers,
            body=_decode(route, version, raw),
            raw=bytes(raw),
            path=req.context.path,
            base_url=request.base_url(req, api.service),
            url_has_project=req.context.project is not None,
            request_id=req.context.request_id,
            global_request_id=req.context.global_request_id,
        )
        if route.policy is not None:
            call.require(route.policy)
        key = key_of(call) if api.idempotency else None
        if api.idempotency is None or key is None:
            answer = answer_of(call, await route.handler(call))
        else:
            answer = await api.idempotency.answer(call, key, _attempt)
        _send(resp, answer)

    on_get = on_head = on_post = on_put = on_patch = on_delete = on_options = respond


async def _caller(api: Api, req: Request) -> Identity:
    path = req.context.asked_path
    identity = await api.authenticator.identify(req.headers_lower, req.method, path)
    return api.policy.known(identity)


async def _attempt(call: Call[Any]) -> Answer:
    try:
        return answer_of(call, await call.route.handler(call))
    except (Taken, Diverged):
        raise
    except Exception as error:
        return answer_to(error, call.path)


def _served(entries: Iterable[Entry], version: Version) -> Route:
    for entry in entries:
        if entry.since <= version <= entry.until:
            return entry.route
    raise Fault(404, "The resource could not be found.")


def _by_action(candidates: Candidates, version: Version, raw: bytes) -> tuple[Route, msgspec.Raw]:
    """The route whose action is the body's single key, and the value under that key."""
    _require_body(raw)
    action, value = bodies.split_action(raw)
    if action not in candidates:
        raise InvalidInput(f"There is no such action: {action[:255]}")
    return _served(candidates[action], version), value


def _require_body(raw: bytes | msgspec.Raw) -> None:
    if not raw:
        raise InvalidInput("A JSON body, with its Content-Type, is needed.")


def _decode(route: Route, version: Version, raw: bytes | msgspec.Raw) -> Any:
    kind = route.body_type(version)
    if kind is not None:
        _require_body(raw)
        return bodies.decode(kind, raw, at=route.action or "")
    if raw and route.action is None:
        bodies.require_json(raw)
    return None


def _send(resp: Response, answer: Answer) -> None:
    resp.status = answer.status
    resp.data = answer.body
    resp.set_headers(dict(answer.headers))


async def _outside_of_controllers(
    req: Request, resp: Response, error: Exception, _params: dict[str, Any]
) -> None:
    """Answers what no endpoint answered: unknown paths and methods, too large bodies."""
    if isinstance(error, falcon.HTTPError) and error.status_code in (404, 405):
        error = Fault(404, request.NOT_FOUND, plain=True)
    _send(resp, answer_to(error, req.context.path))
