"""The empty database that every stage begins with, and what watches over it."""

from __future__ import annotations

from tests.new_database import migrated

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


def guarded() -> bytes:
    """A SQLite database with the present schema and the guards, as bytes to begin from."""
    return migrated(*GUARDS)
