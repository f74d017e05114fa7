"""Serving over a real socket, inside the caller's loop."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx2
import pytest

from breezeblock.auth.authenticators import NoAuth
from breezeblock.auth.policy import Policy
from breezeblock.web.app import make_app
from breezeblock.web.call import Call
from breezeblock.web.routes import Route
from breezeblock.web.server import HttpServer, serve
from breezeblock.web.service import block_storage
from tests.unit.web.toy import ROUTES


def application(*routes: Route) -> Any:
    return make_app(
        block_storage(), routes or ROUTES, app=None, authenticator=NoAuth(), policy=Policy()
    )


def url(server: HttpServer, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


async def test_it_serves_when_started_and_no_more_when_stopped() -> None:
    server = HttpServer(application(), "127.0.0.1", 0)
    await server.start()
    async with httpx2.AsyncClient() as http:
        assert (await http.get(url(server, "/v3/boxes"))).status_code == 200
        address = url(server, "/v3/boxes")
        await server.stop()
        with pytest.raises(httpx2.ConnectError):
            await http.get(address)
    await server.stop()


async def test_a_taken_port_is_an_error_of_the_operating_system() -> None:
    first = HttpServer(application(), "127.0.0.1", 0)
    await first.start()
    try:
        with pytest.raises(OSError, match="in use"):
            await HttpServer(application(), "127.0.0.1", first.port).start()
    finally:
        await first.stop()


async def test_a_running_request_is_answered_before_it_stops() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(_call: Call[Any]) -> dict[str, bool]:
        entered.set()
        await release.wait()
        return {"done": True}

    server = HttpServer(application(Route("GET", "/boxes", slow)), "127.0.0.1", 0)
    await server.start()
    async with httpx2.AsyncClient() as http:
        request = asyncio.create_task(http.get(url(server, "/v3/boxes")))
        await entered.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        release.set()
        assert (await request).json() == {"done": True}
    await stopping


async def test_a_request_that_never_ends_is_given_up_after_the_grace() -> None:
    entered = asyncio.Event()

    async def endless(_call: Call[Any]) -> None:
        entered.set()
        await asyncio.Event().wait()

    app = application(Route("GET", "/boxes", endless))
    server = HttpServer(app, "127.0.0.1", 0, grace_seconds=1)
    await server.start()
    async with httpx2.AsyncClient() as http:
        request = asyncio.create_task(http.get(url(server, "/v3/boxes")))
        await entered.wait()
        await server.stop()
        result = (await asyncio.gather(request, return_exceptions=True))[0]
    assert isinstance(result, BaseException) or result.status_code == 500


async def test_serve_ends_when_cancelled() -> None:
    task = asyncio.create_task(serve(application(), "127.0.0.1", 0))
    await asyncio.sleep(0.1)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_processs_signal_handlers_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    server = HttpServer(application(), "127.0.0.1", 0)
    await server.start()
    try:
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    finally:
        await server.stop()


async def test_a_chunked_body_that_is_too_large_is_refused_and_the_connection_closed() -> None:
    server = HttpServer(application(), "127.0.0.1", 0)
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /v3/boxes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(8):
            writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        await writer.drain()
        reply = await reader.read()  # until the server closes
        writer.close()
    finally:
        await server.stop()
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in reply.lower()
