"""What a database does to answer each statement: how many rows it looks at, and by which plan.

A transaction of `ExplainedStore` is the real one as far as functions of the store can see. After
each statement the database is asked how it went about it; work on tables that grow with a cloud is
held against a bound that has nothing to do with how much is in them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from breezeblock.store.clock import db_now
from breezeblock.store.store import Store

T = TypeVar("T")

GROWING = frozenset(
    {
        *("volumes", "snapshots", "attachments", "transfers"),
        *("operations", "messages", "idempotency_keys"),
    }
)
ROWS = 100
"""How many rows PostgreSQL may look at for one statement."""
STEPS = 1500
"""How many instructions SQLite may carry out for one statement: a row in full is about 80."""


@dataclass
class Seen:
    """One statement with its plan, and what it cost in the database's own measure."""

    text: str
    plan: str
    cost: int
    bound: int

    @property
    def too_much(self) -> bool:
        return self.cost > self.bound

    def __str__(self) -> str:
        return f"{self.cost} of {self.bound}: {self.text}\n{self.plan}"


@dataclass
class ExplainedStore:
    """Reads and writes as a Store does, and leaves nothing behind."""

    store: Store
    seen: list[Seen] = field(default_factory=list)

    async def read(self, fn: Callable[[Any], T]) -> T:
        with self.store.engine.connect() as connection:
            if not self.store.is_sqlite:
                # What remains of scans then is what no index could have spared.
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            try:
                return fn(ExplainedTx(connection, self.seen))
            finally:
                connection.rollback()

    write = read


class ExplainedTx:
    """See the module's text."""

    def __init__(self, connection: sa.Connection, seen: list[Seen]) -> None:
        self._connection = connection
        self._seen = seen
        self.now = datetime.now(UTC).replace(tzinfo=None)
        self.dialect = connection.dialect.name

    def rows(self, statement: sa.Executable, **parameters: Any) -> list[Any]:
        return self._carry_out(statement, parameters)[0]

    def first(self, statement: sa.Executable, **parameters: Any) -> Any:
        return next(iter(self.rows(statement, **parameters)), None)

    def scalar(self, statement: sa.Executable, **parameters: Any) -> Any:
        row = self.first(statement, **parameters)
        return None if row is None else row[0]

    def run(self, statement: sa.Executable, **parameters: Any) -> int:
        return self._carry_out(statement, parameters)[1]

    def update(
        self, statement: sa.Update, where: Mapping[str, Any], values: Mapping[str, Any]
    ) -> int:
        return self.run(statement, **values, **where)

    def insert(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        self._connection.execute(table.insert(), values)

    def insert_once(self, table: sa.Table, values: Mapping[str, Any]) -> bool:
        self.insert(table, values)
        return True

    def clock(self) -> float:
        return float(self._connection.execute(sa.select(db_now())).scalar_one())

    def stand_still(self) -> None:
        """Nobody else is here."""

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Nothing is committed."""

    def wake(self, *_: Any, **__: Any) -> None:
        """Nobody listens."""

    def _carry_out(
        self, statement: sa.Executable, parameters: Mapping[str, Any]
    ) -> tuple[list[Any], int]:
        texts: list[tuple[str, Any]] = []
        steps = 0

        def note(_c: Any, _cursor: Any, text: str, values: Any, *_: Any) -> None:
            if text.startswith(("SELECT", "UPDATE", "DELETE", "WITH", "(")):
                texts.append((text, values))

        def step() -> None:
            nonlocal steps
            steps += 10

        raw: Any = self._connection.connection.dbapi_connection
        sa.event.listen(self._connection, "before_cursor_execute", note)
        if self.dialect == "sqlite":
            raw.set_progress_handler(step, 10)
        try:
            result = self._connection.execute(statement, parameters or None)
            touched = result.rowcount
            rows = list(result.all()) if result.returns_rows else []
        finally:
            sa.event.remove(self._connection, "before_cursor_execute", note)
            if self.dialect == "sqlite":
                raw.set_progress_handler(None, 0)
        for text, values in texts:
            if self.dialect == "sqlite":
                plan = raw.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
                lines = "\n".join(f"    {line[3]}" for line in plan)
                self._seen.append(Seen(text, lines, steps, STEPS))
            else:
                self._seen.append(_explained(raw, text, values))
        return rows, touched


def _explained(raw: Any, text: str, values: Any) -> Seen:
    cursor = raw.cursor()
    cursor.execute("SAVEPOINT explained")
    cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}", values)
    found = cursor.fetchone()[0]
    cursor.execute("ROLLBACK TO SAVEPOINT explained")
    nodes = list(_nodes(found[0]["Plan"]))
    lines = "\n".join(f"    {json.dumps(one)}" for one in nodes)
    return Seen(text, lines, sum(map(_looked_at, nodes)), ROWS)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {name: value for name, value in plan.items() if name != "Plans"}
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _looked_at(node: dict[str, Any]) -> int:
    """Rows of a growing table that a node of the plan has had in its hands."""
    if not node["Node Type"].endswith("Scan") or node.get("Relation Name") not in GROWING:
        return 0
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    each = node["Actual Rows"] + sum(node.get(one, 0) for one in removed)
    return int(each * node["Actual Loops"])
