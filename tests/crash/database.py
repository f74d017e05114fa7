"""The empty database that every stage begins with: migrated once a process, then copied."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from breezeblock.store import schema

GUARDS = (
    "CREATE TABLE never (text TEXT)",
    """CREATE TRIGGER epochs_never_go_back AFTER UPDATE ON operations WHEN NEW.epoch < OLD.epoch
       BEGIN INSERT INTO never VALUES ('the epoch of operation ' || OLD.id || ' went back'); END""",
    """CREATE TRIGGER ends_are_final AFTER UPDATE ON operations
       WHEN OLD.state <> 'open' AND NEW.state <> OLD.state
       BEGIN INSERT INTO never VALUES ('operation ' || OLD.id || ' had ended already'); END""",
    """CREATE TRIGGER only_the_present_worker_writes AFTER UPDATE OF trail ON operations
       WHEN json_extract(NEW.trail, '$[#-1].epoch') <> OLD.epoch
       BEGIN INSERT INTO never VALUES (
           'a worker with an old epoch wrote to operation ' || OLD.id || ' (' || OLD.workflow || ')'
       ); END""",
    """CREATE TRIGGER leases_are_respected AFTER UPDATE OF epoch ON operations
       WHEN NEW.state = 'open' AND NEW.epoch > OLD.epoch
            AND OLD.lease_until > (julianday('now') - 2440587.5) * 86400.0 + 0.01
       BEGIN INSERT INTO never VALUES (
           'operation ' || OLD.id || ' was taken from a worker whose lease was not over'
       ); END""",
)
"""What must never be written, not even for a moment: the database notes it down here."""


@cache
def migrated() -> bytes:
    """A SQLite database with the present schema, as bytes to begin from."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    store: Any = SimpleNamespace(is_sqlite=True, engine=engine)
    schema.upgrade(store)
    with engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        for guard in GUARDS:
            raw.execute(guard)
        raw.commit()
        copy: bytes = raw.serialize()
    engine.dispose()
    return copy
