"""What a request costs apart from its database work: microseconds of processor time of one process.

    .venv/bin/python -m bench.request [--count 2000] [--rounds 5] [--connections 8]
        [--only TEXT] [--profile]

Each row is an application, from a bare ASGI callable to the block storage API on SQLite; each is
asked in process, as a server would call it, and over a socket by a client in another process, whose
time does not count. The rows take turns, and the best round of each counts: the machine is shared.
With `--profile` follows where the time over the socket went.

(The file is not called http.py: for `python bench/load.py` that would be Python's own `http`.)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import falcon.asgi
import httpx2
import msgspec
import uvloop
from bench.profiling import profiled

from breezeblock import log_level
from breezeblock.api.application import Application
from breezeblock.api.routes import ROUTES
from breezeblock.auth.authenticators import Authenticator, NoAuth
from breezeblock.auth.identity import BLOCK_STORAGE
from breezeblock.auth.keystone import KeystoneAuth
from breezeblock.auth.keystone_client import KeystoneClient
from breezeblock.auth.policy import Policy
from breezeblock.bus.memory import MemoryBus
from breezeblock.cli import logs
from breezeblock.config import Keystone, build
from breezeblock.operations.waiting import Waiter
from breezeblock.operations.wakes import send_wakes
from breezeblock.store import schema
from breezeblock.store.store import Store
from breezeblock.web.app import make_app
from breezeblock.web.call import Call
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.routes import Route
from breezeblock.web.server import HttpServer
from breezeblock.web.service import block_storage
from breezeblock.web.types import UNSET, Body, Metadata, Name, Size, UnsetType, Uuid

PROJECT = "0123456789abcdef0123456789abcdef"
THING = "5d2c5a5e-5d7e-4f0e-8e0f-4a3ef3c5a001"
COLLECTIONS = 30
TOKEN = "gAAAAABn" + "x" * 172
"""As long as Keystone's are."""
NO_AUTH = f"alice:{PROJECT}"


class NewThing(Body, frozen=True):
    size: Size
    name: Name | UnsetType | None = UNSET
    description: Name | UnsetType | None = UNSET
    volume_type: str | None = None
    availability_zone: str | None = None
    snapshot_id: Uuid | UnsetType | None = UNSET
    source_volid: Uuid | UnsetType | None = UNSET
    image_ref: str | None = msgspec.field(default=None, name="imageRef")
    consistencygroup_id: Uuid | UnsetType | None = UNSET
    metadata: Metadata | None = None


class CreateThing(Body, frozen=True):
    thing: NewThing


async def show(call: Call[Any]) -> dict[str, object]:
    ident = call.params["thing_id"]
    return {"thing": {"id": ident, "links": call.link("things", ident)}}


async def create(call: Call[Any]) -> dict[str, object]:
    return {"thing": {"size": call.body.thing.size}}


def routes() -> list[Route]:
    """As many as the block storage API has, nearly."""
    table = []
    for number in range(COLLECTIONS):
        path = f"/things{number}"
        table += [
            Route("GET", path, show, policy="volume:get_all"),
            Route("POST", path, create, body=CreateThing, policy="volume:create", success=202),
            Route("GET", f"{path}/detail", show, policy="volume:get_all"),
            Route("GET", f"{path}/{{thing_id}}", show, policy="volume:get"),
            Route("DELETE", f"{path}/{{thing_id}}", show, policy="volume:delete"),
        ]
    return table


@dataclass(frozen=True)
class Asked:
    """One request, and the status that it is to be answered."""

    method: str
    path: str
    status: int
    token: str
    body: bytes = b""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        told = [
            (b"host", b"127.0.0.1:8776"),
            (b"x-auth-token", self.token.encode()),
            (b"openstack-api-version", b"volume 3.71"),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"gzip, deflate"),
            (b"user-agent", b"python-cinderclient"),
        ]
        if self.body:
            told += [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(self.body)).encode()),
            ]
        return told

    @property
    def sent(self) -> bytes:
        """As it is on the wire."""
        head = b"".join(b"%b: %b\r\n" % pair for pair in self.headers)
        return f"{self.method} {self.path} HTTP/1.1\r\n".encode() + head + b"\r\n" + self.body

    @property
    def scope(self) -> dict[str, Any]:
        """As an ASGI server tells it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": self.headers,
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 8776),
            "state": {},
        }


@dataclass(frozen=True)
class Subject:
    """A row of the table: an application, what it is asked, and whether requests are logged."""

    name: str
    app: Any
    asked: tuple[Asked, Asked]
    logged: bool = False
    few: bool = False
    """Its requests cost much."""

    def count(self, asked: Asked, usual: int) -> int:
        """How many requests are enough."""
        if not self.few:
            return usual
        return usual // 20 if asked.method == "POST" else usual // 4


async def in_process(subject: Subject, asked: Asked, count: int) -> float:
    """Seconds of processor time a request."""
    event = {"type": "http.request", "body": asked.body, "more_body": False}
    statuses = set()

    async def receive() -> dict[str, Any]:
        return event

    async def send(message: dict[str, Any]) -> None:
        if "status" in message:
            statuses.add(message["status"])

    scope, app = asked.scope, subject.app
    begun = time.process_time()
    for _ in range(count):
        await app(dict(scope), receive, send)
    spent = time.process_time() - begun
    if statuses != {asked.status}:
        raise SystemExit(f"{subject.name}: {asked.method} is answered {statuses}")
    return spent / count


@dataclass(frozen=True)
class Client:
    """A process that sends requests as it is ordered to; `connections` at a time."""

    orders: Connection
    connections: int

    @classmethod
    def start(cls, connections: int) -> Client:
        """To be called before there are threads: it forks."""
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        context.Process(target=_client, args=(theirs, connections), daemon=True).start()
        return cls(ours, connections)

    async def send(self, port: int, asked: Asked, count: int) -> float:
        """Seconds of this process's processor time a request. Raises SystemExit."""
        self.orders.send((port, asked, count))
        await asyncio.to_thread(self.orders.recv)  # connected, and asked once on each connection
        begun = time.process_time()
        self.orders.send("go")
        wrong = await asyncio.to_thread(self.orders.recv)
        spent = time.process_time() - begun
        if wrong:
            raise SystemExit(f"{asked.method} is answered {wrong!r}")
        return spent / count


def _client(orders: Connection, connections: int) -> None:
    with contextlib.suppress(EOFError):
        while True:
            port, asked, count = orders.recv()
            with contextlib.ExitStack() as stack:
                opened = [
                    stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    for _ in range(connections)
                ]
                _ask(opened, asked, connections)
                orders.send("ready")
                orders.recv()
                orders.send(_ask(opened, asked, count))


def _ask(connections: list[socket.socket], asked: Asked, count: int) -> bytes:
    """An answer that is not the expected one, if there was any."""
    request, begins, wrong = asked.sent, b"HTTP/1.1 %d " % asked.status, b""
    for _ in range(count // len(connections)):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            answer = _answer(connection)
            if not answer.startswith(begins):
                wrong = answer
    return wrong


def _answer(connection: socket.socket) -> bytes:
    read = b""
    while True:
        read += connection.recv(65536)
        head, end, body = read.partition(b"\r\n\r\n")
        if end:
            length = re.search(rb"content-length: (\d+)", head)
            if len(body) >= (int(length[1]) if length else 0):
                return read


async def over_socket(client: Client, subject: Subject, asked: Asked, count: int) -> float:
    """As `in_process`, of requests that another process makes."""
    server = HttpServer(subject.app, "127.0.0.1", 0)
    await server.start()
    try:
        return await client.send(server.port, asked, count)
    finally:
        await server.stop()


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """What is left when there is no application: the server."""
    await receive()
    body = b'{"thing":{}}'
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


class _Plain:
    """A resource of Falcon's that does nothing."""

    async def on_get(self, _req: Any, resp: Any, **_: str) -> None:
        resp.data = b'{"thing":{}}'
        resp.content_type = "application/json"

    on_post = on_get


def bare_falcon() -> Any:
    app: Any = falcon.asgi.App()
    for route in routes():
        app.add_route(f"/v3/{{project_id}}{route.path}", _Plain())
    return app


class _Keystone(httpx2.AsyncBaseTransport):
    """Says of every token that it is a member's."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(201, headers={"X-Subject-Token": "ours"}, json={})
        told = {
            "user": {"id": "alice"},
            "project": {"id": PROJECT},
            "roles": [{"id": "r1", "name": "member"}, {"id": "r2", "name": "reader"}],
            "expires_at": "2100-01-01T00:00:00.000000Z",
        }
        return httpx2.Response(200, json={"token": told})


def keystone() -> KeystoneAuth:
    options = Keystone(auth_url="http://keystone.example:5000/v3", password="secret")
    return KeystoneAuth(options, BLOCK_STORAGE, KeystoneClient(options, _Keystone()))


def toolkit(authenticator: Authenticator) -> Any:
    return make_app(
        block_storage(), routes(), app=None, authenticator=authenticator, policy=Policy()
    )


def things(token: str, get: int = 200, post: int = 202) -> tuple[Asked, Asked]:
    body = dict.fromkeys(NewThing.__struct_encode_fields__) | {"size": 10, "name": "data"}
    document = json.dumps({"thing": {**body, "metadata": {"a": "1"}}}).encode()
    path = f"/v3/{PROJECT}/things{COLLECTIONS - 1}"
    return (
        Asked("GET", f"{path}/{THING}", get, token),
        Asked("POST", path, post, token, document),
    )


@asynccontextmanager
async def block_storage_api(directory: Path) -> AsyncIterator[tuple[Any, tuple[Asked, Asked]]]:
    """The API with a database; nobody does the work that it submits."""
    config = build({"host": "node1", "data": str(directory)})
    store = Store(f"sqlite:///{directory / 'breezeblock.sqlite'}")
    bus = MemoryBus()
    await bus.start()
    await asyncio.to_thread(schema.upgrade, store)
    await schema.ensure_default_type(store, config.default_volume_type)
    store.on_commit = partial(send_wakes, bus)
    waiter = Waiter(store, bus, "bench")
    await waiter.start()
    everything: Any = {"volumes": -1, "gigabytes": -1}
    config = build({"host": "node1", "data": str(directory), "quota": everything})
    app = make_app(
        block_storage(),
        ROUTES,
        app=Application(config, store, waiter),
        authenticator=keystone(),
        policy=Policy(),
        idempotency=Idempotency(store, lease=20.0, patience=5.0),
    )
    try:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://cloud") as http:
            body = {"volume": {"size": 1, "name": "data", "metadata": {"a": "1"}}}
            headers = {"X-Auth-Token": TOKEN}
            made = await http.post(f"/v3/{PROJECT}/volumes", json=body, headers=headers)
        path = f"/v3/{PROJECT}/volumes"
        ident = made.json()["volume"]["id"]
        sent = json.dumps(body).encode()
        get, post = (
            Asked("GET", f"{path}/{ident}", 200, TOKEN),
            Asked("POST", path, 202, TOKEN, sent),
        )
        yield app, (get, post)
    finally:
        await bus.close()
        store.close()


async def subjects(stack: AsyncExitStack) -> list[Subject]:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bb-request-")))
    api, asked = await stack.enter_async_context(block_storage_api(directory))
    known = toolkit(keystone())
    return [
        Subject("nothing but the server", bare, things(TOKEN, post=200)),
        Subject("a route of plain Falcon", bare_falcon(), things(TOKEN, post=200)),
        Subject("the toolkit, no authentication", toolkit(NoAuth()), things(NO_AUTH)),
        Subject("the toolkit, Keystone's token known", known, things(TOKEN)),
        Subject("… and each request logged", known, things(TOKEN), logged=True),
        Subject("volumes on SQLite, Keystone", api, asked, few=True),
    ]


Measure = Callable[[Subject, Asked, int], Awaitable[float]]


async def measure(known: Sequence[Subject], client: Client, count: int, rounds: int) -> None:
    ways: tuple[tuple[str, Measure], ...] = (
        ("in process", in_process),
        (f"over {client.connections} connections", partial(over_socket, client)),
    )
    best: dict[tuple[str, str, str], float] = {}
    for _ in range(rounds):
        for subject in known:
            log_level.change("info" if subject.logged else "warning")
            for way, how in ways:
                for asked in subject.asked:
                    found = await how(subject, asked, subject.count(asked, count))
                    key = subject.name, way, asked.method
                    best[key] = min(found, best.get(key, found))
    columns = [(way, method) for way, _ in ways for method in ("GET", "POST")]
    print(f"| µs of processor time | {' | '.join(f'{m} {way}' for way, m in columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for subject in known:
        cells = [f"{1e6 * best[subject.name, *column]:.0f}" for column in columns]
        print(f"| {subject.name} | {' | '.join(cells)} |")


async def profile(known: Sequence[Subject], client: Client, count: int) -> None:
    for subject in known:
        log_level.change("info" if subject.logged else "warning")
        with profiled({subject.name: os.getpid()}) as shares:
            await over_socket(client, subject, subject.asked[0], count)
        print(f"\n{shares.table()}")


async def main(options: argparse.Namespace, client: Client) -> None:
    async with AsyncExitStack() as stack:
        known = [one for one in await subjects(stack) if options.only in one.name]
        await measure(known, client, options.count, options.rounds)
        if options.profile:
            await profile(known, client, options.count * 5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    sender = Client.start(given.connections)
    nowhere = open(os.devnull, "w")  # noqa: SIM115, PTH123
    with contextlib.redirect_stderr(nowhere):
        logs.set_up("warning", "json")
    uvloop.run(main(given, sender))
