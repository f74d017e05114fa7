"""Bringing a database up to date: migrations, and the rows that must always be there.

Called by every service at start. Several may start at once: the first one migrates, the others
wait for it (an advisory lock on PostgreSQL, the write lock on SQLite).
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy.exc import DBAPIError

from breezeblock.model.ids import new_id
from breezeblock.store.store import Store, StoreUnavailable, WriteTx
from breezeblock.store.tables import volume_types

MIGRATION_LOCK = 0x627A626B
MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(store: Store) -> None:
    """Migrate to the newest schema. Raises StoreUnavailable when the database is away."""
    if store.is_sqlite:
        database = store.engine.url.database
        if database and database != ":memory:":
            Path(database).parent.mkdir(parents=True, exist_ok=True)
            # Hosts' secrets are in it; SQLite gives the files beside it the same modes.
            Path(database).touch(mode=0o600)
    try:
        with store.engine.execution_options(immediate=True).begin() as connection:
            if not store.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise StoreUnavailable(f"The database cannot be migrated: {error.orig}") from error


def alembic_config() -> AlembicConfig:
    """Alembic's settings; the caller adds the connection."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


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
