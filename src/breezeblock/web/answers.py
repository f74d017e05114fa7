"""From what a handler returned or raised to the answer on the wire.

`web.app` sends answers; `web.idempotency` also keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from breezeblock.model.idempotency import Answer
from breezeblock.web.call import Call, Reply
from breezeblock.web.faults import fault_of, is_expected

_log = structlog.get_logger(__name__)


def answer_of(call: Call[Any], returned: Any) -> Answer:
    """The answer of a handler that has come to its end."""
    reply = returned if isinstance(returned, Reply) else Reply(returned)
    status, headers = reply.status or call.route.success, reply.headers
    if reply.body is None:
        return Answer(status, headers)
    if isinstance(reply.body, bytes):
        return Answer(status, headers, reply.body)
    # The vendor's name for JSON is echoed to the client that asks for it.
    accepted = call.headers.get("accept", "")
    kind = accepted if accepted in call.service.media_types else "application/json"
    body = msgspec.json.encode(reply.body, enc_hook=_encodable)
    return Answer(status, {"content-type": kind, **headers}, body)


def _encodable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def answer_to(error: Exception, path: str) -> Answer:
    """The answer that tells the client about an error. What nobody expected is logged."""
    fault = fault_of(error)
    if not is_expected(error):
        _log.error("request failed", path=path, exc_info=error)
    body = fault.body()
    kind = "text/plain; charset=UTF-8" if fault.plain else "application/json"
    return Answer(fault.status, {**fault.headers, **({"content-type": kind} if body else {})}, body)
