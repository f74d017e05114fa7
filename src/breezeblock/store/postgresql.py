"""Connections with PostgreSQL that neither side keeps when the other one has gone silent.

A host that is cut off, or a process that is frozen, says no goodbye. We notice a silent database
within seconds, whatever the kernel's patience (minutes, or two hours). The same is asked of the
database for our sessions: one that vanished in the middle of a transaction would keep its locks,
and hold up whoever carries its work on.

What a statement was given stays out of what errors say, and so out of logs: it may be a secret.
"""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import Engine, event

from breezeblock.store.links import loads

IDLE, INTERVAL, COUNT = 5, 2, 3
"""Seconds of silence before the first question, between questions, and how many go unanswered."""

UNHEARD_MILLISECONDS = 10_000
"""How long what was sent may go unacknowledged."""

IDLE_IN_TRANSACTION_MILLISECONDS = 30_000
"""How long a transaction may do nothing: ours never wait for anything but the database."""


def pooled_engine(url: str, threads: int) -> Engine:
    """An engine for so many threads that read, and as many that write."""
    engine = sa.create_engine(
        url,
        pool_size=2 * threads,
        max_overflow=4,
        pool_timeout=10,
        pool_pre_ping=True,
        hide_parameters=True,
        json_deserializer=loads,
        connect_args={
            "connect_timeout": 5,
            "keepalives_idle": IDLE,
            "keepalives_interval": INTERVAL,
            "keepalives_count": COUNT,
            "tcp_user_timeout": UNHEARD_MILLISECONDS,
        },
    )

    # Not as `options` of the connection: poolers such as PgBouncer refuse these.
    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.autocommit = True  # what a transaction sets goes when it is rolled back
        for name, value in (
            ("tcp_keepalives_idle", IDLE),
            ("tcp_keepalives_interval", INTERVAL),
            ("tcp_keepalives_count", COUNT),
            ("tcp_user_timeout", UNHEARD_MILLISECONDS),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MILLISECONDS),
        ):
            connection.execute(f"SET {name} = {value}")
        connection.autocommit = False

    event.listen(engine, "handle_error", _leave_out_the_row)
    return engine


def _leave_out_the_row(context: sa.engine.ExceptionContext) -> None:
    """Keep what PostgreSQL says first; details that follow have the values of the refused row."""
    ours, theirs = context.sqlalchemy_exception, context.original_exception
    if isinstance(theirs, psycopg.Error) and (first := theirs.diag.message_primary):
        if ours is not None:
            ours.args = (str(ours.args[0]).replace(str(theirs), first),)
        leave_out_the_row(theirs)


def leave_out_the_row(error: psycopg.Error) -> None:
    """As above, for an error that nobody has wrapped yet."""
    if first := error.diag.message_primary:
        error.args = (first,)
