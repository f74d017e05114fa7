"""A session: bytes from a host to tgtd and back, as they are.

What a host sends can be held for a moment, so that a LUN may be taken away and put back without any
of its commands coming in between.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_CHUNK = 1 << 20
_PATIENCE = 5.0


class Session:
    """One host's connection, from being accepted to its end."""

    def __init__(self, client: socket.socket, portal: tuple[str, int]) -> None:
        self.client = client
        self.portal = portal
        self.initiator: str | None = None  # since it was let in
        self._upstream: socket.socket | None = None
        self._closed = False
        self._lock = threading.Lock()
        # Who wants to hold the session takes both; a pump that goes on goes through both.
        self._turnstile = threading.Lock()
        self._gate = threading.Lock()

    def relay(self, upstream: socket.socket) -> None:
        """Carry bytes both ways until one side has enough."""
        with self._lock:
            self._upstream = upstream
            if self._closed:
                return
        for connection in (self.client, upstream):
            connection.settimeout(None)
        back = threading.Thread(target=self._pump, args=(upstream, self.client), daemon=True)
        back.start()
        self._pump(self.client, upstream, gated=True)
        back.join()

    def close(self) -> None:
        """Both sides see the end of the connection; its threads end."""
        with self._lock:
            self._closed = True
            for connection in (self.client, self._upstream):
                if connection is not None:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give the sockets back, when no thread uses them any more."""
        with self._lock:
            self._closed = True
            self.client.close()
            if self._upstream is not None:
                self._upstream.close()

    def inner_port(self) -> int | None:
        """Our end of the connection to tgtd."""
        with self._lock:
            if self._closed or self._upstream is None:
                return None
            return int(self._upstream.getsockname()[1])

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Pass nothing to tgtd meanwhile. A session that cannot be held is closed."""
        with self._turnstile:
            held = self._gate.acquire(timeout=_PATIENCE)
            if not held:
                self.close()
            try:
                yield
            finally:
                if held:
                    self._gate.release()

    def _pump(self, source: socket.socket, sink: socket.socket, *, gated: bool = False) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # a larger pipe is faster, no more
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _CHUNK)
            with contextlib.suppress(OSError):
                while count := os.splice(source.fileno(), writing, _CHUNK):
                    if gated:
                        with self._turnstile:
                            pass
                        with self._gate:
                            _pass_on(reading, sink, count)
                    else:
                        _pass_on(reading, sink, count)
        finally:
            os.close(reading)
            os.close(writing)
            self.close()


def _pass_on(pipe: int, sink: socket.socket, count: int) -> None:
    while count:
        count -= os.splice(pipe, sink.fileno(), count)


@contextmanager
def hold_all(sessions: Iterable[Session], tgtd: tuple[str, int]) -> Iterator[None]:
    """Hold these sessions; tgtd has taken in all that was sent before."""
    with ExitStack() as stack:
        held = list(sessions)
        for session in held:
            stack.enter_context(session.hold())
        _wait_until_read(held, tgtd)
        yield


def _wait_until_read(sessions: list[Session], tgtd: tuple[str, int]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        unread = _ports_with_unread_data(tgtd)
        late = [session for session in sessions if session.inner_port() in unread]
        if not late:
            return
        if time.monotonic() > deadline:
            for session in late:
                session.close()
            return
        time.sleep(0.001)


def _ports_with_unread_data(tgtd: tuple[str, int]) -> set[int]:
    """Our ends of connections to tgtd that have something on the way which it has not read."""
    address = f"{struct.unpack('=I', socket.inet_aton(tgtd[0]))[0]:08X}:{tgtd[1]:04X}"
    found: set[int] = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        sending, receiving = queues.split(":")
        if local == address and int(receiving, 16):
            found.add(int(remote.rpartition(":")[2], 16))
        if remote == address and int(sending, 16):
            found.add(int(local.rpartition(":")[2], 16))
    return found
