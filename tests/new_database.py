"""An empty SQLite database with the present schema: migrated once a process, then copied."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from breezeblock.store import schema
from breezeblock.store.store import Store


@cache
def migrated(*further: str) -> bytes:
    """Its file's content; `further` statements are carried out in it, too."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    store: Any = SimpleNamespace(is_sqlite=True, engine=engine)
    schema.upgrade(store)
    with engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        for statement in further:
            raw.execute(statement)
        raw.commit()
        copy: bytes = raw.serialize()
    engine.dispose()
    return copy


def new_store(file: Path) -> Store:
    """A store over a new database in this file, or over the one that is there."""
    if not file.exists():
        file.write_bytes(migrated())
    return Store(f"sqlite:///{file}")
