"""HTTP as an ASGI server tells it: a request that has come, and how its answer is sent.

`web.app` makes a `Request` of each one; pages and handlers give an `Answer` back. A framework would
do the same and more: measured, the more was as much work as all of ours (docs/architecture.md).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from time import perf_counter
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from breezeblock.auth.identity import Identity
from breezeblock.model.errors import InvalidInput
from breezeblock.model.idempotency import Answer
from breezeblock.web.faults import Fault

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Page: TypeAlias = Callable[["Request"], Awaitable[Answer]]
"""A document that anybody may GET."""

TOO_LARGE = "Request is too large."
_ONE_ALONE = frozenset(
    {"content-length", "content-type", "cookie", "expect", "from", "host", "max-forwards",
     "referer", "user-agent"}
)  # fmt: skip
"""Headers of which the last counts; of others a client may send several, which make a list."""
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
_EMPTY = frozenset({204, 304})
"""Statuses whose answers have no body, and say nothing about one."""


class Request:
    """One request, and what is found out about it on its way.

    `headers` have lower case names; `path` is without its percent signs. What is found out: `route`
    is the template of the path, `project` the one that the path names, and `told` the headers that
    its answer has whatever comes of it.
    """

    __slots__ = (
        "_receive", "_scope", "action", "begun", "global_id", "headers", "id", "identity", "method",
        "path", "project", "raw_headers", "route", "told",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.begun = perf_counter()
        self._scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"] or "/"
        self.raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.headers = _headers(self.raw_headers)
        self.id = new_request_id()
        self.global_id: str | None = None
        self.told: list[tuple[bytes, bytes]] = [(b"x-openstack-request-id", self.id.encode())]
        self.route = ""
        self.action: str | None = None
        self.project: str | None = None
        self.identity: Identity | None = None

    @property
    def base_url(self) -> str:
        """Scheme and host as the client knows them: by the proxy's word, else as we see them."""
        headers, scope = self.headers, self._scope
        host = _first(headers, "x-forwarded-host") or headers.get("host") or _address(scope)
        scheme = _first(headers, "x-forwarded-proto") or scope.get("scheme", "http")
        return f"{scheme}://{host}"

    def query(self) -> Mapping[str, str]:
        """The parameters; of a repeated one the last counts. Raises InvalidInput."""
        raw: bytes = self._scope["query_string"]
        if not raw:
            return _NO_PARAMETERS
        text = raw.decode("utf-8", "replace")
        found = dict(parse_qsl(text, keep_blank_values=True))
        if any("\0" in text for pair in found.items() for text in pair):
            raise InvalidInput("The query holds the null character.")
        return found

    def refuse_longer(self, most: int) -> None:
        """Raises Fault when the body is announced to be longer: before any of it is read."""
        told = self.headers.get("content-length")
        if told and _length(told) > most:
            raise _too_large()

    async def body(self, most: int) -> bytes:
        """The body; b"" when there is none. No more is read than is needed to see that it is longer
        than allowed. Raises Fault."""
        headers = self.headers
        if "transfer-encoding" not in headers and not _length(headers.get("content-length", "")):
            return b""
        read = b""
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise Fault(400, "The request has ended before its body.")
            more: bytes = event.get("body", b"")
            read = read + more if read else more
            if len(read) > most:
                raise _too_large()
            if not event.get("more_body"):
                return read


class Pages:
    """An application of nothing but documents, by their paths."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Request(scope, receive)
        page = self._pages.get(asked.path) if asked.method in ("GET", "HEAD") else None
        answer = await page(asked) if page else Answer(404)
        await send_answer(send, asked, answer)


def new_request_id() -> str:
    """An id that no other request has. It is no secret: clients are told it."""
    digits = f"{random.getrandbits(128):032x}"
    return f"req-{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


async def send_answer(send: Send, request: Request, answer: Answer) -> None:
    """Send it. To HEAD the headers alone are sent, and nothing of a body that cannot be."""
    headers, body = request.told, answer.body
    for name, value in answer.headers.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    if answer.status not in _EMPTY:
        headers.append((b"content-length", b"%d" % len(body)))
        if request.method == "HEAD":
            body = b""
    else:
        body = b""
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("latin-1"), value.decode("latin-1")
        if name in headers and name not in _ONE_ALONE:
            text = f"{headers[name]},{text}"
        headers[name] = text
    return headers


def _first(headers: Mapping[str, str], name: str) -> str:
    found = headers.get(name)
    return found.partition(",")[0].strip() if found else ""


def _address(scope: Scope) -> str:
    """The server's own, for a client of HTTP/1.0 that names none."""
    host, port = scope.get("server") or ("localhost", 80)
    return f"{host}:{port}" if port not in (None, 80) else str(host)


def _length(told: str) -> int:
    """What Content-Length says; 0 when it says nothing."""
    if not told:
        return 0
    if not (told.isascii() and told.isdigit() and len(told) < 20):
        raise Fault(400, "Content-Length: it must be a number.")
    return int(told)


def _too_large() -> Fault:
    # The rest of the body is not read, so the connection cannot be used again.
    return Fault(413, TOO_LARGE, {"Connection": "close"}, plain=True)
