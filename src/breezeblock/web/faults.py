"""Errors and how they look on the wire.

The application calls `fault_of` with whatever a handler raised. A domain error becomes its status
and a JSON envelope with one key that depends on the status; anything unexpected becomes a 500 that
says nothing of the inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from breezeblock.auth.authenticators import Unauthenticated
from breezeblock.model.errors import (
    BreezeblockError,
    Conflict,
    Forbidden,
    InvalidInput,
    InvalidState,
    NotFound,
    OperationFailed,
    OverQuota,
    Unavailable,
)

KEYS = MappingProxyType(
    {
        400: "badRequest",
        401: "unauthorized",
        403: "forbidden",
        404: "itemNotFound",
        405: "badMethod",
        409: "conflictingRequest",
        413: "overLimit",
        415: "badMediaType",
        501: "notImplemented",
        503: "serviceUnavailable",
    }
)

_STATUSES: tuple[tuple[type[BreezeblockError], int], ...] = (
    (InvalidInput, 400),
    (InvalidState, 400),
    (NotFound, 404),
    (Forbidden, 403),
    (Conflict, 409),
    (OverQuota, 413),
    (Unavailable, 503),
    (OperationFailed, 500),
)

UNEXPECTED = "The server has either erred or is incapable of performing the requested operation."
RETRY_AFTER_SECONDS = 5


class Fault(Exception):
    """An answer that is not a success, in HTTP's own terms.

    Handlers raise it where the facts ask for a status that the domain error does not have (409
    for a revert in the wrong status, 405, 412, 501, 502). `plain` sends the message as text,
    `document` something else than the usual envelope.
    """

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        plain: bool = False,
        document: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        self.plain = plain
        self.document = document

    def body(self) -> bytes:
        """The body as it is sent; a 412 has none."""
        if self.status == 412:
            return b""
        if self.document is not None:
            return msgspec.json.encode(self.document)
        if self.plain:
            return self.message.encode()
        content: dict[str, object] = {"code": self.status, "message": self.message}
        if self.status == 413:
            content["retryAfter"] = "0"
        return msgspec.json.encode({KEYS.get(self.status, "computeFault"): content})


def fault_of(error: Exception) -> Fault:
    """The fault that tells the client about an error. Never shows what is not meant for him."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, Unauthenticated):
        document = error.document
        return Fault(401, str(error), _headers(error), plain=document is None, document=document)
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return Fault(status, str(error), _headers(error))
    if isinstance(error, BreezeblockError):
        return Fault(400, str(error))
    return Fault(500, UNEXPECTED)


def is_expected(error: Exception) -> bool:
    """Whether the error is one that clients are told about, so that the log needs no trace."""
    return isinstance(error, Fault | BreezeblockError)


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, OverQuota):
        return {"Retry-After": "0"}
    if isinstance(error, Unavailable):
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if isinstance(error, Unauthenticated) and error.challenge:
        return {"WWW-Authenticate": error.challenge}
    return {}
