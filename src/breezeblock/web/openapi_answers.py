"""The answers of a route in the OpenAPI document: its success, and the faults it may end with.

`web.openapi` asks `responses` for each operation and puts `COMPONENTS` beside the schemas.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from breezeblock.web.faults import KEYS
from breezeblock.web.microversion import HEADER
from breezeblock.web.routes import Route

Schema = Mapping[str, Any]

_ALWAYS = (400, 401, 403, 404, 406, 413, 415, 500, 503)
_BY_METHOD: Mapping[str, tuple[int, ...]] = {
    "POST": (409, 422),  # 422: an Idempotency-Key that names another request
    "PUT": (409,),
    "DELETE": (409,),
}
_EMPTY = frozenset({412})
_PLAIN_ONLY = frozenset({401})
_PLAIN_TOO = frozenset({404, 413})
_DESCRIPTIONS = {
    400: "The request cannot be understood, or not be done in this state",
    401: "No credentials, or wrong ones",
    403: "The policy forbids it",
    404: "There is no such thing, path or version of the path",
    405: "Not for this resource",
    406: "The version is not served",
    409: "Something else is under way, or stands in the way",
    412: "If-Match names another state",
    413: "Over quota, or a body that is too large",
    415: "The body is no JSON",
    422: "The Idempotency-Key was used for another request",
    500: "The work failed; the message says why",
    501: "Not implemented by the backend",
    502: "Another service did not answer as it should",
    503: "Not now; Retry-After says when",
}
_REQUEST_ID = {"$ref": "#/components/headers/request_id"}
HEADERS: Mapping[str, Any] = {
    "request_id": {
        "description": "Names the request; `breezeblock trace` shows what became of it",
        "required": True,
        "schema": {"type": "string", "pattern": "^req-[0-9a-f-]{36}$"},
    },
    "version": {
        "description": "The version that the request was served with",
        "required": True,
        "schema": {"type": "string"},
    },
}


def responses(routes: Iterable[Route], answers: Mapping[Route, Schema]) -> dict[str, Any]:
    """The responses of an operation; `answers` has the schemas of the routes that declare one."""
    found = list(routes)
    statuses = sorted({status for route in found for status in _faults(route)})
    return {
        **{str(status): _success(found, status, answers) for status in _successes(found)},
        **{str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in statuses},
    }


def answer_schema(route: Route, answers: Mapping[Route, Schema]) -> Schema | None:
    """The schema of what a success answers with; None for nothing at all."""
    if route in answers:
        return answers[route]
    returned = inspect.signature(route.handler).return_annotation
    return None if returned in (None, "None") or route.success == 204 else {"type": "object"}


def fault_responses() -> dict[str, Any]:
    """The responses that operations refer to, one a status."""
    return {_name(status): _fault(status) for status in _DESCRIPTIONS}


def _name(status: int) -> str:
    return f"Fault{status}"


def _successes(routes: Iterable[Route]) -> list[int]:
    return sorted({route.success for route in routes})


def _faults(route: Route) -> tuple[int, ...]:
    return (*_ALWAYS, *_BY_METHOD.get(route.method, ()), *route.faults)


def _success(routes: list[Route], status: int, answers: Mapping[Route, Schema]) -> dict[str, Any]:
    headers = {
        "x-openstack-request-id": _REQUEST_ID,
        HEADER: {"$ref": "#/components/headers/version"},
    }
    response: dict[str, Any] = {"description": "Success", "headers": headers}
    schemas: list[Schema] = []
    for route in routes:
        schema = answer_schema(route, answers)
        if route.success == status and schema is not None and schema not in schemas:
            schemas.append(schema)
    if schemas:
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        response["content"] = {"application/json": {"schema": schema}}
    return response


def _fault(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": _DESCRIPTIONS[status],
        "headers": {"x-openstack-request-id": _REQUEST_ID},
    }
    content = {}
    if status not in _EMPTY | _PLAIN_ONLY:
        content["application/json"] = {"schema": _envelope(status)}
    if status in _PLAIN_ONLY | _PLAIN_TOO:
        content["text/plain"] = {"schema": {"type": "string"}}
    return {**response, "content": content} if content else response


def _envelope(status: int) -> dict[str, Any]:
    key = KEYS.get(status, "computeFault")
    properties: dict[str, Any] = {
        "code": {"const": status},
        "message": {"type": "string", "minLength": 1},
    }
    if status == 413:
        properties["retryAfter"] = {"type": "string"}
    fault = {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "required": [key],
        "properties": {key: fault},
        "additionalProperties": False,
    }
