"""The store: transactions as plain functions, run whole on a worker thread.

`await store.write(fn)` runs `fn(tx)` in one transaction and returns what it returns; when `fn`
raises, nothing of it stays. Reading functions get a `ReadTx`, which cannot write: a GET that
changes something does not type-check.

On SQLite there is one writer thread. It takes all functions that wait, runs each in a savepoint of
its own and commits them together, so that many callers share one flush to disk. On PostgreSQL a
pool of threads runs transactions side by side; conditional updates and unique indexes keep them
honest (design, section 4).

Wake-ups that a transaction asks for (`tx.wake`) are sent after it has committed, never before. What
it logs, or submits, belongs to the request or operation of whoever calls.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from time import perf_counter
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Executable, Insert, Row, Table, Update, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

from breezeblock.model.errors import Unavailable
from breezeblock.store.clock import db_now
from breezeblock.store.postgresql import pooled_engine
from breezeblock.telemetry import metrics

T = TypeVar("T")
Tx = TypeVar("Tx")


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

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._clock: float | None = None

    @property
    def dialect(self) -> str:
        """ "sqlite" or "postgresql"."""
        return self._connection.dialect.name

    def rows(self, statement: Executable, **parameters: Any) -> Sequence[Row[Any]]:
        return self._connection.execute(statement, parameters).all()

    def first(self, statement: Executable, **parameters: Any) -> Row[Any] | None:
        return self._connection.execute(statement, parameters).first()

    def scalar(self, statement: Executable) -> Any:
        return self._connection.execute(statement).scalar()

    def stand_still(self) -> None:
        """All that is read from here on is of one moment; to be called before anything is read.

        PostgreSQL shows each statement the moment it begins; SQLite always stands still.
        """
        if self.dialect == "postgresql":
            self._connection.execute(_ONE_MOMENT)

    def clock(self) -> float:
        """Seconds by the database's clock: what leases and reports are compared with.

        One answer a transaction. The clock of SQLite is this machine's: no need to ask.
        """
        if self._clock is None:
            self._clock = (
                time.time()
                if self.dialect == "sqlite"
                else float(self._connection.execute(_NOW).scalar_one())
            )
        return self._clock


_NOW = sa.select(db_now())
_ONE_MOMENT = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


@cache
def _insert(table: Table) -> Insert:
    return table.insert()


@cache
def _insert_once(table: Table, dialect: str) -> Insert:
    insert: Insert
    if dialect == "sqlite":
        insert = sqlite.insert(table).on_conflict_do_nothing()
    else:
        insert = postgresql.insert(table).on_conflict_do_nothing()
    # Left to itself SQLAlchemy forgets how many rows an INSERT touched: on PostgreSQL it says -1.
    return insert.execution_options(preserve_rowcount=True)


class WriteTx(ReadTx):
    """A transaction that may also write."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.wakes: list[Wake] = []
        self.told: list[Callable[[], None]] = []
        self.now: datetime = datetime.now(UTC).replace(tzinfo=None)

    def run(self, statement: Executable, **parameters: Any) -> int:
        """Execute; returns how many rows were touched."""
        return self._connection.execute(statement, parameters or None).rowcount

    def insert(self, table: Table, values: Mapping[str, Any]) -> None:
        """Insert a row of plain values."""
        self._connection.execute(_insert(table), values)

    def insert_once(self, table: Table, values: Mapping[str, Any]) -> bool:
        """Insert a row; False, and nothing done, when a unique index has one like it."""
        statement = _insert_once(table, self.dialect)
        return bool(self._connection.execute(statement, values).rowcount)

    def update(self, statement: Update, where: Mapping[str, Any], values: Mapping[str, Any]) -> int:
        """Run a prepared update with the parameters of its condition; how many rows it touched.

        `values` are plain. Such a statement is built once, which is most of what it costs.
        """
        return self._connection.execute(statement, {**values, **where}).rowcount

    def insert_unless_taken(self, statement: Executable) -> bool:
        """Insert in a savepoint; False when a unique index refuses."""
        savepoint = self._connection.begin_nested()
        try:
            self._connection.execute(statement)
        except IntegrityError:
            savepoint.rollback()
            return False
        savepoint.commit()
        return True

    def wake(self, topic: str, operation_id: str, *, everyone: bool = False) -> None:
        """Have a wake-up sent after the commit."""
        self.wakes.append(Wake(topic, operation_id, everyone))

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Have this called after the commit: for what is to be counted once it is true."""
        self.told.append(tell)


_Result = tuple[Any, WriteTx]
"""What the function returned, and what it asked to be done after the commit."""


@dataclass(slots=True)
class _Job:
    fn: Callable[[WriteTx], Any]
    future: Future[_Result] = field(default_factory=Future)


class _SqliteWriter:
    """The one thread that writes to a SQLite database."""

    BATCH = 64

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(immediate=True)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[[WriteTx], Any]) -> Future[_Result]:
        job = _Job(fn)
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch = [job]
            while len(batch) < self.BATCH:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    self._jobs.put(None)
                    break
                batch.append(more)
            self._commit_together(batch)

    def _commit_together(self, jobs: list[_Job]) -> None:
        # A caller who was cancelled while he waited wants nothing any more.
        batch = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        alone = len(batch) == 1
        try:
            with self._engine.begin() as connection:
                outcomes = [_run_one(connection, job, alone=alone) for job in batch]
        except BaseException as error:
            for job in batch:
                job.future.set_exception(_translated(error))
            return
        # Refusals, too, are told only now: they may follow from what a neighbour in the batch has
        # written, and whoever hears of one will look for that.
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                job.future.set_exception(_translated(outcome))
            else:
                job.future.set_result(outcome)


_Outcome = _Result | BaseException


def _run_one(connection: Connection, job: _Job, *, alone: bool) -> _Outcome:
    """Run a function in a savepoint; one that is alone in its transaction needs none."""
    tx = WriteTx(connection)
    if alone:
        return job.fn(tx), tx
    savepoint = connection.begin_nested()
    try:
        result = job.fn(tx)
    except BaseException as error:
        savepoint.rollback()
        return error
    savepoint.commit()
    return result, tx


class _PooledWriter:
    """Threads that write to PostgreSQL side by side."""

    TRIES = 4

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store-write")

    def submit(self, fn: Callable[[WriteTx], Any]) -> Future[_Result]:
        return self._pool.submit(self._transaction, fn)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _transaction(self, fn: Callable[[WriteTx], Any]) -> _Result:
        for left in reversed(range(self.TRIES)):
            try:
                with self._engine.begin() as connection:
                    tx = WriteTx(connection)
                    result = fn(tx)
                return result, tx
            except DBAPIError as error:
                # A deadlock victim or a serialisation failure did nothing; `fn` reads all it
                # needs inside, so running it again is the whole cure.
                if left and getattr(error.orig, "sqlstate", None) in ("40001", "40P01"):
                    metrics.transaction_retries.inc()
                    continue
                raise _translated(error) from error
        raise AssertionError("unreachable")


class Store:
    """One database: transactions as functions. See the module's text."""

    def __init__(self, url: str, *, threads: int = 8) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.on_commit: Callable[[list[Wake]], Awaitable[None]] | None = None
        self._engine = _sqlite_engine(url) if self.is_sqlite else pooled_engine(url, threads)
        self._writer: _SqliteWriter | _PooledWriter = (
            _SqliteWriter(self._engine) if self.is_sqlite else _PooledWriter(self._engine, threads)
        )
        self._readers = ThreadPoolExecutor(
            4 if self.is_sqlite else threads, thread_name_prefix="store-read"
        )

    @property
    def engine(self) -> Engine:
        """For migrations and tests; services go through write and read."""
        return self._engine

    async def write(self, fn: Callable[[WriteTx], T]) -> T:
        """Run `fn` in one transaction, then send the wake-ups it asked for.

        Raises what `fn` raises (then nothing was written), or StoreUnavailable.
        """
        began = perf_counter()
        result, tx = await asyncio.wrap_future(self._writer.submit(_in_context(fn)))
        metrics.writes.observe(perf_counter() - began)
        for tell in tx.told:
            tell()
        if tx.wakes and self.on_commit is not None:
            await self.on_commit(tx.wakes)
        return result  # type: ignore[no-any-return]

    async def read(self, fn: Callable[[ReadTx], T]) -> T:
        """Run `fn` on one consistent view of the database. Raises StoreUnavailable."""
        began = perf_counter()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._readers, self._read, _in_context(fn))
        metrics.reads.observe(perf_counter() - began)
        return found

    def _read(self, fn: Callable[[ReadTx], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return fn(ReadTx(connection))
        except DBAPIError as error:
            raise _translated(error) from error

    def close(self) -> None:
        self._writer.close()
        self._readers.shutdown(wait=True)
        self._engine.dispose()


def _in_context(fn: Callable[[Tx], T]) -> Callable[[Tx], T]:
    """The function as part of the request or operation that calls us, on whatever thread."""
    context = copy_context()
    return lambda tx: context.run(fn, tx)


def _translated(error: BaseException) -> BaseException:
    """A lost database becomes StoreUnavailable; everything else stays what it is."""
    if isinstance(error, sa.exc.TimeoutError):
        return StoreUnavailable("The database is busy: no connection became free in time.")
    if isinstance(error, DBAPIError):
        lost = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
        state = getattr(error.orig, "sqlstate", None)
        if lost and state not in ("40001", "40P01"):
            return StoreUnavailable("The database is not reachable at the moment.", _reason(error))
        if state is not None and state[:2] in ("57", "08", "53"):
            return StoreUnavailable("The database is not ready at the moment.", _reason(error))
    return error


def _reason(error: DBAPIError) -> str:
    """What the driver says, in one line; it never repeats a password."""
    return " ".join(str(error.orig).split())


def _sqlite_engine(url: str) -> Engine:
    engine = sa.create_engine(url, pool_size=8, max_overflow=4, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # SQLAlchemy opens transactions itself (below): the driver's own guessing is turned off.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit is on the disk before the client hears of it, also when the power fails.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
