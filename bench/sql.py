"""What a statement, a transaction and a hop cost in processor time: ours beside the bare driver's.

    .venv/bin/python -m bench.sql [--rounds 5] [--database sqlite postgresql] [--profile]

Microseconds of this process's processor time; the database server's own is not in them. A row a
kind of statement, once as SQLAlchemy executes it, once as the store does, and once as it would cost
with the driver alone and values that need no conversion. Each is measured in turns with the others,
and the best of the rounds counts: what else the machine does only ever adds. `--profile` says which
of our functions the store's statements spend their time in.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
import uvloop
from tests.engines.postgres import Postgres
from tests.engines.process import started

from breezeblock.model.ids import new_id
from breezeblock.store import schema
from breezeblock.store.store import ReadTx, Store, WriteTx
from breezeblock.store.tables import quota_usages, volume_types

MANY = 200
"""Statements of one kind in one transaction; transactions of one kind in a row."""

FIND = sa.select(volume_types).where(volume_types.c.id == sa.bindparam("the_id"))
CHANGE = volume_types.update().where(volume_types.c.id == sa.bindparam("the_id"))
AMONG = sa.select(volume_types).where(volume_types.c.id.in_(sa.bindparam("ids", expanding=True)))
MOVE = (
    quota_usages.update()
    .where(quota_usages.c.project_id == sa.bindparam("project"))
    .values(in_use=quota_usages.c.in_use + 1)
    .returning(quota_usages.c.resource, quota_usages.c.in_use)
)


def _built(the_id: str) -> sa.Select[Any]:
    return sa.select(volume_types).where(volume_types.c.id == the_id)


Kind = tuple[str, Callable[[WriteTx, str], Any], Callable[[sa.Connection, str], Any], str]
"""Name, what the store does, what SQLAlchemy does, and the driver's SQL."""

COLUMNS = ", ".join(column.name for column in volume_types.columns)
KINDS: tuple[Kind, ...] = (
    (
        "find one row",
        lambda tx, one: tx.first(FIND, the_id=one),
        lambda connection, one: connection.execute(FIND, {"the_id": one}).first(),
        f"SELECT {COLUMNS} FROM volume_types WHERE id = :the_id",
    ),
    (
        "the same, built each time",
        lambda tx, one: tx.first(_built(one)),
        lambda connection, one: connection.execute(_built(one)).first(),
        f"SELECT {COLUMNS} FROM volume_types WHERE id = :the_id",
    ),
    (
        "find among three",
        lambda tx, one: tx.rows(AMONG, ids=[one, "b", "c"]),
        lambda connection, one: connection.execute(AMONG, {"ids": [one, "b", "c"]}).all(),
        f"SELECT {COLUMNS} FROM volume_types WHERE id IN (:the_id, 'b', 'c')",
    ),
    (
        "change one row",
        lambda tx, one: tx.update(CHANGE, {"the_id": one}, {"description": "x"}),
        lambda connection, one: (
            connection.execute(CHANGE, {"the_id": one, "description": "x"}).rowcount
        ),
        "UPDATE volume_types SET description = 'x' WHERE id = :the_id",
    ),
    (
        "change and return",
        lambda tx, _: tx.rows(MOVE, project="p"),
        lambda connection, _: connection.execute(MOVE, {"project": "p"}).all(),
        "UPDATE quota_usages SET in_use = in_use + 1 WHERE project_id <> :the_id"
        " RETURNING resource, in_use",
    ),
)


class Bare:
    """The driver alone, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._sqlite = url.startswith("sqlite")
        self.connection: Any
        if self._sqlite:
            self.connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            self.connection.execute("PRAGMA synchronous=FULL")
        else:
            self.connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
            self.connection.prepare_threshold = 1

    def run(self, text: str, the_id: str) -> Callable[[], Any]:
        """To execute this SQL and fetch all that it finds."""
        execute = self.connection.execute
        if self._sqlite:
            named = {"the_id": the_id}
            return lambda: execute(text, named).fetchall()
        text = text.replace(":the_id", "%s")
        if text.startswith("SELECT") or "RETURNING" in text:
            return lambda: execute(text, (the_id,)).fetchall()
        return lambda: execute(text, (the_id,))

    def transaction(self, run: Callable[[], Any] | None) -> None:
        self.connection.execute("BEGIN")
        if run is not None:
            run()
        self.connection.execute("COMMIT")


class Best:
    """The least of what was measured, by what was measured."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, str], float] = {}

    @contextmanager
    def timed(self, name: str, way: str, times: int) -> Iterator[None]:
        began = time.process_time()
        yield
        spent = (time.process_time() - began) / times * 1e6
        self.of[name, way] = min(spent, self.of.get((name, way), spent))

    def print(self, title: str, ways: tuple[str, ...]) -> None:
        print(f"\n{title}\n\n| µs | {' | '.join(ways)} |\n{'|---' * (len(ways) + 1)}|")
        for name in dict.fromkeys(name for name, _ in self.of):
            cells = (self.of.get((name, way)) for way in ways)
            print(f"| {name} | {' | '.join('' if c is None else f'{c:.0f}' for c in cells)} |")


async def measure(url: str, rounds: int, profile: cProfile.Profile | None) -> None:
    store, bare = Store(url), Bare(url)
    schema.upgrade(store)
    the_id = new_id()
    await store.write(lambda tx: _filled(tx, the_id))
    statements, transactions = Best(), Best()
    for _ in range(rounds):
        for kind in KINDS:
            await _statement(store, bare, kind, the_id, statements, profile)
        await _transactions(store, bare, the_id, transactions)
    statements.print(f"{store.engine.dialect.name}: a statement in a transaction", STATEMENT_WAYS)
    transactions.print(
        f"{store.engine.dialect.name}: a transaction with all that is around it", TRANSACTION_WAYS
    )
    store.close()
    bare.connection.close()


STATEMENT_WAYS = ("SQLAlchemy", "store", "driver alone")
TRANSACTION_WAYS = ("alone", "8 at once", "32 at once", "SQLAlchemy, no hop", "driver, no hop")


def _filled(tx: WriteTx, the_id: str) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    tx.insert(volume_types, {"id": the_id, "name": "one", "created_at": now})
    tx.insert(quota_usages, {"project_id": "p", "resource": "volumes", "in_use": 0})


async def _statement(
    store: Store,
    bare: Bare,
    kind: Kind,
    the_id: str,
    best: Best,
    profile: cProfile.Profile | None,
) -> None:
    name, ours, theirs, text = kind

    def of_the_store(tx: WriteTx) -> None:
        for _ in range(3):  # compiled and prepared from here on
            ours(tx, the_id)
        with profile or nullcontext(), best.timed(name, "store", MANY):
            for _ in range(MANY):
                ours(tx, the_id)

    await store.write(of_the_store)
    with store.engine.begin() as connection:
        theirs(connection, the_id)
        with best.timed(name, "SQLAlchemy", MANY):
            for _ in range(MANY):
                theirs(connection, the_id)
    run = bare.run(text, the_id)
    run()
    bare.connection.execute("BEGIN")
    with best.timed(name, "driver alone", MANY):
        for _ in range(MANY):
            run()
    bare.connection.execute("ROLLBACK")


async def _transactions(store: Store, bare: Bare, the_id: str, best: Best) -> None:
    kinds: dict[str, tuple[Callable[[], Awaitable[Any]], Kind | None, bool]] = {
        "read nothing": (lambda: store.read(_nothing), None, False),
        "read one row": (
            lambda: store.read(lambda tx: tx.first(FIND, the_id=the_id)),
            KINDS[0],
            False,
        ),
        "write nothing": (lambda: store.write(_nothing), None, True),
        "change one row": (lambda: store.write(lambda tx: KINDS[3][1](tx, the_id)), KINDS[3], True),
    }
    for name, (act, kind, _) in kinds.items():
        for way, width in (("alone", 1), ("8 at once", 8), ("32 at once", 32)):
            await asyncio.gather(*(act() for _ in range(width)))
            with best.timed(name, way, MANY // width * width):
                for _ in range(MANY // width):
                    await asyncio.gather(*(act() for _ in range(width)))
        with best.timed(name, "SQLAlchemy, no hop", MANY):
            for _ in range(MANY):
                with store.engine.begin() as connection:
                    if kind is not None:
                        kind[2](connection, the_id)
        run = None if kind is None else bare.run(kind[3], the_id)
        with best.timed(name, "driver, no hop", MANY):
            for _ in range(MANY):
                bare.transaction(run)


def _nothing(_tx: ReadTx) -> None:
    """Ask the database for nothing."""


async def main(databases: list[str], rounds: int, *, profiled: bool) -> None:
    profile = cProfile.Profile(time.thread_time) if profiled else None
    if "sqlite" in databases:
        with tempfile.TemporaryDirectory() as home:
            await measure(f"sqlite:///{Path(home, 'bench.sqlite')}", rounds, profile)
    if "postgresql" in databases:
        with started(Postgres(durable=True)) as server:
            await measure(server.create_database("bench"), rounds, profile)
    if profile is not None:
        print("\nwhere the store's statements spend their time")
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--database", nargs="*", default=["sqlite", "postgresql"], choices=("sqlite", "postgresql")
    )
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.database, options.rounds, profiled=options.profile))
