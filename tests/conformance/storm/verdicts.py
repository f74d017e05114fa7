"""What must be true of every answer, whatever was asked; and what a body says by its schema.

The OpenAPI document is the judge: a status that it does not name, a fault that does not have its
envelope, an answer that is not of its type, all are found here. Beside it stands what no document
can say: nothing is ever a 500.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from breezeblock.web.bodies import MALFORMED
from tests.conformance.storm.narrowed import Json, validator

REFUSED = ("Invalid input for field", MALFORMED)
"""How the message of a 400 begins that says that the body is not of the route's type."""


class Judge:
    """Judges the answers of one document's operations."""

    def __init__(self, document: Json) -> None:
        self._components = document["components"]
        self._validators: dict[str, Any] = {}

    def allows(self, operation: Json, body: Any) -> bool | None:
        """Whether the document allows this body; None when no schema can tell."""
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            return None
        try:
            valid: bool = self._validator(content["schema"]).is_valid(body)
        except (ValueError, TypeError, OverflowError):  # lone surrogates, huge numbers
            return None
        return valid

    def faults_of(self, operation: Json, reply: httpx2.Response) -> Iterator[str]:
        """What is wrong with an answer, in plain words."""
        status = reply.status_code
        if not reply.headers.get("x-openstack-request-id", "").startswith("req-"):
            yield "the answer has no request id"
        if status >= 500:
            yield f"{status} is never right here"
        response = operation["responses"].get(str(status))
        if response is None:
            yield f"the document does not name {status}"
            return
        if "$ref" in response:
            response = self._components["responses"][response["$ref"].rsplit("/", 1)[1]]
        yield from self._content_faults(response.get("content", {}), reply)

    def _content_faults(self, content: Mapping[str, Json], reply: httpx2.Response) -> Iterator[str]:
        kind = reply.headers.get("content-type", "").partition(";")[0]
        if not reply.content:
            if content:
                yield f"there should be a body of {' or '.join(content)}"
            return
        if kind == "application/vnd.openstack.volume+json":
            kind = "application/json"  # its other name, for who asks by it
        if kind not in content:
            yield f"the document does not name the content type {kind!r}"
        elif kind == "application/json":
            try:
                document = json.loads(reply.content)
            except ValueError:
                yield "the body is no JSON"
                return
            for error in self._validator(content[kind]["schema"]).iter_errors(document):
                yield f"the answer's {error.instance_path}: {str(error.message)[:300]}"

    def _validator(self, schema: Json) -> Any:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = validator({**schema, "components": self._components})
        return self._validators[key]


def is_refusal(reply: httpx2.Response) -> bool:
    """Whether the answer says that the body is not what the route takes."""
    if reply.status_code == 415:
        return True
    if reply.status_code != 400:
        return False
    try:
        return str(reply.json()["badRequest"]["message"]).startswith(REFUSED)
    except (ValueError, KeyError, TypeError):
        return False
