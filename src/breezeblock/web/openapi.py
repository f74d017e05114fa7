"""The OpenAPI document, made from the route table.

`make_app` serves it at `/openapi.json` without credentials. It says what the table says: paths,
parameters, bodies (the actions of a path as alternatives), the version range and policy rule of
each route, and the faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import falcon.asgi
import msgspec

from breezeblock.web.idempotency import HEADER as IDEMPOTENCY_KEY
from breezeblock.web.microversion import HEADER, Version
from breezeblock.web.routes import Route, Table
from breezeblock.web.service import Service
from breezeblock.web.types import schema_of_custom

_FIELD = re.compile(r"\{(\w+)\}")
_FAULT_SCHEMA = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "integer"},
            "message": {"type": "string"},
            "retryAfter": {"type": "string"},
        },
    },
}
_IDEMPOTENCY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "A name for the request: sent again with the same one it is done once, and "
    "gets the same answer",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}


class Document:
    """Serves the document; it is made on the first request."""

    def __init__(self, service: Service, table: Table) -> None:
        self._service = service
        self._table = table

    @cached_property
    def _bytes(self) -> bytes:
        return msgspec.json.encode(document(self._service, self._table))

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.data = self._bytes
        resp.content_type = "application/json"


def document(service: Service, table: Table) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a service."""
    bodies = {route: _body_types(service, route) for route in table}
    kinds = list(dict.fromkeys(kind for found in bodies.values() for kind in found))
    schemas, components = msgspec.json.schema_components(
        kinds, schema_hook=schema_of_custom, ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for path, method, routes in _operations(table):
        found = [(route, [schema_of[kind] for kind in bodies[route]]) for route in routes]
        paths.setdefault(path, {})[method.lower()] = _operation(service, path, method, found)
    return {
        "openapi": "3.1.0",
        "info": {"title": service.title or service.name, "version": str(service.maximum)},
        "servers": [
            {"url": service.prefix},
            {
                "url": f"{service.prefix}/{{project_id}}",
                "variables": {"project_id": {"default": "admin"}},
            },
        ],
        "paths": paths,
        "components": {
            "schemas": {**components, "Fault": _FAULT_SCHEMA},
            "responses": {"Fault": _fault_response()},
            "parameters": {
                "version": _version_parameter(service),
                "idempotency": _IDEMPOTENCY_PARAMETER,
            },
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"token": []}, {"basic": []}, {}],
    }


def _operations(table: Table) -> Iterable[tuple[str, str, list[Route]]]:
    for path, methods in table.paths.items():
        for method, candidates in methods.items():
            yield (
                path,
                method,
                [entry.route for entries in candidates.values() for entry in entries],
            )


def _body_types(service: Service, route: Route) -> list[Any]:
    """All types that the body has had over the versions of the route, the newest first."""
    if not callable(route.body) or isinstance(route.body, type):
        return [] if route.body is None else [route.body]
    first = Version.parse(route.since) if route.since else service.minimum
    last = Version.parse(route.until) if route.until else service.maximum
    minors = range(last.minor, first.minor - 1, -1)
    versions = (Version(first.major, minor) for minor in minors)
    return list(dict.fromkeys(route.body_type(version) for version in versions))


def _operation(
    service: Service, path: str, method: str, found: list[tuple[Route, list[dict[str, Any]]]]
) -> dict[str, Any]:
    routes = [route for route, _ in found]
    first = routes[0]
    words = re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_")
    operation: dict[str, Any] = {
        "operationId": words,
        "summary": first.summary if first.action is None else "Actions: see the body's one key",
        "tags": sorted({tag for route in routes for tag in route.tags}),
        "parameters": _parameters(path, method, routes),
        "responses": {
            **{str(route.success): {"description": "Success"} for route in routes},
            "4XX": {"$ref": "#/components/responses/Fault"},
            "5XX": {"$ref": "#/components/responses/Fault"},
        },
        "x-openstack-routes": [_facts(service, route) for route in routes],
    }
    schemas = [_wrapped(route, schema) for route, several in found for schema in several or [{}]]
    if first.action is not None or any(several for _, several in found):
        # Actions exclude each other by their key; forms of a body over versions may overlap.
        kind = "oneOf" if first.action is not None else "anyOf"
        schema = schemas[0] if len(schemas) == 1 else {kind: schemas}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _wrapped(route: Route, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if route.action is None:
        return schema
    return {
        "type": "object",
        "title": route.action,
        "description": route.summary,
        "required": [route.action],
        "properties": {route.action: schema},
        "additionalProperties": False,
    }


def _facts(service: Service, route: Route) -> dict[str, Any]:
    return {
        "action": route.action,
        "summary": route.summary,
        "since": route.since or str(service.minimum),
        "until": route.until,
        "policy": route.policy,
        "success": route.success,
    }


def _parameters(path: str, method: str, routes: list[Route]) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _FIELD.findall(path)
    ]
    names = dict.fromkeys(name for route in routes for name in route.query or ())
    in_query = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    in_header = ["version", "idempotency"] if method == "POST" else ["version"]
    shared = [{"$ref": f"#/components/parameters/{name}"} for name in in_header]
    return [*in_path, *in_query, *shared]


def _version_parameter(service: Service) -> dict[str, Any]:
    return {
        "name": HEADER,
        "in": "header",
        "description": f"{service.minimum} to {service.maximum}, or latest; without it "
        f"{service.minimum}",
        "schema": {"type": "string"},
        "example": f"{service.name} {service.maximum}",
    }


def _fault_response() -> dict[str, Any]:
    return {
        "description": "A fault: one key that depends on the status. Wrong paths and wrong "
        "credentials are answered in plain text",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Fault"}},
            "text/plain": {"schema": {"type": "string"}},
        },
    }
