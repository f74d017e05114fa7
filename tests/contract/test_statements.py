"""Statements go to drivers without SQLAlchemy's execution, which is the oracle for what they do."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from breezeblock.model.ids import new_id
from breezeblock.store import postgresql_link, quotas, schema, statements
from breezeblock.store.clock import db_now
from breezeblock.store.store import ReadTx, Store, StoreUnavailable, WriteTx
from breezeblock.store.tables import (
    metadata,
    quota_limits,
    quota_usages,
    volume_types,
    volumes,
)
from tests.engines.postgres import Postgres
from tests.new_database import new_store

TEXT = "Größe 🐘 100%_ \\ ' \" $1 %s :name\n"
NEW_YEAR = datetime.fromisoformat("2026-01-01T00:00:00")
SAMPLES: dict[type, Callable[[bool], Any]] = {
    sa.String: lambda other: "one" if other else TEXT[:16],
    sa.Text: lambda other: "" if other else TEXT,
    sa.Integer: lambda other: -(2**31) if other else 2**31 - 1,
    sa.Float: lambda other: 0.1 if other else 1763866433.123456,
    sa.Boolean: lambda other: other,
    sa.DateTime: lambda other: NEW_YEAR.replace(microsecond=1 if other else 0),
    sa.LargeBinary: lambda other: b"" if other else bytes(range(256)),
    sa.JSON: lambda other: [] if other else {"a": [1, 2.5, None, True, {"ü": TEXT}], "2": 2**70},
}


def sample(table: sa.Table, *, other: bool) -> dict[str, Any]:
    """A row with a value in each column; the other one has as many NULLs as it may."""
    return {
        column.name: None if other and column.nullable else _value(column, other=other)
        for column in table.columns
    }


def _value(column: sa.Column[Any], *, other: bool) -> Any:
    if column.primary_key or column.foreign_keys or column.unique:
        return "two" if other else "one"
    if isinstance(column.type, sa.String) and (column.type.length or 300) < 200:
        return "two" if other else "one"
    return SAMPLES[type(column.type)](other)


async def test_each_column_of_each_table_is_written_and_read_as_sqlalchemy_does(
    store: Store,
) -> None:
    """What is stored is compared as the database's own text, too."""
    for table in metadata.sorted_tables:
        rows, stored_as = sa.select(table).order_by(*table.primary_key), _as_text(table)
        for other in (False, True):
            row = sample(table, other=other)
            with store.engine.connect() as connection, connection.begin() as undone:
                connection.execute(table.insert(), row)
                theirs = [tuple(one) for one in connection.execute(rows)]
                stored = [tuple(one) for one in connection.execute(stored_as)]
                undone.rollback()

            await store.write(partial(WriteTx.insert, table=table, values=row))
            with store.engine.connect() as connection:
                assert [tuple(one) for one in connection.execute(stored_as)] == stored
            ours = [tuple(one) for one in await store.read(partial(ReadTx.rows, statement=rows))]
            assert ours == theirs
            assert [[*map(type, one)] for one in ours] == [[*map(type, one)] for one in theirs]


def _as_text(table: sa.Table) -> sa.Select[Any]:
    texts = [
        sa.cast(column, sa.Text)
        for column in table.columns
        if not isinstance(column.type, sa.LargeBinary)
    ]
    return sa.select(*texts).order_by(*table.primary_key)


async def test_columns_that_are_left_out_get_their_defaults(store: Store) -> None:
    row = {"id": "v", "name": "n", "created_at": NEW_YEAR}

    def write(tx: WriteTx) -> Any:
        tx.insert(volume_types, row)
        return tx.first(sa.select(volume_types))

    found = await store.write(write)
    assert (found.is_public, found.extra_specs, found.description) == (True, {}, None)
    found.extra_specs["mine"] = 1
    await store.write(lambda tx: tx.insert(volume_types, {**row, "id": "w", "name": "m"}))
    assert await store.read(lambda tx: tx.scalar(sa.select(volume_types.c.extra_specs))) == {}


async def test_a_row_is_read_by_name_by_place_and_as_a_mapping(store: Store) -> None:
    def read(tx: ReadTx) -> Any:
        count = sa.literal(2, sa.Integer).label("count")
        return tx.first(sa.select(sa.literal("x", sa.String).label("name"), count))

    row = await store.read(read)
    name, count = row
    assert (name, count) == (row.name, row[1]) == ("x", 2) == tuple(row)
    assert row._mapping == {"name": "x", "count": 2}
    assert row == ("x", 2)
    with pytest.raises(AttributeError):
        _ = row.other


async def test_plain_text_has_the_columns_that_the_database_names(store: Store) -> None:
    text = sa.text("SELECT :one AS first, 5 % 3 AS rest, NULL AS missing")
    row = await store.read(lambda tx: tx.first(text, one=7))
    assert dict(row._mapping, first=int(row.first)) == {"first": 7, "rest": 2, "missing": None}


async def test_null_of_json_and_of_sql_stay_apart(store: Store) -> None:
    """None is JSON's null, as SQLAlchemy has it; NULL has to be asked for. Both read as None."""
    column = sa.Column("value", sa.JSON)
    table = sa.Table("doors", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), column)
    table.create(store.engine)

    def write(tx: WriteTx) -> None:
        tx.insert(table, {"id": 1, "value": None})
        tx.run(table.insert().values(id=2, value=sa.null()))
        tx.run(table.insert().values(id=3, value=None))
        tx.update(table.update().where(table.c.id == sa.bindparam("n")), {"n": 3}, {"value": None})

    await store.write(write)
    null = sa.select(table.c.id).where(sa.type_coerce(table.c.value, sa.Integer).is_(None))
    assert [row.id for row in await store.read(lambda tx: tx.rows(null))] == [2]
    values = sa.select(table.c.value)
    assert [row.value for row in await store.read(lambda tx: tx.rows(values))] == [None] * 3


async def test_json_that_only_python_writes_is_read_again(tmp_path: Path) -> None:
    store = new_store(tmp_path / "db.sqlite")
    row = {"id": "v", "name": "n", "created_at": NEW_YEAR}
    specs = {"free": math.inf, "big": 2**70, "half": "\ud800"}
    await store.write(lambda tx: tx.insert(volume_types, {**row, "extra_specs": specs}))
    assert await store.read(lambda tx: tx.scalar(sa.select(volume_types.c.extra_specs))) == specs
    store.close()


def _set(project: str, **limits: int) -> Callable[[WriteTx], None]:
    def write(tx: WriteTx) -> None:
        for resource, limit in limits.items():
            quotas.set_limit(tx, project, resource, limit)

    return write


async def test_a_statement_built_anew_has_its_own_values(store: Store) -> None:
    """They share one compiled text: the values of the first must not stay in it."""
    await store.write(_set("p", a=1, b=2, c=3))
    await store.write(_set("q", a=10))

    def found(tx: ReadTx, project: str, least: int, names: list[str]) -> set[tuple[str, int]]:
        c = quota_limits.c
        statement = sa.select(c.resource, c.hard_limit).where(
            c.project_id == project, c.hard_limit >= least, c.resource.in_(names)
        )
        return {(row.resource, row.hard_limit) for row in tx.rows(statement)}

    def all_of_them(tx: ReadTx) -> None:
        for _ in range(3):  # as first seen, being prepared, prepared
            assert found(tx, "p", 0, ["a", "b", "c", "d"]) == {("a", 1), ("b", 2), ("c", 3)}
            assert found(tx, "p", 2, ["a", "b"]) == {("b", 2)}
            assert found(tx, "q", 2, ["b", "a"]) == {("a", 10)}
            assert found(tx, "p", 0, []) == set()
            assert found(tx, "p", 0, ["c"]) == {("c", 3)}

    await store.read(all_of_them)


async def test_lists_and_patterns_take_what_they_are_given_as_it_is(store: Store) -> None:
    await store.write(_set("p", **{"50%": 1, "50_": 2, "50/x": 3, "500": 4, "it's": 5}))

    def names(tx: ReadTx, condition: sa.ColumnElement[bool]) -> set[str]:
        return {row.resource for row in tx.rows(sa.select(quota_limits).where(condition))}

    def check(tx: ReadTx) -> None:
        name = quota_limits.c.resource
        for text, whole in (("50%", "50%"), ("50_", "50_"), ("50/", "50/x")):
            for _ in range(3):
                assert names(tx, name.startswith(text, autoescape=True)) == {whole}
        assert len(names(tx, name.like("50%"))) == 4
        assert names(tx, name.in_(["it's", "50%"])) == {"it's", "50%"}
        assert len(names(tx, name.not_in([]))) == 5
        assert names(tx, name.not_in(["it's"])) == {"50%", "50_", "50/x", "500"}

    await store.read(check)


async def test_how_many_rows_were_touched(store: Store) -> None:
    one = sa.bindparam("project")
    update = quota_limits.update().where(quota_limits.c.project_id == one)
    row = {"project_id": "r", "resource": "a", "hard_limit": 1}

    def write(tx: WriteTx) -> None:
        _set("p", a=1, b=2)(tx)
        assert tx.update(update, {"project": "p"}, {"hard_limit": 5}) == 2
        assert tx.update(update, {"project": "nobody"}, {"hard_limit": 5}) == 0
        assert [tx.insert_once(quota_limits, row) for _ in range(3)] == [True, False, False]
        again = quota_limits.insert().values(row)
        assert [tx.insert_unless_taken(again) for _ in range(3)] == [False] * 3
        gone = quota_limits.delete().returning(quota_limits.c.resource)
        assert sorted(found.resource for found in tx.rows(gone)) == ["a", "a", "b"]
        assert tx.run(quota_limits.delete()) == 0
        assert tx.insert_unless_taken(again)

    await store.write(write)


async def test_of_what_changes_and_returns_only_the_first_row_all_is_changed(store: Store) -> None:
    def write(tx: WriteTx) -> Any:
        _set("p", a=1, b=2, c=3)(tx)
        return tx.first(
            quota_limits.update().values(hard_limit=9).returning(quota_limits.c.hard_limit)
        )

    assert tuple(await store.write(write)) == (9,)
    assert set((await store.read(lambda tx: quotas.limits(tx, "p", None, {}))).values()) == {9}


async def test_a_value_that_is_missing_is_named(store: Store) -> None:
    statement = sa.select(volumes).where(volumes.c.id == sa.bindparam("the_id"))
    with pytest.raises(sa.exc.StatementError, match="the_id"):
        await store.read(lambda tx: tx.rows(statement))


async def test_errors_are_sqlalchemys_and_the_store_works_on(store: Store) -> None:
    missing = sa.text("SELECT some FROM nowhere")
    refused = sa.exc.ProgrammingError if not store.is_sqlite else StoreUnavailable
    with pytest.raises(refused) as error:
        await store.read(lambda tx: tx.rows(missing))
    assert "nowhere" in getattr(error.value, "reason", str(error.value))
    with pytest.raises(refused):
        await store.write(lambda tx: tx.rows(missing))
    await store.write(_set("p", a=1))
    assert await store.read(lambda tx: quotas.limits(tx, "p", None, {})) == {"a": 1}


async def test_a_refused_insert_fails_its_transaction_and_is_not_taken_for_the_next_one(
    store: Store,
) -> None:
    """Nobody waits for its answer: so it is heard with what comes next."""
    row = {"project_id": "p", "resource": "a", "hard_limit": 1}
    for project in "xyz":
        await store.write(
            partial(WriteTx.insert, table=quota_limits, values={**row, "project_id": project})
        )

    def twice(tx: WriteTx) -> None:
        tx.insert(quota_limits, row)
        tx.insert(quota_limits, row)

    def then_another(tx: WriteTx) -> None:
        twice(tx)
        tx.insert_unless_taken(quota_limits.insert().values({**row, "resource": "b"}))

    for write in (twice, then_another):
        with pytest.raises(sa.exc.IntegrityError):
            await store.write(write)
        assert await store.read(lambda tx: quotas.limits(tx, "p", None, {})) == {}


async def test_who_waited_for_a_lock_has_a_later_time_than_who_held_it(store: Store) -> None:
    holds, waits = threading.Event(), threading.Event()
    await store.write(_set("p", a=0))
    lock = sa.select(quota_limits).with_for_update()

    def first(tx: WriteTx) -> float:
        tx.rows(lock)
        holds.set()
        waits.wait(10)
        time.sleep(0.05)  # until the other one waits for the lock, if it can
        return float(tx.scalar(sa.select(db_now())))

    def second(tx: WriteTx) -> float:
        tx.rows(lock)
        return tx.clock()

    former = asyncio.create_task(store.write(first))
    await asyncio.to_thread(holds.wait, 10)
    latter = asyncio.create_task(store.write(second))
    await asyncio.sleep(0)
    waits.set()
    assert await former < await latter


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create_database(f"store_{new_id().replace('-', '')[:12]}")


def _end_sessions(url: str) -> None:
    """As a database that is restarted does."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    ours = "datname = current_database() AND pid <> pg_backend_pid()"
    with engine.connect() as connection:
        ended = sa.text(
            f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {ours}"
        )
        assert all(row[0] for row in connection.execute(ended))


async def test_connections_lost_while_nobody_used_them_are_not_noticed(url: str) -> None:
    store = Store(url)
    schema.upgrade(store)
    for number in range(3):
        await store.write(_set("p", a=number))
        _end_sessions(url)
        assert await store.read(lambda tx: quotas.limits(tx, "p", None, {})) == {"a": number}
        _end_sessions(url)
    store.close()


async def test_a_connection_lost_in_the_middle_fails_the_transaction_once(url: str) -> None:
    """Its end above all: nobody knows whether it was kept, so it must not run again."""
    store, ran = Store(url), []
    schema.upgrade(store)
    await store.write(_set("p", a=1))

    def charged(tx: WriteTx) -> None:
        ran.append(tx)
        quotas.record(tx, "p", {"volumes": 1})
        _end_sessions(url)

    def told(tx: WriteTx) -> None:
        ran.append(tx)
        tx.insert(quota_limits, {"project_id": new_id(), "resource": "a", "hard_limit": 1})
        _end_sessions(url)

    for write in (charged, told, told, told):
        with pytest.raises(StoreUnavailable):
            await store.write(write)
    assert len(ran) == 4
    assert (
        await store.read(lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(quota_usages)))
        == 0
    )
    store.close()


async def test_an_error_that_is_overlooked_does_not_pass_for_a_commit(url: str) -> None:
    """PostgreSQL undoes such a transaction, and says so in its answer to COMMIT alone."""
    store = Store(url)
    schema.upgrade(store)

    def write(tx: WriteTx) -> None:
        _set("p", a=1)(tx)
        with pytest.raises(sa.exc.DBAPIError):
            tx.run(sa.text("SELECT some FROM nowhere"))

    with pytest.raises(sa.exc.DBAPIError):
        await store.write(write)
    store.close()


async def test_there_is_an_end_to_what_a_connection_keeps_prepared(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_link, "PREPARED", 5)
    store = Store(url)
    schema.upgrade(store)
    for round_ in range(4):
        for length in range(6):
            names = [str(number) for number in range(length)]
            await store.write(_set("p", **dict.fromkeys(names, round_)))
            limits = await store.read(lambda tx, names=names: quotas.limits(tx, "p", names, {}))
            assert limits == dict.fromkeys(names, round_)
    kept = sa.text("SELECT count(*) FROM pg_prepared_statements")
    assert await store.write(lambda tx: tx.clock() and tx.scalar(kept)) < 20
    store.close()


async def test_what_a_socket_does_not_take_at_once_is_sent(url: str) -> None:
    with closing(Store(url)) as store:
        length = sa.select(sa.func.length(sa.bindparam("text", type_=sa.Text)))
        asked = store.write(lambda tx: tx.rows(length, text="x" * 30_000_000)[0][0])
        assert await asyncio.wait_for(asked, 60) == 30_000_000


@pytest.mark.parametrize("way", ["read", "write"])
async def test_a_prepared_statement_that_the_database_has_forgotten_fails_once(
    url: str, way: str
) -> None:
    statement = sa.select(sa.bindparam("number", type_=sa.Integer))
    with closing(Store(url, threads=1)) as store:

        async def ask(asked: sa.Executable, **values: Any) -> list[Any]:
            return list(await getattr(store, way)(lambda tx: tx.rows(asked, **values)))

        for _ in range(3):
            await ask(statement, number=1)
        with pytest.raises(sa.exc.DBAPIError):
            await ask(sa.text("DEALLOCATE ALL"))  # a transaction's clock is prepared, too
            await ask(statement, number=1)
        for _ in range(3):
            assert await ask(statement, number=2) == [(2,)]


async def test_shapes_that_are_dropped_are_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lists chooses filters as he likes: there is no end of shapes."""
    monkeypatch.setattr(statements, "SHAPES", 20)

    made = []

    async def ask(number: int) -> None:
        filters = (sa.literal(one) == sa.literal(one) for one in range(number))
        statement = sa.select(sa.literal(1)).where(*filters)
        made.append(weakref.ref(statement))
        await store.read(lambda tx: tx.rows(statement))

    for number in range(100):
        await ask(number)
    gc.collect()
    assert sum(one() is not None for one in made) <= 20


async def test_a_transaction_that_ends_like_an_iteration_is_answered(store: Store) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await store.write(lambda tx: next(iter(())))
