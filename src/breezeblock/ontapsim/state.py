"""The array's state: one SQLite file, a row a record, one transaction a request.

A process that is killed leaves the last transaction that was committed; the file needs no more than
the kernel to survive, as nobody pulls the plug of a simulator.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from breezeblock.ontapsim.model import Record

R = TypeVar("R", bound=Record)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, uuid TEXT NOT NULL, name TEXT NOT NULL,
    document BLOB NOT NULL, UNIQUE (kind, uuid)
);
CREATE INDEX IF NOT EXISTS by_name ON records (kind, name);
CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, entry BLOB NOT NULL);
"""


class State:
    """All records. Who uses it holds the array's lock."""

    def __init__(self, path: Path) -> None:
        # It holds passwords, and its -wal and -shm get the mode that it has when SQLite opens it.
        path.touch(0o600)
        for file in (path, *path.parent.glob(f"{path.name}-*")):
            file.chmod(0o600)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def all(self, kind: type[R]) -> list[R]:
        """In the order they were made."""
        rows = self._database.execute(
            "SELECT document FROM records WHERE kind = ? ORDER BY number", (kind.__name__,)
        )
        return [msgspec.json.decode(document, type=kind) for (document,) in rows]

    def find(self, kind: type[R], uuid: str) -> R | None:
        row = self._database.execute(
            "SELECT document FROM records WHERE kind = ? AND uuid = ?", (kind.__name__, uuid)
        ).fetchone()
        return msgspec.json.decode(row[0], type=kind) if row else None

    def get(self, kind: type[R], uuid: str) -> R:
        """One that is there, because another record names it."""
        found = self.find(kind, uuid)
        if found is None:
            raise LookupError(f"{kind.__name__} {uuid}")
        return found

    def named(self, kind: type[R], name: str) -> list[R]:
        rows = self._database.execute(
            "SELECT document FROM records WHERE kind = ? AND name = ? ORDER BY number",
            (kind.__name__, name),
        )
        return [msgspec.json.decode(document, type=kind) for (document,) in rows]

    def put(self, record: Record) -> None:
        """Add it, or replace the one with its UUID."""
        self._database.execute(
            "INSERT INTO records (kind, uuid, name, document) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (kind, uuid) DO UPDATE"
            " SET name = excluded.name, document = excluded.document",
            (type(record).__name__, record.uuid, record.name, msgspec.json.encode(record)),
        )

    def drop(self, record: Record) -> None:
        self._database.execute(
            "DELETE FROM records WHERE kind = ? AND uuid = ?", (type(record).__name__, record.uuid)
        )

    def clear(self) -> None:
        """Everything but the log."""
        self._database.execute("DELETE FROM records")

    def log(self, number: int, entry: bytes) -> None:
        self._database.execute("INSERT INTO log VALUES (?, ?)", (number, entry))

    def logged(self) -> list[bytes]:
        return [e for (e,) in self._database.execute("SELECT entry FROM log ORDER BY number")]

    def last_logged(self) -> int:
        (number,) = self._database.execute("SELECT max(number) FROM log").fetchone()
        return number or 0

    def clear_log(self) -> None:
        self._database.execute("DELETE FROM log")
