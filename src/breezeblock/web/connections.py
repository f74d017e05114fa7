"""What one connection may take from a server: time, memory, and a descriptor.

uvicorn waits for ever for the rest of a request that has begun, and takes headers of any length.
Whoever opens connections and says no more would so use up the process's descriptors, and with them
both APIs, monitoring and the backends' own files. Here a connection is closed when the head of a
request (request line and headers) is not there in time, when it is too long (431), when a body
stops coming, and at once when there are too many. A connection that idles between two requests is
uvicorn's to close.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from breezeblock.web.descriptors import share_of_descriptors

TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)

_OF_A_BODY = (b"content-length", b"transfer-encoding")
CONTINUE = b"HTTP/1.1 100 "
"""What comes before an answer, when a client has asked whether he may send the body."""


@dataclass(frozen=True)
class Limits:
    """`head_seconds` count from the connection's opening, or from the first byte of a further
    request; `body_seconds` from the last byte that came."""

    connections: int = field(default_factory=share_of_descriptors)
    head_seconds: float = 10
    head_bytes: int = 65536
    body_seconds: float = 60


class OnePiece:
    """The transport, as uvicorn writes one answer to it: head and body leave in one piece.

    Written one by one they are two packets, two wake-ups of the client, and two passes through the
    kernel, which are most of what a small answer costs.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._begun = False

    def write(self, data: bytes) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif self._begun or data.startswith(CONTINUE):
            self._transport.write(data)
        else:
            self._begun, self._head = True, data

    def end(self) -> None:
        """The answer is complete: perhaps it is a head alone, as to HEAD."""
        if self._head is not None:
            self._transport.write(self._head)
            self._head = None

    def close(self) -> None:
        self.end()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within `limits`, which `bounded` sets.

    A request that comes in one packet on a kept connection, the usual one, needs no timer.
    """

    limits: Limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = self._in_body = False
        self._complete = False  # whether the piece that is being parsed has completed anything
        self._piece: OnePiece | None = None
        self._pending = 0  # bytes since anything was complete: of a head, or of a body's trailers
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._allow(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disallow()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        room = self.limits.head_bytes - self._pending
        for piece in (data,) if len(data) <= room else (data[:room], data[room:]):
            self._complete = False
            super().data_received(piece)
            if self.transport.is_closing():
                return
            self._pending = 0 if self._complete else self._pending + len(piece)
            if self._pending >= self.limits.head_bytes:
                self._refuse()
                return
        if self._in_body:
            self._disallow()
            self._allow(self.limits.body_seconds)
        elif self._timer is None and (self._in_head or not self._complete):
            self._allow(self.limits.head_seconds)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and any(name in _OF_A_BODY for name, _ in self.headers):
            # The parser skips the body, and would read what follows as a request of its own.
            raise ValueError("a request with a body asks for another protocol")
        self._in_head, self._in_body, self._complete = False, True, True
        self._disallow()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._complete = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body, self._complete = False, True
        self._disallow()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._piece = cycle.transport = OnePiece(self.transport)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self._piece is not None:
            self._piece.end()
        super().on_response_complete()

    def _allow(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._late, seconds)

    def _disallow(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self, seconds: float) -> None:
        self._timer = None
        if self._in_body:
            # It is we who do not read, or have not asked for the body yet.
            ours = self.flow.read_paused or self.cycle.waiting_for_100_continue
        else:
            ours = self._answering()  # an earlier request; the client may have its answer
        if ours:
            self._allow(seconds)
        else:
            self.transport.abort()  # `close` would wait for a client that does not read

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self) -> None:
        if not self._in_body and not self._answering():
            self.transport.write(TOO_LONG)
        self.transport.close()


def bounded(limits: Limits) -> type[Any]:
    """The protocol that uvicorn makes for each connection."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
