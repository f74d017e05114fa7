"""The OpenAPI document as the storm reads it: one operation for each route of one version.

The served document has the actions of a path as alternatives of one body. Here each is an operation
of its own, so that each gets its share of the requests; the path's key has `#action` behind it. The
ids in paths are names for real things, so that a request finds something.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from tests.conformance.storm.hints import CHOICES, WORDS

Json = dict[str, Any]


def narrowed(served: Json) -> Json:
    """The document with one operation for each route."""
    document = copy.deepcopy(served)
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
        free = {"type": "string", "minLength": 1}
        known = f"{{{parameter['name']}}}" in WORDS
        parameter["schema"] = free if known else {"enum": list(CHOICES)}
    return parameter


def validator(schema: Json) -> Any:
    """What judges a document by a schema whose references begin at its root."""
    return jsonschema_rs.Draft202012Validator(schema)
