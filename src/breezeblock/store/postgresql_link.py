"""A link with PostgreSQL, through psycopg's lower half: its upper one costs more than the database.

Round trips are what a transaction is made of. What begins one goes out together with its first
statement; so do statements whose answers nobody waits for. Reading needs no transaction, unless
several statements are to see one moment. What comes for the second time is prepared.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError

from breezeblock.store.links import Answer, Link
from breezeblock.store.postgresql import leave_out_the_row
from breezeblock.store.statements import Columns, Statements

PREPARED = 256
"""How many statements a connection keeps prepared in the database, or has seen once."""

_OUTDATED = ("26000", "0A000")
"""What a statement is refused with that was prepared and is not known any more, or whose result has
other columns now. Whoever hears it opens another link."""

_CLOCK = b"SELECT EXTRACT(EPOCH FROM clock_timestamp())::double precision"


class PostgresLink(Link):
    """See Link. What psycopg's connection knows of transactions is not used."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.statements = statements()
        self._connection = connection
        self._pg = connection.pgconn
        self._transformer = Transformer(connection)
        self._socket = select.poll()
        self._socket.register(self._pg.socket, select.POLLIN)
        self._names: dict[tuple[str, Any], bytes | None] = {}
        self._waiting: list[tuple[str, Callable[[], None]]] = []
        """What goes out together with the next statement whose answer is wanted."""
        self._has_clock = False
        self._prepared = 0
        self._asks_clock = False
        self._begun = True
        self._outdated = False

    def ask(self, text: str, values: Sequence[Any], *, first: bool = False) -> Answer:
        self._begun = True
        try:
            result = self._executed(text, *self._dumped(values))
            self.answered = True
            return self._answer(result, first=first)
        except psycopg.Error as error:
            raise self._told(error, text) from error

    def tell(self, text: str, values: Sequence[Any]) -> None:
        self._begun = True
        try:
            dumped, types, formats = self._dumped(values)
            if (name := self._names.get((text, types))) is None:
                self._executed(text, dumped, types, formats)
            else:
                send = self._pg.send_query_prepared
                self._waiting.append((text, lambda: send(name, dumped, formats)))
        except psycopg.Error as error:
            raise self._told(error, text) from error

    def settle(self) -> None:
        if any(told != "BEGIN" for told, _ in self._waiting):
            self.ask("SELECT 1", ())

    def begin_read(self) -> None:
        """Each statement sees the moment it begins, as it would in a transaction, too."""
        self._waiting.clear()
        self._asks_clock = self.answered = False
        self.clock = None

    def stand_still(self) -> None:
        self._waiting = [self._beginning(b"BEGIN ISOLATION LEVEL REPEATABLE READ")]

    def begin_write(self) -> None:
        self._waiting = [self._beginning(b"BEGIN")]
        self._begun = self.answered = False
        self.clock = None
        self._asks_clock = True
        if not self._has_clock:
            self._prepare_clock()

    def _prepare_clock(self) -> None:
        try:
            self._checked(self._pg.prepare(b"clock", _CLOCK))
        except psycopg.Error as error:
            raise self._told(error, "PREPARE") from error
        self._has_clock = True

    def _beginning(self, text: bytes) -> tuple[str, Callable[[], None]]:
        return "BEGIN", lambda: self._pg.send_query_params(text, None)

    def commit(self) -> None:
        if not self._begun:
            return
        self._asks_clock = False
        self.answered = True  # should the answer be lost, nobody may take it that nothing was done
        try:
            if self._waiting:
                result = self._together(
                    "COMMIT", lambda: self._pg.send_query_params(b"COMMIT", None)
                )
            else:
                result = self._checked(self._pg.exec_(b"COMMIT"))
            if result.command_status != b"COMMIT":
                raise psycopg.errors.InFailedSqlTransaction("a statement before had failed")
        except psycopg.Error as error:
            raise self._told(error, "COMMIT") from error

    def give_up(self) -> None:
        self._waiting.clear()
        pg = self._pg
        if pg.status == ConnStatus.OK and pg.transaction_status != TransactionStatus.IDLE:
            pg.exec_(b"ROLLBACK")

    def usable(self) -> bool:
        pg = self._pg
        if pg.status == ConnStatus.OK and max(len(self._names), self._prepared) > PREPARED:
            self._names.clear()
            self._prepared = 0
            self._has_clock = False
            pg.exec_(b"DEALLOCATE ALL")
        elif pg.status == ConnStatus.OK and self._socket.poll(0):
            pg.exec_(b"")  # the database says what nobody has asked for: is it a farewell?
        idle = pg.transaction_status == TransactionStatus.IDLE
        return idle and pg.status == ConnStatus.OK and not self._outdated

    def close(self) -> None:
        self._connection.close()

    def _dumped(self, values: Sequence[Any]) -> tuple[Sequence[Any], Any, Any]:
        """Values as they are sent, with the types that say which statement fits them."""
        transformer = self._transformer
        dumped = transformer.dump_sequence(values, (PyFormat.AUTO,) * len(values))
        return dumped, transformer.types, transformer.formats

    def _executed(self, text: str, dumped: Sequence[Any], types: Any, formats: Any) -> PGresult:
        pg, key = self._pg, (text, types)
        if (name := self._names.get(key)) is not None:
            if not self._waiting:
                return self._checked(pg.exec_prepared(name, dumped, formats))
            return self._together(text, lambda: pg.send_query_prepared(name, dumped, formats))
        if key not in self._names:
            result = self._together(
                text, lambda: pg.send_query_params(text.encode(), dumped, types, formats)
            )
            self._names[key] = None
            return result
        self._prepared += 1
        new = b"s%d" % self._prepared
        self._waiting.append((text, lambda: pg.send_prepare(new, text.encode(), types)))
        result = self._together(text, lambda: pg.send_query_prepared(new, dumped, formats))
        self._names[key] = new
        return result

    def _together(self, text: str, send: Callable[[], None]) -> PGresult:
        """Send this after all that waits; the answer to it, or the first refusal."""
        pg, waiting = self._pg, [*self._waiting, (text, send)]
        self._waiting.clear()
        pg.enter_pipeline_mode()
        try:
            for _, sent in waiting:
                sent()
            if asks := self._asks_clock:
                pg.send_query_prepared(b"clock", None)
            pg.pipeline_sync()
            results = self._received()
        finally:
            if pg.status == ConnStatus.OK:
                pg.exit_pipeline_mode()
        for (told, _), result in zip(waiting, results, strict=not asks):
            if result.status == ExecStatus.FATAL_ERROR and told != text:
                raise self._told(self._refusal(result), told)
            self._checked(result)
        if asks:
            self._asks_clock = False
            self.clock = float(self._checked(results[-1]).get_value(0, 0) or 0)
        return results[len(waiting) - 1]

    def _received(self) -> list[PGresult]:
        """The results of what was sent together."""
        pg = self._pg
        self._send_all()
        results: list[PGresult] = []
        while True:
            while pg.is_busy():
                self._socket.poll()
                pg.consume_input()
            result = pg.get_result()
            if result is None:
                if pg.status != ConnStatus.OK:
                    raise self._loss()
            elif result.status == ExecStatus.PIPELINE_SYNC:
                return results
            else:
                results.append(result)

    def _send_all(self) -> None:
        """What the socket has not taken at once, as it is long or the network slow; the database
        may have to get rid of answers meanwhile."""
        pg, ready = self._pg, select.poll()
        ready.register(pg.socket, select.POLLIN | select.POLLOUT)
        while pg.flush():
            if any(seen & ~select.POLLOUT for _, seen in ready.poll()):
                pg.consume_input()

    def _checked(self, result: PGresult) -> PGresult:
        if result.status == ExecStatus.FATAL_ERROR:
            raise self._refusal(result)
        return result

    def _refusal(self, result: PGresult) -> psycopg.Error:
        if not result.error_field(DiagnosticField.SQLSTATE) and self._pg.status != ConnStatus.OK:
            return self._loss()
        error = psycopg.errors.error_from_result(result)
        if error.sqlstate in _OUTDATED:
            self._outdated = True
        leave_out_the_row(error)
        return error

    def _loss(self) -> psycopg.Error:
        return psycopg.OperationalError(self._pg.get_error_message() or "the connection is lost")

    def _answer(self, result: PGresult, *, first: bool) -> Answer:
        touched, found = result.command_tuples or 0, result.ntuples
        if not found:
            return Answer((), touched, tuple)
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(0, 1 if first else found, tuple)
        return Answer(rows, touched, lambda: _columns(result))

    def _told(self, error: psycopg.Error, text: str) -> DBAPIError:
        return self.translated(error, text, lost=self._pg.status != ConnStatus.OK)


def _columns(result: PGresult) -> Columns:
    names = ((result.fname(place) or b"").decode() for place in range(result.nfields))
    return [(name, result.ftype(place)) for place, name in enumerate(names)]


@cache
def statements() -> Statements:
    """Those that are written for PostgreSQL: compiled once for all databases."""
    dialect = PGDialect_psycopg(  # type: ignore[no-untyped-call]
        paramstyle="numeric_dollar", dbapi=psycopg
    )
    dialect._backslash_escapes = False
    return Statements(dialect)
