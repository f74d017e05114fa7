"""What lists cost as the number of volumes grows, in process and over HTTP.

    .venv/bin/python -m bench.listing [--volumes 1000 20000] [--database sqlite postgresql]
                                      [--over process http] [--profile]

Each database is filled in bulk (`tests/many_rows.py`), then each request is made several times. The
figures are milliseconds a request: processor time of our processes, of the database server, and the
wall clock; the least disturbed of the runs is shown. A request costs the same with any number of
volumes if the columns of one row of the table agree.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog
from bench import shapes
from bench.profiling import profiled
from tests import many_rows
from tests.engines.postgres import Postgres
from tests.engines.process import descendants, started

from breezeblock.api.application import Application
from breezeblock.api.routes import ROUTES
from breezeblock.auth.authenticators import NoAuth
from breezeblock.auth.policy import Policy
from breezeblock.bus.memory import MemoryBus
from breezeblock.config import build
from breezeblock.operations.waiting import Waiter
from breezeblock.store import schema
from breezeblock.store.store import Store
from breezeblock.web.app import make_app
from breezeblock.web.service import block_storage

HEADERS = {
    "x-auth-token": f"admin:{many_rows.PROJECT}",
    "openstack-api-version": "volume 3.71",
    "accept": "application/json",
    "host": "127.0.0.1:8776",
}
SECONDS = 1.0
"""How long each request is repeated."""


def requests(volumes: int) -> dict[str, str]:
    """What is asked, by what the table calls it."""
    # Four of five belong to the project; the marker is its volume at nine tenths of the way.
    deep = many_rows.ident("volume", volumes // 10 // 5 * 5)
    pool = many_rows.HOSTS[3].replace("#", "%23")
    return {
        "detail, 1000": "/volumes/detail?limit=1000",
        "names, 50": "/volumes?limit=50",
        "names, 50, marker at 90 %": f"/volumes?limit=50&marker={deep}",
        "detail, 50, marker at 90 %": f"/volumes/detail?limit=50&marker={deep}",
        "detail, 50, everybody's": "/volumes/detail?limit=50&all_tenants=1",
        "detail, 50, status=error": "/volumes/detail?limit=50&status=error",
        "detail, one name": f"/volumes/detail?name=pvc-{volumes // 2}",
        "detail, 50, a pool's": f"/volumes/detail?limit=50&all_tenants=1&host={pool}",
        "names, 50, by name": "/volumes?limit=50&sort=name:asc",
        "names, 50, with count": "/volumes?limit=50&with_count=true",
        "one volume": f"/volumes/{deep}",
    }


Send = Callable[[str], Awaitable[int]]


@dataclass(frozen=True)
class Served:
    """Where requests go, and the processes whose time they take (None: this one)."""

    name: str
    send: Send
    ours: dict[str, int] | None
    database: int | None


def processor(pid: int | None) -> float:
    """Seconds that a process and what it has started have used."""
    if pid is None:
        return time.process_time()
    total = 0.0
    for one in (pid, *descendants(pid)):
        try:
            total += time.clock_gettime(~one << 3 | 2)  # the clock of that process's time
        except OSError:
            continue
    return total


def in_process(store: Store, database: int | None) -> Served:
    """The API without sockets, in this process."""
    config = build({})
    app = make_app(
        block_storage(),
        ROUTES,
        app=Application(config, store, Waiter(store, MemoryBus(), "reply.bench")),
        authenticator=NoAuth(),
        policy=Policy(),
    )

    async def send(path: str) -> int:
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def reply(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

        path, _, query = f"/v3{path}".partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in HEADERS.items()],
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 8776),
        }
        await app(scope, receive, reply)
        return status

    return Served("process", send, None, database)


@asynccontextmanager
async def over_http(volumes: int, kind: str) -> AsyncIterator[Served]:
    """Real processes in one of the two shapes; callers are trusted."""
    running = shapes.one_process() if kind == "sqlite" else shapes.spread_out(keystone=False)
    async with running as shape, httpx2.AsyncClient(headers=HEADERS, timeout=60) as client:
        store = Store(shape.database)
        await asyncio.to_thread(many_rows.fill, store, volumes, history=False)
        store.close()

        async def send(path: str) -> int:
            reply = await client.get(f"{shape.deployment.volume_url}{path}")
            return reply.status_code

        engines = {name: engine.pid for name, engine in shape.engines.items()}
        yield Served("http", send, shape.services, engines.get("postgres"))


@contextmanager
def filled(volumes: int, kind: str) -> Iterator[tuple[Store, int | None]]:
    """A database with so many volumes, and the process of its server if it has one."""
    with tempfile.TemporaryDirectory(prefix="breezeblock-bench-") as home:
        server = started(Postgres(durable=True)) if kind == "postgresql" else nullcontext(None)
        with server as engine:
            url = engine.create_database("listing") if engine else f"sqlite:///{home}/volumes"
            store = Store(url)
            try:
                schema.upgrade(store)
                many_rows.fill(store, volumes, history=False)
                yield store, engine.pid if engine else None
            finally:
                store.close()


Figures = tuple[float, float, float]


async def measure(served: Served, path: str) -> Figures:
    """Milliseconds a request: ours, the database's, on the clock; the best of three runs."""
    best: Figures | None = None
    for _ in range(3):
        count, began = 0, time.perf_counter()
        before = _used(served)
        while (passed := time.perf_counter() - began) < SECONDS / 3 or count < 3:
            status = await served.send(path)
            if status != 200:
                raise RuntimeError(f"{path}: {status}")
            count += 1
        ours, database = (
            1000 * (b - a) / count for a, b in zip(before, _used(served), strict=True)
        )
        found = (ours, database, 1000 * passed / count)
        best = found if best is None else min(best, found)
    assert best is not None
    return best


def _used(served: Served) -> tuple[float, float]:
    ours: list[int | None] = [None] if served.ours is None else list(served.ours.values())
    theirs = processor(served.database) if served.database is not None else 0.0
    return sum(map(processor, ours)), theirs


async def run(kind: str, over: str, volumes: int, *, profile: bool) -> dict[str, Figures]:
    async with AsyncExitStack() as stack:
        if over == "http":
            served = await stack.enter_async_context(over_http(volumes, kind))
        else:
            served = in_process(*stack.enter_context(filled(volumes, kind)))
        found = {}
        for name, path in requests(volumes).items():
            await served.send(path)
            found[name] = await measure(served, path)
        if profile:
            await _profile(served, volumes)
        return found


async def _profile(served: Served, volumes: int) -> None:
    for name in ("detail, 1000", "names, 50"):
        path = requests(volumes)[name]
        with profiled(served.ours or {"here": os.getpid()}) as shares:
            until = time.monotonic() + 3
            while time.monotonic() < until:
                await served.send(path)
        print(f"\n{name}, over {served.name}, {volumes} volumes\n\n{shares.table()}\n", flush=True)


def table(kind: str, over: str, found: dict[int, dict[str, Figures]]) -> str:
    """Markdown: a row a request, a column a number of volumes."""
    heads = [f"{volumes:,} present" for volumes in found]
    lines = [
        f"\n{kind}, over {over}: CPU ms of ours + of the database server (wall ms)\n",
        f"| GET | {' | '.join(heads)} |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for name in next(iter(found.values())):
        cells = (figures[name] for figures in found.values())
        texts = (f"{ours:.2f} + {theirs:.2f} ({wall:.1f})" for ours, theirs, wall in cells)
        lines.append(f"| {name} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--volumes", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--database", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--over", nargs="+", default=["process", "http"])
    parser.add_argument("--profile", action="store_true", help="shares of the processor time")
    options = parser.parse_args()
    logging = structlog.make_filtering_bound_logger(30)  # access is not logged over HTTP either
    structlog.configure(wrapper_class=logging)
    for kind in options.database:
        for over in options.over:
            found = {
                volumes: asyncio.run(run(kind, over, volumes, profile=options.profile))
                for volumes in options.volumes
            }
            print(table(kind, over, found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
