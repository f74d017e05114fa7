"""Serving over a real socket, inside the caller's loop."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from breezeblock.auth.authenticators import NoAuth
from breezeblock.auth.policy import Policy
from breezeblock.web.app import make_app
from breezeblock.web.call import Call
from breezeblock.web.connections import Limits
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


GET = b"GET /v3/boxes HTTP/1.1\r\nHost: x\r\n\r\n"
IN_TIME = 30  # seconds: what is waited for comes much sooner, or never


@contextlib.asynccontextmanager
async def serving(limits: Limits, *routes: Route) -> AsyncIterator[Connect]:
    """A server within these limits; yields what opens connections to it."""
    server = HttpServer(application(*routes), "127.0.0.1", 0, limits=limits)
    await server.start()
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(server.stop)

        async def connect() -> Connection:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            opened.callback(writer.close)
            return Connection(reader, writer)

        yield connect


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """Of the next answer, which is read to its end."""
        async with asyncio.timeout(IN_TIME):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            await self.reader.readexactly(int(length[1]) if length else 0)
        return int(head.split()[1])

    async def closed(self) -> bool:
        """Whether the server closes it, without another word."""
        async with asyncio.timeout(IN_TIME):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


Connect = Callable[[], Awaitable[Connection]]


async def test_an_answer_without_body_is_sent_as_soon_as_it_is_complete() -> None:
    async with serving(Limits()) as connect:
        client = await connect()
        await client.send(GET.replace(b"GET /v3/boxes", b"HEAD /healthcheck"))
        async with asyncio.timeout(IN_TIME):
            head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: 2\r\n" in head
        await client.send(GET + GET)
        assert [await client.status(), await client.status()] == [200, 200]


async def test_a_client_that_asks_first_is_told_to_go_on_with_the_body() -> None:
    async with serving(Limits()) as connect:
        client = await connect()
        await client.send(
            b"POST /v3/boxes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: 20\r\n\r\n"
        )
        assert await client.status() == 100
        await client.send(b'{"box": {"size": 1}}')
        assert await client.status() == 202


@pytest.mark.parametrize("beginning", [b"", b"\r\n", b"GET /v3/boxes HTTP/1.1\r\nHo"])
async def test_a_connection_that_says_no_whole_head_is_closed(beginning: bytes) -> None:
    async with serving(Limits(head_seconds=0.2)) as connect:
        half_open = await connect()
        await half_open.send(beginning)
        assert await half_open.closed()


async def test_a_kept_connection_may_idle_and_begins_anew_with_the_next_request() -> None:
    async with serving(Limits(head_seconds=1)) as connect:
        kept = await connect()
        await kept.send(GET)
        assert await kept.status() == 200
        await asyncio.sleep(1.5)
        await kept.send(GET[:10])
        await kept.send(GET[10:])
        assert await kept.status() == 200
        await kept.send(GET[:10])
        assert await kept.closed()


async def test_an_answer_that_takes_long_outlasts_the_beginning_of_the_next_request() -> None:
    release = asyncio.Event()

    async def slow(_call: Call[Any]) -> dict[str, bool]:
        await release.wait()
        return {"done": True}

    async with serving(Limits(head_seconds=0.2), Route("GET", "/boxes", slow)) as connect:
        client = await connect()
        await client.send(GET + GET[:10])
        asyncio.get_running_loop().call_later(0.6, release.set)
        assert await client.status() == 200
        assert await client.closed()


async def test_a_slow_client_is_served_and_one_whose_body_stops_is_not() -> None:
    head = b"POST /v3/boxes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    async with serving(Limits(body_seconds=1.5)) as connect:
        slow, stuck = await connect(), await connect()
        await stuck.send(head + b"Content-Length: 9\r\n\r\n{")
        for byte in head + b"Content-Length: 4\r\n\r\n":
            await slow.send(bytes([byte]))
        for byte in b"nope":
            await asyncio.sleep(0.5)
            await slow.send(bytes([byte]))
        assert await slow.status() == 400
        assert await stuck.closed()


@pytest.mark.parametrize(
    "long",
    [
        b"GET /v3/boxes?" + b"a" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        GET[:-2] + b"A: b\r\n" * 2000 + b"\r\n",
        GET[:-2] + b"A: " + b"b" * 8000,
        b"\r\n" * 4000,
    ],
)
async def test_a_head_that_is_too_long_is_refused(long: bytes) -> None:
    async with serving(Limits(head_bytes=4000)) as connect:
        client = await connect()
        await client.send(GET)
        assert await client.status() == 200
        await client.send(long)
        assert await client.status() == 431
        assert await client.closed()


async def test_trailers_without_end_are_refused() -> None:
    async with serving(Limits(head_bytes=4000)) as connect:
        client = await connect()
        await client.send(
            b"POST /v3/boxes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await client.send(b"0\r\nA: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                await client.send(b"b" * 1000)
        assert await client.closed()


async def test_a_body_is_no_request_whatever_protocol_is_asked_for_besides() -> None:
    """The parser would skip it, and answer what is in it."""
    async with serving(Limits()) as connect:
        client = await connect()
        head = b"POST /v3/boxes HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        await client.send(head + b"Content-Length: %d\r\n\r\n" % len(GET))
        assert await client.status() == 400
        with contextlib.suppress(ConnectionError):
            await client.send(GET)
        assert await client.closed()


async def test_a_body_may_be_longer_than_a_head() -> None:
    async with serving(Limits(head_bytes=4000)) as connect:
        client = await connect()
        head = b"POST /v3/boxes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        await client.send(head + b"Content-Length: 20000\r\n\r\n" + b" " * 20000)
        assert await client.status() == 400
        await client.send(GET)
        assert await client.status() == 200


async def test_connections_beyond_the_limit_are_closed_and_the_others_served() -> None:
    async with serving(Limits(connections=2)) as connect:
        first, second = await connect(), await connect()
        for client in (first, second):
            await client.send(GET)
            assert await client.status() == 200
        for _ in range(3):
            assert await (await connect()).closed()
        await first.send(b"GET /v3/boxes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert await first.status() == 200
        assert await first.closed()
        third = await connect()
        for client in (second, third):
            await client.send(GET)
            assert await client.status() == 200
