"""The OpenAPI document as the storm reads it: one operation for each route of one version.

The served document has the actions of a path as alternatives of one body. Here each is an operation
of its own, so that each gets its share of the requests; the path's key has `#action` behind it. The
fields of paths, and a few properties of bodies, get names of real things to choose from; nothing
that the document refuses is allowed by that.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

Json = dict[str, Any]

CHOICES = ("first", "second", "third", "fourth")
"""What stands in a field of a path; the ground knows which real id is meant."""
IDS = tuple(f"00000000-0000-4000-8000-00000000000{number}" for number in range(8))
"""What stands in a body for the id of a volume (even numbers) or a snapshot (odd numbers)."""
KNOWN: Mapping[str, tuple[Any, ...]] = {
    "size": (1, 2),
    "new_size": (2, 3, 4),
    "volume_type": ("__DEFAULT__",),
    "status": ("available", "error", "in-use"),
    "host": ("node1@fast", "compute1"),
    "binary": ("cinder-volume",),
    "availability_zone": ("nova",),
    "mode": ("rw", "ro"),
    "name": ("one", "two"),
}


def narrowed(served: Json) -> Json:
    """The document with one operation for each route."""
    document = copy.deepcopy(served)
    for schema in document["components"]["schemas"].values():
        _teach(schema, document["components"])
    paths: dict[str, Json] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for key, one in _split(path, operation):
                paths.setdefault(key, {})[method] = one
    return {**document, "paths": paths, "servers": [{"url": "/v3"}]}


def _split(path: str, operation: Json) -> Iterator[tuple[str, Json]]:
    facts = operation.pop("x-openstack-routes")
    operation["parameters"] = [
        _chosen(one) for one in operation["parameters"] if one.get("in") in ("path", "query")
    ]
    if facts[0]["action"] is None:
        yield path, operation
        return
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    by_title = {one["title"]: one for one in schema.get("oneOf", [schema])}
    for fact in facts:
        one = copy.deepcopy(operation)
        one["operationId"] += re.sub(r"\W+", "_", fact["action"])
        one["requestBody"]["content"]["application/json"]["schema"] = by_title[fact["action"]]
        _keep_success(one["responses"], fact)
        yield f"{path}#{fact['action']}", one


def _keep_success(responses: Json, fact: Json) -> None:
    for status in [status for status in responses if status < "400"]:
        if status != str(fact["success"]):
            del responses[status]
    response = responses[str(fact["success"])]
    response.pop("content", None)
    if fact["answer"] is not None:
        response["content"] = {"application/json": {"schema": fact["answer"]}}


def _chosen(parameter: Json) -> Json:
    if parameter["in"] == "path":
        parameter["schema"] = {"type": "string", "enum": list(CHOICES)}
    return parameter


def _teach(schema: Json, components: Json) -> None:
    """Put names of real things among what the properties of a body may be."""
    properties = schema.get("properties", {})
    for name, words in KNOWN.items():
        if name in properties:
            fits = validator({**properties[name], "components": components})
            known = [word for word in words if fits.is_valid(word)]
            if known:
                properties[name] = {"anyOf": [properties[name], {"enum": known}]}


def validator(schema: Json) -> Any:
    """What judges a document by a schema whose references begin at its root."""
    return jsonschema_rs.Draft202012Validator(schema)
