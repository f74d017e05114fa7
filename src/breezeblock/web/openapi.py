"""The OpenAPI document, made from the route table.

`make_app` serves it at `/openapi.json` without credentials. It says what the table says: paths,
parameters, bodies (the actions of a path as alternatives), answers, the version range and policy
rule of each route, and the faults. Asked with a version header it describes that version alone;
without one, all of them, so that a body may have several forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from breezeblock.model.idempotency import Answer
from breezeblock.web import openapi_answers, request
from breezeblock.web.asgi import Request
from breezeblock.web.idempotency import HEADER as IDEMPOTENCY_KEY
from breezeblock.web.microversion import HEADER, Version
from breezeblock.web.routes import Route, Table
from breezeblock.web.service import Service
from breezeblock.web.types import MAX_INT, schema_of_custom

_FIELD = re.compile(r"\{(\w+)\}")
_QUERY_SCHEMAS: Mapping[str, Any] = {
    "limit": {"type": "integer", "minimum": 0, "maximum": 10**20 - 1},
    "offset": {"type": "integer", "minimum": 0, "maximum": MAX_INT},
}
_IDEMPOTENCY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "A name for the request: sent again with the same one it is done once, and "
    "gets the same answer",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}


class Document:
    """Serves the documents; each is made on the first request for it."""

    def __init__(self, service: Service, table: Table) -> None:
        self._service = service
        self._table = table
        self._made: dict[Version | None, bytes] = {}

    async def __call__(self, asked: Request) -> Answer:
        version = self._version(asked)
        if version not in self._made:
            self._made[version] = msgspec.json.encode(document(self._service, self._table, version))
        return Answer(200, {"content-type": "application/json"}, self._made[version])

    def _version(self, asked: Request) -> Version | None:
        rules = self._service.negotiation
        named = (HEADER, rules.legacy_header)
        if not any(name and asked.headers.get(name.lower()) for name in named):
            return None
        return request.negotiate(self._service, asked)


def document(service: Service, table: Table, version: Version | None = None) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a service, or of one of its versions."""
    bodies = {route: _body_types(service, route, version) for route in table}
    answers = {route: route.answer for route in table if route.answer is not None}
    kinds = list(
        dict.fromkeys([*(kind for found in bodies.values() for kind in found), *answers.values()])
    )
    schemas, components = msgspec.json.schema_components(
        kinds, schema_hook=schema_of_custom, ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip(kinds, schemas, strict=True))
    known = _Schemas(
        {route: [schema_of[kind] for kind in found] for route, found in bodies.items()},
        {route: schema_of[kind] for route, kind in answers.items()},
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, method, routes in _operations(table, version):
        paths.setdefault(path, {})[method.lower()] = _operation(
            service, path, method, routes, known
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": service.title or service.name,
            "version": str(version or service.maximum),
        },
        "servers": [
            {"url": service.prefix},
            {
                "url": f"{service.prefix}/{{project_id}}",
                "variables": {"project_id": {"default": "admin"}},
            },
        ],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": openapi_answers.fault_responses(),
            "headers": dict(openapi_answers.HEADERS),
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


class _Schemas(NamedTuple):
    """What was made of the types of bodies (several, over the versions) and answers."""

    bodies: Mapping[Route, list[dict[str, Any]]]
    answers: Mapping[Route, dict[str, Any]]


def _operations(table: Table, version: Version | None) -> Iterable[tuple[str, str, list[Route]]]:
    """Each method of each path, with its routes; those of one version, if it is given."""
    for path, methods in table.paths.items():
        for method, candidates in methods.items():
            routes = [
                entry.route
                for entries in candidates.values()
                for entry in entries
                if version is None or entry.serves(version)
            ]
            if routes:
                yield path, method, routes


def _body_types(service: Service, route: Route, version: Version | None) -> list[Any]:
    """All types that the body has had over the versions of the route, the newest first."""
    if not callable(route.body) or isinstance(route.body, type):
        return [] if route.body is None else [route.body]
    if version is not None:
        return [kind for kind in (route.body_type(version),) if kind is not None]
    first = Version.parse(route.since) if route.since else service.minimum
    last = Version.parse(route.until) if route.until else service.maximum
    minors = range(last.minor, first.minor - 1, -1)
    versions = (Version(first.major, minor) for minor in minors)
    kinds = dict.fromkeys(route.body_type(version) for version in versions)
    return [kind for kind in kinds if kind is not None]


def _operation(
    service: Service, path: str, method: str, routes: list[Route], known: _Schemas
) -> dict[str, Any]:
    first = routes[0]
    words = re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_")
    operation: dict[str, Any] = {
        "operationId": words,
        "summary": first.summary if first.action is None else "Actions: see the body's one key",
        "tags": sorted({tag for route in routes for tag in route.tags}),
        "parameters": _parameters(path, method, routes),
        "responses": openapi_answers.responses(routes, known.answers),
        "x-openstack-routes": [_facts(service, route, known) for route in routes],
    }
    schemas = [
        _wrapped(route, schema) for route in routes for schema in known.bodies[route] or [{}]
    ]
    if first.action is not None or any(known.bodies[route] for route in routes):
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


def _facts(service: Service, route: Route, known: _Schemas) -> dict[str, Any]:
    return {
        "action": route.action,
        "summary": route.summary,
        "since": route.since or str(service.minimum),
        "until": route.until,
        "policy": route.policy,
        "success": route.success,
        "answer": openapi_answers.answer_schema(route, known.answers),
    }


def _parameters(path: str, method: str, routes: list[Route]) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _FIELD.findall(path)
    ]
    names = dict.fromkeys(name for route in routes for name in route.query or ())
    in_query = [
        {"name": name, "in": "query", "schema": _QUERY_SCHEMAS.get(name, {"type": "string"})}
        for name in names
    ]
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
