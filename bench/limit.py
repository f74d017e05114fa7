"""The share of the limit: POST /volumes against the same writes by a bare client of the database.

    python -m bench.limit [--shape one spread] [--count 640] [--connections 1 8 32]

What one POST sends to the database is taken from what the database is really sent (SQLite's trace,
PostgreSQL's log), and then sent again and again with new ids by a client that does nothing else, on
the same database with the same durability. Three rates a second, each with so many connections:

- bare: that client, one connection a thread;
- API alone: POST /volumes, with nobody who builds the volumes (spread out only);
- all: POST /volumes while scheduler and volume service make them available on the same cores.

The HTTP client is plain sockets that are written and read in turn. Callers are trusted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import sqlite3
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import sqlalchemy as sa
from bench import cold_start, shapes
from bench.free_driver import install
from psycopg import pq

IDENT = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}")
CALLER = "admin:bec0bec0bec0bec0bec0bec0bec0bec0"
WANTED = b'{"volume": {"size": 1, "name": "limit"}}'
REQUEST = (
    f"POST /v3/volumes HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Auth-Token: {CALLER}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(WANTED)}\r\n\r\n"
).encode() + WANTED
PATIENCE = 60.0


# -- what a POST sends -------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """As the driver of the database takes it; SQLite's values are in its text already."""

    text: str
    values: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Transaction:
    """What one POST has sent from BEGIN to COMMIT, and the ids that it has made up."""

    statements: tuple[Statement, ...]
    idents: frozenset[str]

    def again(self) -> list[tuple[str, list[str | None]]]:
        """The same with ids that are new."""
        new = {ident: _like(ident) for ident in self.idents}

        def renewed(value: str | None) -> str | None:
            if value is None:
                return None
            return IDENT.sub(lambda found: new.get(found[0], found[0]), value)

        return [(one.text, [renewed(value) for value in one.values]) for one in self.statements]


def _like(ident: str) -> str:
    made = uuid.uuid4()
    return str(made) if "-" in ident else made.hex


def transaction_of(first: Sequence[Statement], second: Sequence[Statement]) -> Transaction:
    """What the second POST sends: ids that the first did not send were made for it."""
    mine = _idents(second) - _idents(first)
    return Transaction(tuple(_open(one, mine) for one in second), frozenset(mine))


def _idents(statements: Sequence[Statement]) -> set[str]:
    return {
        ident
        for one in statements
        for text in (one.text, *(value for value in one.values if value is not None))
        for ident in IDENT.findall(text)
    }


_LITERAL = re.compile(r"'((?:[^']|'')*)'")


def _open(statement: Statement, idents: set[str]) -> Statement:
    """With a place for each literal that has one of these ids in it."""
    values = list(statement.values)

    def place(found: re.Match[str]) -> str:
        if idents.isdisjoint(IDENT.findall(found[1])):
            return found[0]
        values.append(found[1].replace("''", "'"))
        return "?"

    return Statement(_LITERAL.sub(place, statement.text), tuple(values))


def traced(text: str) -> list[list[Statement]]:
    """The creating transactions in what SQLite was sent, each statement with its values in it.

    Nothing says which connection sent a line, but only one at a time writes.
    """
    lines = (line for line in text.splitlines() if line not in ("BEGIN", "ROLLBACK"))
    return _transactions(("", Statement(line)) for line in lines)


_LOGGED = re.compile(
    r"^\S+ \S+ \S+ \[(\d+)\] (LOG|DETAIL):  (?:statement|execute [^:]*|[Pp]arameters): (.*?)"
    r"(?=^\d{4}-\d\d-\d\d |\Z)",
    re.MULTILINE | re.DOTALL,
)
_PARAMETER = re.compile(r"\$\d+ = (NULL|'(?:[^']|'')*')")


def logged(text: str) -> list[list[Statement]]:
    """The creating transactions in PostgreSQL's log."""
    sent: list[tuple[str, Statement]] = []
    for session, kind, what in _LOGGED.findall(text):
        what = what.replace("\n\t", "\n").strip()
        if kind == "LOG":
            sent.append((session, Statement(what)))
        elif sent and sent[-1][0] == session:
            found = _PARAMETER.findall(what)
            values = [None if one == "NULL" else one[1:-1].replace("''", "'") for one in found]
            sent[-1] = session, Statement(sent[-1][1].text, tuple(values))
    return _transactions(sent)


def _transactions(sent: Iterator[Any] | Sequence[Any]) -> list[list[Statement]]:
    """What each session sends from BEGIN to COMMIT, where a volume is put in."""
    opened: dict[str, list[Statement]] = {}
    found = []
    for session, statement in sent:
        word = statement.text.split(" ", 1)[0].upper().rstrip(";")
        if word == "BEGIN":
            opened[session] = []
        if session in opened:
            opened[session].append(statement)
        if word in ("COMMIT", "ROLLBACK"):
            whole = opened.pop(session, [])
            if any(re.match(r"INSERT INTO volumes\b", one.text) for one in whole):
                found.append(whole)
    return found


# -- the bare client ---------------------------------------------------------------------------


Send = Callable[[Transaction], None]


def sqlite_client(path: str) -> Send:
    """Sends to a SQLite database as ours are set up: WAL, each commit flushed."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")

    def send(transaction: Transaction) -> None:
        for text, values in transaction.again():
            connection.execute(text, values).fetchall()

    return send


def postgres_client(conninfo: str) -> Send:
    """Sends prepared statements; the server's settings are those that our services meet."""
    connection = psycopg.connect(conninfo, autocommit=True).pgconn
    names: dict[str, bytes] = {}

    def send(transaction: Transaction) -> None:
        for text, values in transaction.again():
            if text not in names:
                names[text] = f"s{len(names)}".encode()
                _done(connection.prepare(names[text], text.encode()))
            told = [None if value is None else value.encode() for value in values]
            _done(connection.exec_prepared(names[text], told))

    def _done(result: Any) -> None:
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            raise RuntimeError(result.error_message.decode())

    return send


def bare_rate(connect: Callable[[], Send], transaction: Transaction, at_once: int, n: int) -> float:
    """Transactions a second over so many connections."""
    failed: list[BaseException] = []
    ready = threading.Barrier(at_once + 1)

    def work() -> None:
        try:
            send = connect()
            send(transaction)
            ready.wait()
            for _ in range(n // at_once):
                send(transaction)
        except BaseException as error:
            failed.append(error)
            ready.abort()

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
    except threading.BrokenBarrierError:
        raise failed[0] from None
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failed:
        raise failed[0]
    return n // at_once * at_once / took


# -- the API -----------------------------------------------------------------------------------


def post_rate(port: int, at_once: int, n: int) -> float:
    """POSTs a second over so many connections."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(at_once)
        ]
        _post(connections)
        began = time.perf_counter()
        for _ in range(n // at_once):
            _post(connections)
        return n // at_once * at_once / (time.perf_counter() - began)


def _post(connections: Sequence[socket.socket]) -> None:
    """One request on each; all are sent before the first answer is read."""
    for connection in connections:
        connection.sendall(REQUEST)
    for connection in connections:
        read = b""
        while not (length := re.search(rb"(?is)content-length: (\d+).*?\r\n\r\n(.*)", read)) or (
            len(length[2]) < int(length[1])
        ):
            read += connection.recv(65536)
        if not read.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"POST /volumes: {read[:500]!r}")


async def until_built(shape: shapes.Shape) -> None:
    """Nothing is `creating` any more."""
    engine = sa.create_engine(shape.database, isolation_level="AUTOCOMMIT")
    left = sa.text("SELECT count(*) FROM volumes WHERE status = 'creating'")
    deadline = time.monotonic() + PATIENCE

    def creating() -> int:
        with engine.connect() as connection:
            return int(connection.execute(left).scalar_one())

    while await asyncio.to_thread(creating):
        shape.deployment.check()
        if time.monotonic() > deadline:
            raise RuntimeError("volumes are still creating")
        await asyncio.sleep(0.1)
    engine.dispose()


@asynccontextmanager
async def only(shape: shapes.Shape, roles: str, **environment: str) -> AsyncIterator[int]:
    """That one of its processes and no other of ours; the API's port."""
    deployment = shape.deployment
    cold_start.stop(deployment)
    driver = install(deployment.home / "driver")
    found = next(one for one in deployment.roles if roles in ("-".join(one), "all"))
    deployment.launch(roles, found, **driver, **environment)
    deadline = time.monotonic() + PATIENCE
    async with httpx2.AsyncClient() as client:
        while not await _healthy(client, deployment.port):
            deployment.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"no API: {deployment.logs()}")
            await asyncio.sleep(0.05)
    yield deployment.port
    cold_start.stop(deployment)


async def _healthy(client: httpx2.AsyncClient, port: int) -> bool:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/healthcheck")).status_code == 200
    except httpx2.HTTPError:
        return False


async def transaction_sent(shape: shapes.Shape) -> Transaction:
    """What one POST sends to the shape's database."""
    found = await (_logged_of if "postgres" in shape.engines else _traced_of)(shape)
    for first, second in reversed(list(pairwise(found))):
        if list(map(_bare, first)) == list(map(_bare, second)):  # nobody else came between
            return transaction_of(first, second)
    raise RuntimeError(f"no two of {len(found)} POSTs sent the same")


def _bare(statement: Statement) -> str:
    """Without the values that may be in its text."""
    return re.sub(r"'(?:[^']|'')*'|\b\d[\d.e+-]*\b", "?", statement.text)


async def _logged_of(shape: shapes.Shape) -> list[list[Statement]]:
    log = shape.engines["postgres"].home / "output.log"
    _log_statements(shape.database, "all")
    since = log.stat().st_size
    async with only(shape, "api") as port:
        await asyncio.to_thread(post_rate, port, 1, 4)
    _log_statements(shape.database, "none")
    return logged(log.read_bytes()[since:].decode(errors="replace"))


async def _traced_of(shape: shapes.Shape) -> list[list[Statement]]:
    """One after the other is built, as those who write together share a transaction."""
    with tempfile.TemporaryDirectory(prefix="breezeblock-bench-") as home:
        trace = Path(home, "statements")
        async with only(shape, "all", BENCH_STATEMENTS=str(trace)) as port:
            for _ in range(5):
                await asyncio.to_thread(post_rate, port, 1, 0)
                await until_built(shape)
        return traced(await asyncio.to_thread(trace.read_text))


def _log_statements(url: str, which: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"ALTER SYSTEM SET log_statement = '{which}'"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    engine.dispose()
    time.sleep(0.3)  # the server's processes read it when they are told


def client_of(shape: shapes.Shape) -> Callable[[], Send]:
    """How a bare client connects to its database."""
    url = sa.make_url(shape.database)
    if url.get_backend_name() == "sqlite":
        return lambda: sqlite_client(str(url.database))
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return lambda: postgres_client(conninfo)


@dataclass(frozen=True)
class Share:
    """A row of the table."""

    shape: str
    at_once: int
    bare: float
    alone: float | None
    """None where the API is no process of its own."""
    whole: float

    def __str__(self) -> str:
        cells = [self.shape, str(self.at_once), f"{self.bare:.0f}"]
        for rate in (self.alone, self.whole):
            cells += ["-", "-"] if rate is None else [f"{rate:.0f}", f"{rate / self.bare:.0%}"]
        return f"| {' | '.join(cells)} |"


HEAD = "| shape | connections | bare, a second | API alone | share | all | share |\n" + "|---" * 7


async def shares(shape: shapes.Shape, connections: Sequence[int], count: int) -> list[Share]:
    """The rates of one deployment, which serves no more afterwards."""
    whole = {}
    for at_once in connections:
        whole[at_once] = await asyncio.to_thread(post_rate, shape.deployment.port, at_once, count)
        await until_built(shape)
    transaction = await transaction_sent(shape)
    alone: dict[int, float] = {}
    if len(shape.deployment.roles) > 1:
        async with only(shape, "api") as port:
            for at_once in connections:
                alone[at_once] = await asyncio.to_thread(post_rate, port, at_once, count)
    cold_start.stop(shape.deployment)
    connect = client_of(shape)
    return [
        Share(
            shape.name,
            at_once,
            await asyncio.to_thread(bare_rate, connect, transaction, at_once, count),
            alone.get(at_once),
            whole[at_once],
        )
        for at_once in connections
    ]


async def measure(wanted: argparse.Namespace) -> None:
    made = {"one": shapes.one_process, "spread": lambda: shapes.spread_out(keystone=False)}
    print(f"{HEAD}|")
    for name in wanted.shape:
        async with made[name]() as shape:
            for share in await shares(shape, wanted.connections, wanted.count):
                print(share, flush=True)
            if wanted.statements:
                for one in (await transaction_sent(shape)).statements:
                    print(f"    {one.text}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", nargs="+", choices=("one", "spread"), default=["one", "spread"])
    parser.add_argument("--count", type=int, default=640)
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--statements", action="store_true", help="print what a POST sends")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
