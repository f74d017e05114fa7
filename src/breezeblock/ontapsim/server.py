"""The simulator's HTTP server: requests in, faults that are about connections, replies out.

Falcon's ASGI application with one sink for everything: the routes are ONTAP's (`resources`). What
answers is plain synchronous code under the array's lock, on a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import falcon
import falcon.asgi
import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from breezeblock.ontapsim import errors, log, zapi
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import decode
from breezeblock.ontapsim.controls import PREFIX, Controls
from breezeblock.ontapsim.dispatch import Asked, Dispatcher, basic
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.faults import Faults
from breezeblock.ontapsim.query import Query
from breezeblock.ontapsim.rest import Raw, Reply, segments

HANG_UP = "breezeblock.hang_up"
POLL_SECONDS = 0.02
LONGEST_WAIT = 120
MOST_BODY = 4 << 20


class Protocol(HttpToolsProtocol):
    """uvicorn's, with a way to close the connection without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {HANG_UP: {"close": self.transport.abort}}


class Simulator:
    """The application around one array."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.faults = Faults()
        self.dispatcher = Dispatcher(array)
        self.log = log.Log(array)
        self._late: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.controls = Controls(array, self.faults, self.log, self._let_go)
        self.app = falcon.asgi.App()
        self.app.add_sink(self._sink, prefix="/")
        self.app.add_error_handler(Exception, _broken)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Meanwhile jobs and moves end when they are due, also if nobody asks."""
        self._loop = asyncio.get_running_loop()
        ticker = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            for task in (ticker, *self._tasks):
                task.cancel()
            await asyncio.gather(ticker, *self._tasks, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS * 5)
            due = await asyncio.to_thread(self.dispatcher.next_due)
            if due is not None and due <= self.array.now():
                await asyncio.to_thread(self._advance)

    def _advance(self) -> None:
        with self.array.lock:
            self.dispatcher.advance()

    def _let_go(self) -> int:
        """Do all requests now that came and are still to be done. Called from any thread."""
        waiting = list(self._late)
        assert self._loop is not None
        for event in waiting:
            self._loop.call_soon_threadsafe(event.set)
        return len(waiting)

    async def _sink(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: Any
    ) -> None:
        assert resp is not None
        raw_path = req.scope.get("raw_path") or req.path.encode()
        parts = segments(raw_path.decode("latin-1"))
        raw = await req.stream.read(MOST_BODY)
        if parts[:1] == (PREFIX,):
            status, body = await asyncio.to_thread(self.controls.answer, req.method, parts[1:], raw)
            _fill(resp, Reply(status, body))
        elif "/" + "/".join(parts) == zapi.PATH:
            resp.content_type = zapi.CONTENT_TYPE
            resp.data = await asyncio.to_thread(zapi.answer, self.array, raw)
        elif parts[:1] == ("api",):
            await self._api(req, resp, parts[1:], raw)
        else:
            _fill(resp, _refusal(errors.no_such_api()))

    async def _api(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        parts: tuple[str, ...],
        raw: bytes,
    ) -> None:
        asked = Asked(
            method=req.method,
            parts=parts,
            query=req.query_string,
            raw=raw,
            authorization=req.get_header("Authorization") or "",
            svm=req.get_header("X-Dot-SVM-Name") or "",
            content_type=req.content_type or "",
            accept=req.get_header("Accept") or "",
        )
        entry = _entry(req, asked)
        document = entry.body
        self.log.arrived(entry)
        query = dict(Query.parse(asked.query).pairs)
        hits = self.faults.hit(asked.method, asked.path, query, document)
        asked = replace(asked, faults=tuple(hits))
        hang_up: Callable[[], None] = req.scope["extensions"][HANG_UP]["close"]
        kinds = {fault.what: fault for fault in hits}
        if "refuse" in kinds:
            await self._logged(entry, Reply(0))
            hang_up()
            return
        if "late" in kinds:
            self._postpone(asked, entry, kinds["late"].seconds)
            hang_up()
            return
        if "slow" in kinds:
            await asyncio.sleep(kinds["slow"].seconds)
        reply = await self._reply(asked)
        if "drop" in kinds:
            await self._logged(entry, Reply(0))
            hang_up()
            return
        await self._logged(entry, reply)
        _fill(resp, reply)

    async def _reply(self, asked: Asked) -> Reply:
        try:
            reply = await asyncio.to_thread(self.dispatcher.handle, asked)
            return await self._awaited(asked, reply)
        except ApiError as error:
            return _refusal(error)

    async def _awaited(self, asked: Asked, reply: Reply) -> Reply:
        """Hold the answer until the job has ended, as long as `return_timeout` says."""
        if reply.status != 202 or not isinstance(reply.body, dict):
            return reply
        seconds = Query.parse(asked.query).number("return_timeout", 0, 0, LONGEST_WAIT)
        deadline = asyncio.get_running_loop().time() + seconds
        uuid = reply.body["job"]["uuid"]
        while seconds:
            job = await asyncio.to_thread(self.dispatcher.job, uuid)
            if job is not None and job.state == "failure":
                raise ApiError(500, str(job.code), job.message)
            if job is not None and job.state == "success":
                return Reply(201 if asked.method == "POST" else 200, reply.body, job.location)
            if asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
        return reply

    def _postpone(self, asked: Asked, entry: log.Entry, seconds: float) -> None:
        """Do the request later, when its sender is long gone."""
        go = asyncio.Event()
        self._late.add(go)

        async def later() -> None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(go.wait(), seconds or None)
            self._late.discard(go)
            await self._reply(asked)
            await self._logged(entry, Reply(0))

        task = asyncio.create_task(later())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self, entry: log.Entry, reply: Reply) -> None:
        error = reply.body.get("error", {}) if isinstance(reply.body, dict) else {}
        await asyncio.to_thread(self.log.answered, entry, reply.status, error.get("code", ""))


async def _broken(
    req: falcon.asgi.Request,
    resp: falcon.asgi.Response | None,
    error: Exception,
    *_: Any,
    **__: Any,
) -> None:
    """A defect of ours: the trace goes to standard error, the client is told."""
    traceback.print_exception(error)
    assert resp is not None
    _fill(resp, _refusal(errors.internal(f"{req.method} {req.path}: {error!r}")))


def _entry(req: falcon.asgi.Request, asked: Asked) -> log.Entry:
    """How the log shows a request; a body that is no JSON object is left out."""
    body: Any = None
    if asked.raw and not asked.has_form:
        with contextlib.suppress(ApiError):
            body = decode(asked.raw)
    return log.Entry(
        number=0,
        time=log.now(),
        client=req.remote_addr,
        user=_user(asked),
        svm=asked.svm,
        method=asked.method,
        path=f"/api{asked.path}",
        query=asked.query,
        body=body,
    )


def _user(asked: Asked) -> str:
    try:
        return basic(asked.authorization)[0]
    except ApiError:
        return ""


def _refusal(error: ApiError) -> Reply:
    return Reply(error.status, error.body())


def _fill(resp: falcon.asgi.Response, reply: Reply) -> None:
    resp.status = str(reply.status)
    if isinstance(reply.body, Raw):
        resp.content_type, resp.data = reply.body.content_type, reply.body.data
    else:
        resp.content_type = "application/hal+json"
        resp.data = msgspec.json.encode(reply.body)
    if reply.location:
        resp.set_header("Location", reply.location)
    if reply.status == 401:
        resp.set_header("WWW-Authenticate", 'Basic realm="Simulator"')


async def serve(
    simulator: Simulator,
    bound: socket.socket,
    certificate: tuple[str, str] | None,
    ready: Callable[[int], None],
    stop: asyncio.Event,
) -> None:
    """Answer at that socket (see `bind`) until `stop`; `ready` is told the port."""
    config = uvicorn.Config(
        simulator.app,
        http=Protocol,
        lifespan="off",
        access_log=False,
        log_level="warning",
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    async with simulator.running():
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started and not serving.done():
            await asyncio.sleep(POLL_SECONDS)
        if serving.done():
            await serving
            raise OSError("the HTTP server has ended")
        ready(bound.getsockname()[1])
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
        stopping.cancel()


class _Server(uvicorn.Server):
    """uvicorn's, without its own signal handlers: who runs us has theirs."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
