"""Links with a SQLite database: a file that this process shares with the others of its machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError

from breezeblock.store.links import Answer, Link, loads
from breezeblock.store.statements import Statements

PREPARED = 512
"""How many statements a connection keeps prepared."""


class SqliteLink(Link):
    """See Link. `connection` begins no transaction by itself."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.statements = statements()
        self._connection = connection

    def ask(self, text: str, values: Sequence[Any], *, first: bool = False) -> Answer:
        try:
            cursor = self._connection.execute(text, values)
            if (described := cursor.description) is None:
                return Answer((), cursor.rowcount, tuple)
            rows = cursor.fetchmany(1) if first else cursor.fetchall()
            answer = Answer(rows, cursor.rowcount, lambda: [(one[0], None) for one in described])
            if first:
                cursor.close()
        except sqlite3.Error as error:
            raise self.translated(error, text) from error
        return answer

    def tell(self, text: str, values: Sequence[Any]) -> None:
        self.ask(text, values)

    def settle(self) -> None:
        """Whatever was told was done at once."""

    def begin_read(self) -> None:
        self.ask("BEGIN", ())

    def stand_still(self) -> None:
        """A transaction of SQLite always does."""

    def begin_write(self) -> None:
        self.ask("BEGIN IMMEDIATE", ())

    def commit(self) -> None:
        self.ask("COMMIT", ())

    def give_up(self) -> None:
        if self._connection.in_transaction:
            self.ask("ROLLBACK", ())

    def usable(self) -> bool:
        return True

    def close(self) -> None:
        self._connection.close()


@cache
def statements() -> Statements:
    """Those that are written for SQLite: compiled once for all databases."""
    return Statements(SQLiteDialect_pysqlite(dbapi=sqlite3, json_deserializer=loads))


BRIEF = 5
"""Thousands of steps of SQLite's machine that a read may take on the event loop's thread: a page of
a hundred rows has some four."""

_NOT_NOW = (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class BriefLink(SqliteLink):
    """A link for reads that are over before anybody could miss the thread they run on.

    One that takes longer, or would have to wait, is refused: `was_refused`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._steps = 0
        connection.execute("PRAGMA busy_timeout=0")
        connection.set_progress_handler(self._too_long, 1000)

    def begin_read(self) -> None:
        self._steps = 0
        super().begin_read()

    def give_up(self) -> None:
        """SQLite counts the steps of a statement over all its executions, those of ROLLBACK as
        well: one that ends what was refused must not be refused itself."""
        self._steps = 0
        super().give_up()

    def _too_long(self) -> bool:
        self._steps += 1
        return self._steps > BRIEF

    @staticmethod
    def was_refused(error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _NOT_NOW


def sqlite_engine(url: str) -> Engine:
    """An engine whose connections begin no transaction but those they are told to."""
    engine = sa.create_engine(
        url,
        pool_size=8,
        max_overflow=4,
        hide_parameters=True,
        json_deserializer=loads,
        connect_args={"cached_statements": PREPARED},
    )

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
