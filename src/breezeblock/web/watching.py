"""What is seen of each request from outside: metrics, a log line, a span.

`web.app` builds its application of `WatchedApp` and calls `begun` and `answered`. Routes are told
by their templates, never by the paths that clients ask for.
"""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import Any

import falcon.asgi
import structlog
from opentelemetry import trace
from prometheus_client import Counter, Histogram

from breezeblock.auth.identity import Identity
from breezeblock.telemetry import metrics, tracing

Request = falcon.asgi.Request
Response = falcon.asgi.Response

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = structlog.get_logger(__name__)


class WatchedApp(falcon.asgi.App[Request, Response]):
    """The application of the API `name`: counts what is in flight, and is one span a request."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(**options)
        self._in_flight = metrics.requests_in_flight.labels(name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # type: ignore[override]
        if scope["type"] != "http":
            return await super().__call__(scope, receive, send)
        self._in_flight.inc()
        try:
            with tracing.request(_method(scope["method"]), scope["headers"]):
                await super().__call__(scope, receive, send)
        finally:
            self._in_flight.dec()


def begun(req: Request, request_id: str, global_request_id: str | None) -> None:
    """A request has come: all that is logged for it has its ids from now on."""
    req.context.begun = perf_counter()
    req.context.identity = req.context.action = None
    structlog.contextvars.bind_contextvars(request_id=request_id)
    if global_request_id is not None:
        structlog.contextvars.bind_contextvars(global_request_id=global_request_id)


def answered(api: str, req: Request, resp: Response) -> None:
    """A request has its answer."""
    seconds = perf_counter() - req.context.begun
    method, route, action = _method(req.method), req.uri_template or "", req.context.action or ""
    total, duration = _series(api, method, route, action, resp.status_code)
    total.inc()
    duration.observe(seconds)
    caller: Identity | None = req.context.identity
    _log.info(
        "request",
        method=req.method,
        path=req.context.path,
        status=resp.status_code,
        ms=round(seconds * 1000, 2),
        project=caller.project_id if caller else None,
        user=caller.user_id if caller else None,
    )
    if tracing.is_on():
        _name_span(f"{method} {route}".strip(), route, action, req, resp)


@cache  # As many as there are series.
def _series(
    api: str, method: str, route: str, action: str, status: int
) -> tuple[Counter, Histogram]:
    return (
        metrics.requests.labels(api, method, route, action, str(status)),
        metrics.request_seconds.labels(api, method, route, action),
    )


def _method(told: str) -> str:
    """A client may call a method what it likes."""
    return told if told in _METHODS else "other"


def _name_span(name: str, route: str, action: str, req: Request, resp: Response) -> None:
    span = trace.get_current_span()
    span.update_name(f"{name} {action}" if action else name)
    span.set_attribute("http.request.method", _method(req.method))
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", resp.status_code)
    span.set_attribute("breezeblock.request_id", req.context.request_id)
    if resp.status_code >= 500:
        tracing.failed(span, str(resp.status_code))
