"""The ASGI application of one service: from a request to a handler, and from its answer to bytes.

`make_app` is called once by whoever serves an API. A request passes: request id, path (the project
in it is optional), credentials, microversion, body, policy, handler. The route table is asked for
the path itself; the rules are ours: a wrong method is a 404, and several handlers share a path by
the single key of the body or by version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from breezeblock.auth.authenticators import Authenticator, Unauthenticated
from breezeblock.auth.identity import Identity
from breezeblock.model.errors import InvalidInput
from breezeblock.model.idempotency import Answer
from breezeblock.store.idempotency_keys import Taken
from breezeblock.web import bodies, openapi, request
from breezeblock.web.answers import answer_of, answer_to
from breezeblock.web.asgi import AsgiApp, Page, Receive, Request, Scope, Send, send_answer
from breezeblock.web.call import Call, Enforcer
from breezeblock.web.faults import Fault
from breezeblock.web.idempotency import Idempotency, key_of
from breezeblock.web.journal import Diverged
from breezeblock.web.microversion import Version
from breezeblock.web.routes import Candidates, Entry, Place, Route, Table
from breezeblock.web.service import Service
from breezeblock.web.versions import Health, Ready, Versions, WayToVersions
from breezeblock.web.watching import Watch

__all__ = ["Api", "AsgiApp", "make_app"]


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
    versions = Versions(service, at_root=False)
    pages: dict[str, Page] = {
        "/": Versions(service, at_root=True),
        service.prefix: versions if service.name == "compute" else WayToVersions(service),
        f"{service.prefix}/": versions,
        "/healthcheck": Health(ready),
        "/openapi.json": openapi.Document(service, table),
    }
    return Api(service, table, pages, app, authenticator, policy, idempotency)


class Api:
    """One service's API. The server calls it once a request."""

    def __init__(
        self,
        service: Service,
        table: Table,
        pages: Mapping[str, Page],
        app: Any,
        authenticator: Authenticator,
        policy: Enforcer,
        idempotency: Idempotency | None,
    ) -> None:
        self.service = service
        self._table = table
        self._pages = pages
        self._app = app
        self._authenticator = authenticator
        self._policy = policy
        self._idempotency = idempotency
        self._prefix = f"{service.prefix}/"
        self._watch = Watch(service.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"HTTP is spoken here, not {scope['type']}")
        asked = Request(scope, receive)
        asked.global_id = request.global_request_id(asked.headers)
        with self._watch.begun(asked):
            try:
                answer = await self._answer(asked)
                self._watch.answered(asked, answer.status)
                await send_answer(send, asked, answer)
            finally:
                self._watch.ended()

    async def _answer(self, asked: Request) -> Answer:
        try:
            asked.refuse_longer(self.service.max_body)
            path = await self._path_in_api(asked)
            if (page := self._pages.get(path)) is not None:
                return await self._page(asked, path, page)
            place, params = self._place(path)
            asked.route = f"{self.service.prefix}{place.path}"
            return await self._endpoint(asked, place, params)
        except Exception as error:
            return answer_to(error, asked.path)

    async def _path_in_api(self, asked: Request) -> str:
        """`/v3/PROJECT/volumes` is `/v3/volumes`, and `/v3/PROJECT` the version document."""
        path = asked.path
        if not path.startswith(self._prefix) or path == self._prefix:
            return path
        if path.endswith("/") or "//" in path or "\0" in path:
            raise request.not_found()
        path = path.removesuffix(".json")
        first, _, rest = path[len(self._prefix) :].partition("/")
        if first in self._table.collections:
            return path
        if not rest:
            await self._require_project(asked, first)
        asked.project = first
        return self._prefix + rest

    async def _require_project(self, asked: Request, segment: str) -> None:
        """Discovery sends no credentials, so whoever has none is asked for his default project."""
        if self.service.project_id.fullmatch(segment):
            return
        try:
            identity = await self._caller(asked)
        except Unauthenticated:
            raise request.not_found() from None
        request.within_project(self.service, identity, segment)

    async def _page(self, asked: Request, path: str, page: Page) -> Answer:
        asked.route = path
        if asked.method not in ("GET", "HEAD"):
            raise request.not_found()
        return await page(asked)

    def _place(self, path: str) -> tuple[Place, dict[str, str]]:
        found = None
        if path.startswith(self._prefix):
            found = self._table.tree.find(path[len(self._prefix) :].split("/"))
        if found is None:
            raise request.not_found()
        return found

    async def _endpoint(self, asked: Request, place: Place, params: Mapping[str, str]) -> Answer:
        """Picks the route by method, version and action, and answers."""
        candidates = place.methods.get(asked.method)
        if candidates is None:
            raise request.not_found()
        service = self.service
        identity = request.within_project(service, await self._caller(asked), asked.project)
        asked.told.append((b"x-compute-request-id", asked.id.encode()))
        asked.identity = identity
        version = request.negotiate(service, asked)
        request.require_same_project(identity, asked.project)
        if None in candidates:
            route = _served(candidates[None], version)
            raw: bytes | msgspec.Raw = await request.read_body(asked, service)
        else:
            body = await request.read_body(asked, service)
            route, raw = _by_action(candidates, version, body)
            asked.action = route.action
        call = Call(
            app=self._app,
            service=service,
            route=route,
            identity=identity,
            policy=self._policy,
            version=version,
            params=params,
            query=asked.query(),
            headers=asked.headers,
            body=_decode(route, version, raw),
            raw=bytes(raw),
            path=asked.path,
            base_url=request.base_url(asked, service),
            url_has_project=asked.project is not None,
            request_id=asked.id,
            global_request_id=asked.global_id,
        )
        if route.policy is not None:
            call.require(route.policy)
        key = key_of(call) if self._idempotency else None
        if self._idempotency is None or key is None:
            return answer_of(call, await route.handler(call))
        return await self._idempotency.answer(call, key, _attempt)

    async def _caller(self, asked: Request) -> Identity:
        found = await self._authenticator.identify(asked.headers, asked.method, asked.path)
        return self._policy.known(found)


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
