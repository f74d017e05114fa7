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
UNSAID = "printable characters"
"""A rule that the document tells in words alone: no pattern can."""


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
        valid: bool = self._validator(content["schema"]).is_valid(body)
        return None if valid and _has_whole_fraction(body) else valid

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


def parsed(content: bytes) -> Any:
    """The document that the bytes are. Raises ValueError when they are none that can be stored:
    no UTF-8, no JSON to the letter, a text with half a character."""
    document = json.loads(content.decode(), parse_constant=_refuse)
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    return document


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _has_whole_fraction(document: Any) -> bool:
    """Whether a number such as 1.0 is in it: to a schema it is an integer, to us it is none."""
    if isinstance(document, float):
        return document.is_integer()
    if isinstance(document, dict):
        document = list(document.values())
    return isinstance(document, list) and any(map(_has_whole_fraction, document))


def is_refusal(reply: httpx2.Response) -> bool:
    """Whether the answer says that the body is not what the route takes."""
    if reply.status_code == 415:
        return True
    if reply.status_code != 400:
        return False
    try:
        message = str(reply.json()["badRequest"]["message"])
    except (ValueError, KeyError, TypeError):
        return False
    return message.startswith(REFUSED) and not message.endswith(UNSAID)
