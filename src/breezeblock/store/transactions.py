"""What a transaction can do: read, and write. The functions that the store runs are given one.

SQLAlchemy writes the statements (`statements.py`), a link carries them out (`links.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Executable, Insert, Row, Table, Update
from sqlalchemy.exc import IntegrityError

from breezeblock.store.clock import db_now
from breezeblock.store.links import Answer, Link
from breezeblock.store.statements import Call


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
