"""Serves ASGI applications over HTTP, inside the event loop that the caller already runs.

The command `run` starts one `HttpServer` for each API. uvicorn does the work; what it would do
beyond that (take over the process's signals, leave the process when a port is taken, write its own
access log) is switched off. How much a connection may take says `connections.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any

import uvicorn

from breezeblock.web.connections import Limits, bounded

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75


class HttpServer:
    """One listening socket and the application behind it.

    `grace_seconds` is how long `stop` waits for requests that are being answered.
    """

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        *,
        grace_seconds: int = 10,
        limits: Limits | None = None,
    ) -> None:
        self._host, self._wanted_port = host, port
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._server = _QuietServer(
            uvicorn.Config(
                app,
                http=bounded(limits or Limits()),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=grace_seconds,
            )
        )

    @property
    def port(self) -> int:
        """The port it listens on, once started; useful when port 0 was asked for."""
        return int(self._socket.getsockname()[1]) if self._socket else self._wanted_port

    @property
    def address(self) -> str:
        """Where it listens, or shall listen: 127.0.0.1:8776."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self.port}"

    async def start(self) -> None:
        """Returns when connections are accepted. Raises OSError when the port cannot be had."""
        self._socket = _listen(self._host, self._wanted_port)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        self._task.add_done_callback(lambda _: self._server.listening.set())
        await self._server.listening.wait()
        if self._task.done():
            self._task.result()

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        if self._task:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Accept no more, let running requests end (bounded), close. May be repeated."""
        self._server.should_exit = True
        await self.wait()


async def serve(app: Any, host: str, port: int, *, grace_seconds: int = 10) -> None:
    """Serve until cancelled, then stop gracefully."""
    server = HttpServer(app, host, port, grace_seconds=grace_seconds)
    await server.start()
    try:
        await server.wait()
    finally:
        await server.stop()


class _QuietServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    # Accepted sockets inherit it. asyncio would not set it on a socket of protocol number 0, and an
    # answer in two packets would then wait 40 ms for the client's delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setblocking(False)
    return listening
