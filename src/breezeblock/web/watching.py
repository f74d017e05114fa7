"""What is seen of each request from outside: metrics, a log line, a span.

`web.app` tells a `Watch` of each request's begin, answer and end. Routes are told by their
templates, never by the paths that clients ask for.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

import structlog
from opentelemetry import trace
from structlog.contextvars import bind_contextvars

from breezeblock.telemetry import tracing
from breezeblock.telemetry.requests import requests
from breezeblock.web.asgi import Request

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = structlog.get_logger(__name__)


class Watch:
    """Watches the requests to the API `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        requests.in_flight.setdefault(name, 0)

    def begun(self, request: Request) -> AbstractContextManager[Any]:
        """A request has come: all that is logged for it has its ids from now on.

        What comes back is around all work for it.
        """
        requests.in_flight[self._name] += 1
        if request.global_id is None:
            bind_contextvars(request_id=request.id)
        else:
            bind_contextvars(request_id=request.id, global_request_id=request.global_id)
        return tracing.request(_method(request.method), request.raw_headers)

    def answered(self, request: Request, status: int) -> None:
        """A request has its answer."""
        seconds = perf_counter() - request.begun
        method, action = _method(request.method), request.action or ""
        requests.count((self._name, method, request.route, action), status, seconds)
        caller = request.identity
        _log.info(
            "request",
            method=request.method,
            path=request.path,
            status=status,
            ms=round(seconds * 1000, 2),
            project=caller.project_id if caller else None,
            user=caller.user_id if caller else None,
        )
        if tracing.is_on():
            _name_span(f"{method} {request.route}".strip(), request, status)

    def ended(self) -> None:
        requests.in_flight[self._name] -= 1


def _method(told: str) -> str:
    """A client may call a method what it likes."""
    return told if told in _METHODS else "other"


def _name_span(name: str, request: Request, status: int) -> None:
    span = trace.get_current_span()
    span.update_name(f"{name} {request.action}" if request.action else name)
    span.set_attribute("http.request.method", _method(request.method))
    span.set_attribute("http.route", request.route)
    span.set_attribute("http.response.status_code", status)
    span.set_attribute("breezeblock.request_id", request.id)
    if status >= 500:
        tracing.failed(span, str(status))
