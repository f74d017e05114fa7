"""A link: one connection with a database, and the little that a transaction needs of it.

`Link` is what both kinds of database give; how they do it is in `sqlite.py` and
`postgresql_link.py`.
Errors of drivers become SQLAlchemy's, so that nobody above needs to know which driver it was.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.exc import DBAPIError

from breezeblock.store.statements import Columns, Statements


class Answer(NamedTuple):
    """What the database says to a statement."""

    rows: Sequence[Sequence[Any]]
    touched: int
    """How many rows the statement changed, or found."""
    columns: Callable[[], Columns]


class Link(ABC):
    """One connection. It belongs to one thread at a time."""

    statements: Statements
    answered = False
    """Whether the database has said anything since the transaction began: until then nothing is
    lost when the connection is, and the transaction can begin again on another one."""
    clock: float | None = None
    """What the database's clock said in this transaction, if it has come along with an answer."""

    @property
    def kind(self) -> str:
        """ "sqlite" or "postgresql"."""
        return self.statements.dialect.name

    @abstractmethod
    def ask(self, text: str, values: Sequence[Any], *, first: bool = False) -> Answer:
        """Execute; of a `first` no row but the first is wanted. Raises DBAPIError."""

    @abstractmethod
    def tell(self, text: str, values: Sequence[Any]) -> None:
        """Execute; when it is refused, the next `ask` or `commit` may be the one that says so."""

    @abstractmethod
    def settle(self) -> None:
        """Hear now of what `tell` has said and the database has refused. Raises DBAPIError."""

    @abstractmethod
    def begin_read(self) -> None:
        """Begin to read. Raises DBAPIError."""

    @abstractmethod
    def stand_still(self) -> None:
        """All that is read from here on is of one moment; nothing has been read yet."""

    @abstractmethod
    def begin_write(self) -> None:
        """Begin a transaction. Raises DBAPIError."""

    @abstractmethod
    def commit(self) -> None:
        """Keep what was written. Raises DBAPIError: then it is kept, or it is not."""

    @abstractmethod
    def give_up(self) -> None:
        """Leave nothing of the transaction; harmless when there is none, or no connection."""

    @abstractmethod
    def usable(self) -> bool:
        """Whether another transaction may be tried on this connection."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def savepoint(self) -> None:
        """From here on `release` keeps, and `roll_back` undoes, what is written."""
        self.settle()
        self.tell("SAVEPOINT inner_part", ())

    def release(self) -> None:
        self.tell("RELEASE SAVEPOINT inner_part", ())

    def roll_back(self) -> None:
        self.tell("ROLLBACK TO SAVEPOINT inner_part", ())
        self.release()

    def translated(self, error: Exception, text: str, *, lost: bool = False) -> DBAPIError:
        """The driver's error as SQLAlchemy's, without the statement's values."""
        dialect = self.statements.dialect
        found = DBAPIError.instance(
            text,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        )
        assert isinstance(found, DBAPIError)
        return found


def loads(text: str | bytes) -> Any:
    """JSON as it was stored, which may be what only Python writes (`Infinity`)."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(text)
