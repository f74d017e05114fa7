"""The store: transactions as plain functions, run whole on a worker thread.

`await store.write(fn)` runs `fn(tx)` in one transaction and returns what it returns; when `fn`
raises, nothing of it stays. Reading functions get a `ReadTx`, which cannot write: a GET that
changes something does not type-check.

On SQLite a read that turns out to be brief runs where it is asked for, others on threads; and there
is one writer thread. It takes all functions that wait, runs each in a savepoint of
its own and commits them together, so that many callers share one flush to disk. On PostgreSQL a
pool of threads runs transactions side by side; conditional updates and unique indexes keep them
honest (design, section 4).

Wake-ups that a transaction asks for (`tx.wake`) are sent after it has committed, never before. What
it logs, or submits, belongs to the request or operation of whoever calls.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from threading import get_ident
from time import perf_counter
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Executable, Insert, Row, Table, Update
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

from breezeblock.model.errors import Unavailable
from breezeblock.store.clock import db_now
from breezeblock.store.links import Answer, Link
from breezeblock.store.sqlite import BriefLink, SqliteLink, sqlite_engine
from breezeblock.store.statements import Call
from breezeblock.store.threads import Job, Keeper, Mailbox, Workers
from breezeblock.telemetry import metrics

T = TypeVar("T")


class StoreUnavailable(Unavailable):
    """The database is away. What was not answered did not happen, or is found by its state.

    Clients read the message. The driver's reason names users and hosts: that is for operators.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def in_full(self) -> str:
        """The message with the reason, in one line: for logs, machines, and the command line."""
        return f"{self} ({self.reason})" if self.reason else str(self)


@dataclass(frozen=True, slots=True)
class Wake:
    """A wake-up to send once the transaction has committed; `everyone`: to all who listen."""

    topic: str
    operation_id: str
    everyone: bool = False


class ReadTx:
    """A transaction that reads."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._clock: float | None = None

    @property
    def dialect(self) -> str:
        """ "sqlite" or "postgresql"."""
        return self._link.kind

    def rows(self, statement: Executable, **parameters: Any) -> Sequence[Row[Any]]:
        call, answer = self._ask(statement, parameters)
        return call.shape.rows(answer.rows, answer.columns)

    def first(self, statement: Executable, **parameters: Any) -> Row[Any] | None:
        call, answer = self._ask(statement, parameters, first=True)
        found = call.shape.rows(answer.rows[:1], answer.columns)
        return found[0] if found else None

    def scalar(self, statement: Executable, **parameters: Any) -> Any:
        row = self.first(statement, **parameters)
        return None if row is None else row[0]

    def _ask(
        self, statement: Executable, parameters: Mapping[str, Any], *, first: bool = False
    ) -> tuple[Call, Answer]:
        call = self._link.statements.call(statement, parameters)
        return call, self._link.ask(call.text, call.values, first=first)

    def stand_still(self) -> None:
        """All that is read from here on is of one moment; to be called before anything is read.

        PostgreSQL shows each statement the moment it begins; SQLite always stands still.
        """
        self._link.stand_still()

    def clock(self) -> float:
        """Seconds by the database's clock: what leases and reports are compared with.

        One answer a transaction. The clock of SQLite is this machine's: no need to ask.
        """
        if self._clock is None:
            if self.dialect == "sqlite":
                self._clock = time.time()
            else:
                self._clock = self._link.clock or float(self.scalar(_NOW))
        return self._clock


_NOW = sa.select(db_now())


@cache
def _insert(table: Table) -> Insert:
    return table.insert()


@cache
def _insert_once(table: Table, dialect: str) -> Insert:
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()


class WriteTx(ReadTx):
    """A transaction that may also write."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.wakes: list[Wake] = []
        self.told: list[Callable[[], None]] = []
        self.now: datetime = datetime.now(UTC).replace(tzinfo=None)

    def run(self, statement: Executable, **parameters: Any) -> int:
        """Execute; returns how many rows were touched."""
        return self._ask(statement, parameters)[1].touched

    def insert(self, table: Table, values: Mapping[str, Any]) -> None:
        """Insert a row of plain values. Should the database refuse it, the transaction fails: here,
        or with what comes next."""
        call = self._link.statements.call(_insert(table), values)
        self._link.tell(call.text, call.values)

    def insert_once(self, table: Table, values: Mapping[str, Any]) -> bool:
        """Insert a row; False, and nothing done, when a unique index has one like it."""
        return bool(self._ask(_insert_once(table, self.dialect), values)[1].touched)

    def update(self, statement: Update, where: Mapping[str, Any], values: Mapping[str, Any]) -> int:
        """Run a prepared update with the parameters of its condition; how many rows it touched.

        `values` are plain. Such a statement is built once, which is most of what it costs.
        """
        return self._ask(statement, {**values, **where})[1].touched

    def insert_unless_taken(self, statement: Executable) -> bool:
        """Insert in a savepoint; False when a unique index refuses."""
        self._link.savepoint()
        try:
            self._ask(statement, {})
        except IntegrityError:
            self._link.roll_back()
            return False
        self._link.release()
        return True

    def wake(self, topic: str, operation_id: str, *, everyone: bool = False) -> None:
        """Have a wake-up sent after the commit."""
        self.wakes.append(Wake(topic, operation_id, everyone))

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Have this called after the commit: for what is to be counted once it is true."""
        self.told.append(tell)


def _read(keeper: Keeper, jobs: list[Job]) -> None:
    """A turn of a thread that reads."""
    for job in jobs:
        try:
            job.done(_read_one(keeper, job))
        except BaseException as error:
            job.failed(_translated(error))


def _read_one(keeper: Keeper, job: Job) -> Any:
    while True:
        link, fresh = keeper.link()
        try:
            link.begin_read()
            return job.run(ReadTx(link))
        except DBAPIError as error:
            if fresh or not _was_gone(link, error):
                raise
        finally:
            link.give_up()


class _NotBriefError(Exception):
    """The read is one for a thread of its own."""


class _BriefReads:
    """Reads on the event loop's thread: SQLite finds a row in less time than a hop takes."""

    def __init__(self, open_link: Callable[[type[SqliteLink]], Link]) -> None:
        self._keeper = Keeper(lambda: open_link(BriefLink))
        self._thread: int | None = None

    def read(self, fn: Callable[[ReadTx], T]) -> T:
        """Raises _NotBriefError when a thread has to do it."""
        if self._thread is None:
            self._thread = get_ident()
        elif self._thread != get_ident():
            raise _NotBriefError
        try:
            return self._read(fn)
        except DBAPIError as error:
            if BriefLink.was_refused(error):
                raise _NotBriefError from None
            raise _translated(error) from error

    def _read(self, fn: Callable[[ReadTx], T]) -> T:
        link, _ = self._keeper.link()
        try:
            link.begin_read()
            return fn(ReadTx(link))
        finally:
            link.give_up()

    def close(self) -> None:
        self._keeper.close()


_Result = tuple[Any, WriteTx]
"""What the function returned, and what it asked to be done after the commit."""

_TRIES = 4


def _write_side_by_side(keeper: Keeper, jobs: list[Job]) -> None:
    """A turn of one of the threads that write to PostgreSQL."""
    for job in jobs:
        try:
            job.done(_write_one(keeper, job))
        except BaseException as error:
            job.failed(_translated(error))


def _write_one(keeper: Keeper, job: Job) -> _Result:
    for left in reversed(range(_TRIES)):
        link, _ = keeper.link()
        try:
            link.begin_write()
            tx = WriteTx(link)
            result = job.run(tx)
            link.commit()
            return result, tx
        except DBAPIError as error:
            # A deadlock victim or a serialisation failure did nothing; the function reads all it
            # needs inside, so running it again is the whole cure.
            clashed = getattr(error.orig, "sqlstate", None) in ("40001", "40P01")
            if not left or not (clashed or _was_gone(link, error)):
                raise
            if clashed:
                metrics.transaction_retries.inc()
        finally:
            link.give_up()
    raise AssertionError("unreachable")


def _was_gone(link: Link, error: DBAPIError) -> bool:
    """Whether the connection was lost while nobody used it: nothing was done on it yet."""
    return bool(error.connection_invalidated) and not link.answered


TOGETHER = 64
"""How many transactions SQLite commits with one flush to the disk."""


def _write_together(keeper: Keeper, jobs: list[Job]) -> None:
    """A turn of the one thread that writes to SQLite."""
    try:
        outcomes = _committed(keeper, jobs)
    except BaseException as error:
        for job in jobs:
            job.failed(_translated(error))
        return
    # Refusals, too, are told only now: they may follow from what a neighbour in the batch has
    # written, and whoever hears of one will look for that.
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            job.failed(_translated(outcome))
        else:
            job.done(outcome)


def _committed(keeper: Keeper, jobs: list[Job]) -> list[_Result | BaseException]:
    alone = len(jobs) == 1
    link, _ = keeper.link()
    try:
        link.begin_write()
        outcomes = [_run_one(link, job, alone=alone) for job in jobs]
        link.commit()
        return outcomes
    finally:
        link.give_up()


def _run_one(link: Link, job: Job, *, alone: bool) -> _Result | BaseException:
    """Run a function in a savepoint; one that is alone in its transaction needs none."""
    tx = WriteTx(link)
    if alone:
        return job.run(tx), tx
    link.savepoint()
    try:
        result = job.run(tx)
    except BaseException as error:
        link.roll_back()
        return error
    link.release()
    return result, tx


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
            Workers("sqlite-writer", 1, self._open, _write_together, together=TOGETHER)
            if self.is_sqlite
            else Workers("store-write", threads, self._open, _write_side_by_side)
        )
        self._readers = Workers("store-read", 4 if self.is_sqlite else threads, self._open, _read)
        self._brief = _BriefReads(self._open) if self.is_sqlite else None
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
            with suppress(_NotBriefError):
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


def _translated(error: BaseException) -> BaseException:
    """A lost database becomes StoreUnavailable; everything else stays what it is."""
    if isinstance(error, DBAPIError) and (away := _away(error)) is not None:
        away.__cause__ = error
        return away
    return error


def _away(error: DBAPIError) -> StoreUnavailable | None:
    lost = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    state = getattr(error.orig, "sqlstate", None)
    if lost and state not in ("40001", "40P01"):
        return StoreUnavailable("The database is not reachable at the moment.", _reason(error))
    if state is not None and state[:2] in ("57", "08", "53"):
        return StoreUnavailable("The database is not ready at the moment.", _reason(error))
    return None


def _reason(error: DBAPIError) -> str:
    """What the driver says, in one line; it never repeats a password."""
    return " ".join(str(error.orig).split())
