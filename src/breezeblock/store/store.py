"""The store: transactions as plain functions, run whole on a worker thread.

`await store.write(fn)` runs `fn(tx)` in one transaction and returns what it returns; when `fn`
raises, nothing of it stays. Reading functions get a `ReadTx`, which cannot write: a GET that
changes something does not type-check.

On SQLite there is one writer thread. It takes all functions that wait, runs each in a savepoint of
its own and commits them together, so that many callers share one flush to disk; a read that is
brief runs where it is asked for. On PostgreSQL a pool of threads runs transactions side by side;
conditional updates and unique indexes keep them honest (design, section 4).

Wake-ups that a transaction asks for (`tx.wake`) are sent after it has committed, never before. What
it logs, or submits, belongs to the request or operation of whoever calls.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from breezeblock.store.links import Link
from breezeblock.store.sqlite import SqliteLink, sqlite_engine
from breezeblock.store.threads import Job, Mailbox, Workers
from breezeblock.store.transactions import ReadTx, Wake, WriteTx
from breezeblock.store.turns import (
    TOGETHER,
    BriefReads,
    NotBriefError,
    StoreUnavailable,
    read,
    write_side_by_side,
    write_together,
)
from breezeblock.telemetry import metrics

__all__ = ["ReadTx", "Store", "StoreUnavailable", "Wake", "WriteTx", "link_over"]

T = TypeVar("T")


def link_over(connection: Connection) -> Link:
    """A link on a connection of an engine's, for those who look at a database without a store.

    What is read over it is of one moment. The connection's owner begins and ends transactions.
    """
    link = _link(connection.connection.driver_connection)
    link.stand_still()
    return link


def _link(driver: Any) -> Link:
    if isinstance(driver, sqlite3.Connection):
        return SqliteLink(driver)
    from breezeblock.store.postgresql_link import PostgresLink

    return PostgresLink(driver)


def _engine(url: str, threads: int) -> Engine:
    """Whoever is on SQLite does without the modules for PostgreSQL: they take time and memory."""
    if url.startswith("sqlite"):
        return sqlite_engine(url)
    from breezeblock.store.postgresql import pooled_engine

    return pooled_engine(url, threads)


class Store:
    """One database: transactions as functions. See the module's text."""

    def __init__(self, url: str, *, threads: int = 8) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.on_commit: Callable[[list[Wake]], Awaitable[None]] | None = None
        self._engine = _engine(url, threads)
        self._writers = (
            Workers("sqlite-writer", 1, self._open, write_together, together=TOGETHER)
            if self.is_sqlite
            else Workers("store-write", threads, self._open, write_side_by_side)
        )
        self._readers = Workers("store-read", 4 if self.is_sqlite else threads, self._open, read)
        self._brief = BriefReads(self._open) if self.is_sqlite else None
        self._box: Mailbox | None = None
        self._closed = False

    @property
    def engine(self) -> Engine:
        """For migrations and tests; services go through write and read."""
        return self._engine

    async def write(self, fn: Callable[[WriteTx], T]) -> T:
        """Run `fn` in one transaction, then send the wake-ups it asked for.

        Raises what `fn` raises (then nothing was written), or StoreUnavailable.
        """
        began = perf_counter()
        result, tx = await self._hand_over(fn, self._writers)
        metrics.writes.observe(perf_counter() - began)
        for tell in tx.told:
            tell()
        if tx.wakes and self.on_commit is not None:
            await self.on_commit(tx.wakes)
        return result  # type: ignore[no-any-return]

    async def read(self, fn: Callable[[ReadTx], T]) -> T:
        """Run `fn` on one consistent view of the database. Raises StoreUnavailable.

        It may be run twice: when it turns out to be long, or a connection to have been lost.
        """
        began = perf_counter()
        found = await self._read(fn)
        metrics.reads.observe(perf_counter() - began)
        return found

    async def _read(self, fn: Callable[[ReadTx], T]) -> T:
        if self._brief is not None and not self._closed:
            with suppress(NotBriefError):
                return self._brief.read(fn)
        return await self._hand_over(fn, self._readers)  # type: ignore[no-any-return]

    def _hand_over(self, fn: Callable[[Any], Any], workers: Workers) -> asyncio.Future[Any]:
        if self._closed:
            raise RuntimeError("the store is closed")
        loop = asyncio.get_running_loop()
        if self._box is None or self._box.loop is not loop:
            self._box = Mailbox(loop)
        job = Job(fn, self._box)
        workers.submit(job)
        return job.future

    def _open(self, sqlite: type[SqliteLink] = SqliteLink) -> Link:
        """A connection of its own, set up as the engine's are."""
        connection = self._engine.connect()
        driver: Any = connection.connection.driver_connection
        connection.detach()  # from now on the link's alone
        return sqlite(driver) if self.is_sqlite else _link(driver)

    def close(self) -> None:
        self._closed = True
        self._writers.close()
        self._readers.close()
        if self._brief is not None:
            self._brief.close()
        self._engine.dispose()
