"""Bringing a database up to date: migrations, and the rows that must always be there.

Called by every service at start. Several may start at once: the first one migrates, the others
wait for it (an advisory lock on PostgreSQL, the write lock on SQLite); one that finds nothing to do
does not even load Alembic. All pending migrations are one transaction: one that is cut short has
changed nothing, and the next start runs it.

Old and new code share a database while a cloud is upgraded, and after a new version was taken back.
So a migration only *expands* (columns that may be left out, tables, indexes); what no code uses any
more goes in a later release, by a migration that says `oldest_code = "<revision>"`: code whose
newest migration is older than that cannot use the schema from there on.

Two tables say how things stand, each one row with one revision:

    schema_revision   the newest migration that was run
    alembic_version   the oldest code that may use the schema, by the newest migration it knows;
                      code from before 0004 looks nowhere else, and finds what it expects
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from breezeblock.model.ids import new_id
from breezeblock.store.store import Store, StoreUnavailable, WriteTx
from breezeblock.store.tables import volume_types

MIGRATION_LOCK = 0x627A626B
MIGRATIONS = Path(__file__).parent / "migrations"
FOLDERS: tuple[Path, ...] = (MIGRATIONS / "versions",)
LOCK_TIMEOUT = "10s"
"""How long a migration waits for a table that somebody uses. All who come after it wait as long."""

REVISION = "schema_revision"
OLDEST_CODE = "alembic_version"
FIRST_PROMISE = "0003"
"""The first code that may run on a newer schema than its own."""

_oldest_code = sa.table(OLDEST_CODE, sa.column("version_num"))


class SchemaMismatch(ValueError):
    """This code and this database do not go together; the message says what to do."""


class State(msgspec.Struct, frozen=True):
    """How a database and this code stand to each other.

    `revision` is None for an empty database. `pending`: migrations that would be run.
    `newer`: migrations were run that this code does not know.
    """

    revision: str | None
    oldest_code: str | None
    code: str
    pending: tuple[str, ...]
    newer: bool
    usable: bool


class Migrations:
    """The migrations that this code knows, oldest first."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        from alembic.config import Config as AlembicConfig
        from alembic.script import ScriptDirectory

        self.config = AlembicConfig()
        self.config.set_main_option("script_location", str(MIGRATIONS))
        self.config.set_main_option("path_separator", "newline")
        self.config.set_main_option("version_locations", "\n".join(map(str, folders or FOLDERS)))
        scripts = ScriptDirectory.from_config(self.config).walk_revisions()
        self._oldest_code: dict[str, str | None] = {
            one.revision: getattr(one.module, "oldest_code", None) for one in scripts
        }
        self.revisions = tuple(reversed(self._oldest_code))

    @property
    def head(self) -> str:
        return self.revisions[-1]

    def left_behind(self, revision: str) -> str | None:
        """The oldest code that a migration leaves able to work, where it leaves any behind."""
        return self._oldest_code[revision]

    def oldest_code(self) -> str:
        """The oldest code that may use the newest schema."""
        said = [self.left_behind(one) for one in self.revisions]
        return max((FIRST_PROMISE, *(one for one in said if one)), key=self.revisions.index)

    def pending(self, revision: str | None) -> tuple[str, ...]:
        """What is to be run; nothing when the database is newer than this code."""
        if revision is None:
            return self.revisions
        if revision not in self.revisions:
            return ()
        return self.revisions[self.revisions.index(revision) + 1 :]

    def compare(self, connection: Connection) -> State:
        """How the database of a connection stands to this code."""
        tables = set(sa.inspect(connection).get_table_names())
        oldest = _only_row(connection, OLDEST_CODE) if OLDEST_CODE in tables else None
        # Before 0004 there was only the one table: it said both.
        revision = (_only_row(connection, REVISION) if REVISION in tables else None) or oldest
        newer = revision is not None and revision not in self.revisions
        pending = self.pending(revision)
        usable = oldest in self.revisions if newer else not pending
        return State(revision, oldest, self.head, pending, newer, usable)

    def run(self, connection: Connection, state: State) -> None:
        """Run what is pending, and write down who may use the schema now."""
        from alembic import command

        self.config.attributes["connection"] = connection
        if state.revision is not None:
            command.stamp(self.config, state.revision)
        command.upgrade(self.config, "head")
        if state.oldest_code is None:
            connection.execute(_CREATE_OLDEST_CODE)
            connection.execute(_oldest_code.insert().values(version_num=self.oldest_code()))
        else:
            connection.execute(_oldest_code.update().values(version_num=self.oldest_code()))


_CREATE_OLDEST_CODE = sa.text(
    f"CREATE TABLE {OLDEST_CODE} (version_num VARCHAR(32) NOT NULL, "
    f"CONSTRAINT {OLDEST_CODE}_pkc PRIMARY KEY (version_num))"
)


def _only_row(connection: Connection, table: str) -> str | None:
    found = connection.execute(sa.select(sa.table(table, sa.column("version_num")))).scalar()
    return None if found is None else str(found)


def upgrade(
    store: Store, *, migrate: bool = True, migrations: Migrations | None = None
) -> tuple[str, ...]:
    """See to it that this code can use the database; what was run for it.

    With `migrate` an older schema is brought up to date, else it is refused. A newer one is taken
    as it is, where it allows that. Raises SchemaMismatch, or StoreUnavailable when the database is
    away.
    """
    if store.is_sqlite:
        _make_file(store)
    if migrations is None and _is_of_this_code(store):
        return ()
    known = migrations or Migrations()
    try:
        with store.engine.execution_options(immediate=True).begin() as connection:
            if not store.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
            state = known.compare(connection)
            if not state.usable and (state.newer or not migrate):
                raise SchemaMismatch(_refusal(state))
            if state.pending:
                known.run(connection, state)
            return state.pending
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable(f"The database cannot be migrated: {_line(error)}") from error
    except DBAPIError as error:
        # To wait and try again, as for one that is away, would not help.
        raise SchemaMismatch(f"the database refuses a migration: {_line(error)}") from error


def newest() -> str:
    """The newest migration of this code, by the names of their files, which begin with it."""
    return max(file.name.partition("_")[0] for folder in FOLDERS for file in folder.glob("*_*.py"))


def _is_of_this_code(store: Store) -> bool:
    """Whether a database has exactly the schema that this code knows, as nearly every start finds.

    One question, and no word about what else may be the case: that is for who knows migrations.
    """
    try:
        with store.engine.connect() as connection:
            return _only_row(connection, REVISION) == newest()
    except DBAPIError:
        return False


def state(store: Store, migrations: Migrations | None = None) -> State:
    """How the database stands to this code; changes nothing. Raises StoreUnavailable."""
    known = migrations or Migrations()
    if store.is_sqlite and not Path(store.engine.url.database or "").exists():
        return State(None, None, known.head, known.revisions, newer=False, usable=False)
    try:
        with store.engine.connect() as connection:
            return known.compare(connection)
    except DBAPIError as error:
        raise StoreUnavailable(f"The database cannot be looked at: {_line(error)}") from error


def _line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())


def _refusal(state: State) -> str:
    if state.newer:
        return (
            f"the database is too new: its schema is {state.revision}, for code from "
            f"{state.oldest_code} on, and this is code {state.code}; run a newer release"
        )
    return (
        f"the database is too old: its schema is {state.revision or 'empty'}, and this is code "
        f"{state.code}; run `breezeblock database upgrade`, or set migrate_at_start = true"
    )


def _make_file(store: Store) -> None:
    database = store.engine.url.database
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        # Hosts' secrets are in it; SQLite gives the files beside it the same modes.
        Path(database).touch(mode=0o600)


async def ensure_default_type(store: Store, name: str) -> None:
    """See to it that the default volume type is there."""

    def ensure(tx: WriteTx) -> None:
        if tx.first(sa.select(volume_types.c.id).where(volume_types.c.name == name)) is None:
            tx.insert_unless_taken(
                volume_types.insert().values(
                    id=new_id(),
                    name=name,
                    description="Taken when a request names no type",
                    created_at=tx.now,
                )
            )

    await store.write(ensure)
