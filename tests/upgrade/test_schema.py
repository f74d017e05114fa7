"""The schema between releases: what migrations may do, and who may use which.

Today's code meets an empty database, an older one, and those of tomorrow: its migrations are in
`tests/upgrade/tomorrow` (it expands) and `day_after` (it removes what tomorrow's code does
not use).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy import Connection, MetaData

from breezeblock.store import schema
from breezeblock.store.schema import Migrations, SchemaMismatch
from breezeblock.store.store import Store
from breezeblock.store.tables import volumes
from tests.upgrade.expanding import narrower
from tests.upgrade.releases import BREEZEBLOCK

HERE = Path(__file__).parent
OURS = schema.MIGRATIONS / "versions"
TODAY = Migrations((OURS,))
TOMORROW = Migrations((OURS, HERE / "tomorrow"))
DAY_AFTER = Migrations((OURS, HERE / "tomorrow", HERE / "day_after"))

CONTRACTIONS: dict[str, str] = {}
"""Our own migrations that remove or narrow something, each with the reason why no code of the
release before needs that any more. Such a migration names the oldest code that it leaves."""


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path) -> AsyncIterator[Store]:
    """An empty database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/test.sqlite"
    else:
        name = f"upgrade_{abs(hash(request.node.name)) % 10**9}"
        url = request.getfixturevalue("postgres").create_database(name)
    made = Store(url)
    yield made
    made.close()


def stop_at(store: Store, migrations: Migrations, revision: str, connection: Connection) -> None:
    migrations.config.attributes["connection"] = connection
    command.upgrade(migrations.config, revision)


def narrowed(store: Store, migrations: Migrations) -> dict[str, list[str]]:
    """What each migration takes away, by running one after the other."""
    found = {}
    with store.engine.execution_options(immediate=True).begin() as connection:
        before = MetaData()
        for revision in migrations.revisions:
            stop_at(store, migrations, revision, connection)
            after = MetaData()
            after.reflect(connection)
            if lost := narrower(before, after):
                found[revision] = lost
            before = after
    return found


def test_a_start_that_finds_the_newest_schema_knows_it_without_alembic(tmp_path: Path) -> None:
    assert schema.newest() == TODAY.head
    start = (
        "import sys\n"
        "from breezeblock.store import schema\n"
        "from breezeblock.store.store import Store\n"
        f"store = Store('sqlite:///{tmp_path}/new.sqlite')\n"
        "ran = schema.upgrade(store)\n"
        "store.close()\n"
        "print(len(ran), 'alembic' in sys.modules)\n"
    )
    told = [subprocess.check_output([sys.executable, "-c", start], text=True) for _ in range(2)]
    assert told == [f"{len(TODAY.revisions)} True\n", "0 False\n"]


def test_every_migration_of_ours_only_expands(store: Store) -> None:
    found = narrowed(store, TODAY)
    assert set(found) == set(CONTRACTIONS), found
    said = {one for one in TODAY.revisions if TODAY.left_behind(one)}
    assert said == set(CONTRACTIONS)


def test_what_removes_or_narrows_is_seen(store: Store) -> None:
    found = narrowed(store, DAY_AFTER)
    assert set(found) == {"9999"}
    assert sorted(found["9999"]) == ["column volumes.description is gone", "table messages is gone"]


@pytest.mark.parametrize(
    ("column", "rule", "said"),
    [
        (sa.Column("a", sa.Integer), None, "column t.a was VARCHAR, is INTEGER"),
        (sa.Column("a", sa.String, nullable=False), None, "column t.a must not be null now"),
        (sa.Column("a", sa.String), sa.UniqueConstraint("a"), "t: new rule: unique ['a']"),
        (sa.Column("a", sa.String), sa.CheckConstraint("a > 'b'"), "t: new rule: check a > 'b'"),
        (
            sa.Column("a", sa.String),
            sa.Column("b", sa.Integer, nullable=False),
            "column t.b is new, and old code leaves it out",
        ),
        (
            sa.Column("a", sa.String),
            sa.Index("one", "a", unique=True),
            "t: new rule: unique index on ['a'] []",
        ),
    ],
)
def test_each_way_to_narrow_a_table_is_seen(column, rule, said) -> None:
    before, after = MetaData(), MetaData()
    sa.Table("t", before, sa.Column("a", sa.String))
    sa.Table("t", after, column, *([] if rule is None else [rule]))
    assert narrower(before, after) == [said]


def test_today_s_code_works_on_tomorrow_s_schema(store: Store) -> None:
    schema.upgrade(store)
    assert schema.upgrade(store, migrations=TOMORROW) == ("9998",)
    assert schema.upgrade(store) == ()
    state = schema.state(store)
    assert state.newer and state.usable
    assert (state.revision, state.oldest_code) == ("9998", schema.FIRST_PROMISE)
    with store.engine.begin() as connection:
        asyncio.run(schema.ensure_default_type(store, "default"))
        assert connection.execute(sa.select(volumes)).all() == []


def test_code_that_a_schema_leaves_behind_stops_with_one_line(store: Store) -> None:
    schema.upgrade(store, migrations=DAY_AFTER)
    assert schema.upgrade(store, migrations=TOMORROW) == ()
    with pytest.raises(SchemaMismatch) as refused:
        schema.upgrade(store)
    assert str(refused.value) == (
        "the database is too new: its schema is 9999, for code from 9998 on, and this is code "
        f"{TODAY.head}; run a newer release"
    )


def test_a_release_that_was_taken_back_comes_again(store: Store) -> None:
    """Code from before 0004 knows one table only: what that says is not what was run since."""
    with store.engine.execution_options(immediate=True).begin() as connection:
        stop_at(store, TODAY, "0003", connection)
        connection.execute(sa.text("DROP TABLE schema_revision"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0003')"))
    assert schema.state(store).revision == "0003"
    assert schema.upgrade(store) == TODAY.revisions[3:]
    with store.engine.begin() as connection:
        said = connection.execute(sa.text("SELECT version_num FROM alembic_version")).all()
        assert said == [("0003",)]
    assert schema.upgrade(store, migrations=TOMORROW) == ("9998",)
    assert schema.upgrade(store, migrations=TOMORROW) == ()


def test_where_the_operator_migrates_an_old_database_is_refused(store: Store) -> None:
    with pytest.raises(SchemaMismatch, match=r"empty, and this is code .*`breezeblock database"):
        schema.upgrade(store, migrate=False)
    schema.upgrade(store)
    assert schema.upgrade(store, migrate=False) == ()
    with pytest.raises(SchemaMismatch, match=f"its schema is {TODAY.head}, and this is code 9998"):
        schema.upgrade(store, migrate=False, migrations=TOMORROW)


def test_of_many_who_start_at_once_one_migrates(store: Store) -> None:
    others = [Store(store.url) for _ in range(6)]
    with ThreadPoolExecutor(len(others)) as threads:
        done = list(threads.map(lambda one: schema.upgrade(one, migrations=Migrations()), others))
    assert sorted(done) == [()] * 5 + [TODAY.revisions]
    for other in others:
        other.close()


def test_a_migration_that_is_cut_short_leaves_nothing_and_is_run_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.upgrade(store)
    before = schema.state(store)

    def cut(*_: object) -> None:
        raise ConnectionError("the process is killed")

    with monkeypatch.context() as patched:
        patched.setattr(Migrations, "oldest_code", cut)  # all migrations have run by then
        with pytest.raises(ConnectionError):
            schema.upgrade(store, migrations=TOMORROW)
    assert schema.state(store) == before
    assert "tomorrow_things" not in sa.inspect(store.engine).get_table_names()
    assert schema.upgrade(store, migrations=TOMORROW) == ("9998",)


def test_the_commands_say_how_things_stand_and_upgrade(tmp_path: Path) -> None:
    def breezeblock(*words: str) -> subprocess.CompletedProcess[str]:
        command_line = [str(BREEZEBLOCK), *words, "--data", str(tmp_path)]
        return subprocess.run(command_line, capture_output=True, text=True)

    found = breezeblock("database", "status")
    assert found.returncode == 1
    assert "block storage: schema empty; to be run: 0001, 0002" in found.stdout
    assert not list(tmp_path.iterdir())
    done = breezeblock("database", "upgrade")
    assert (done.returncode, done.stdout.count(", ".join(TODAY.revisions))) == (0, 2)
    found = breezeblock("database", "status", "--json")
    assert found.returncode == 0
    assert {one["revision"] for one in json.loads(found.stdout).values()} == {TODAY.head}
    store = Store(f"sqlite:///{tmp_path}/breezeblock.sqlite")
    schema.upgrade(store, migrations=DAY_AFTER)
    store.close()
    found = breezeblock("database", "status")
    assert found.returncode == 1 and "it CANNOT be used" in found.stdout
    refused = breezeblock("run", "api", "scheduler", "volume")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("breezeblock: the database is too new")
