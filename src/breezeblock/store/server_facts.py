"""The rows of the compute database that the invariants of servers look at."""

from __future__ import annotations

import sqlalchemy as sa

from breezeblock.model.invariants.servers import ServerFacts
from breezeblock.model.operation import Operation
from breezeblock.store import servers as queries
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import operations, server_volumes, servers

QUEUES = "compute."
"""How the queues of agents begin; in a database of its own there is no other work."""


def read(tx: ReadTx) -> ServerFacts:
    """The whole of it as it stands now: for tests and the doctor, not for serving requests."""
    work = sa.select(operations).where(operations.c.queue.startswith(QUEUES))
    found = [queries._server(row) for row in tx.rows(sa.select(servers))]
    return ServerFacts(
        now=tx.clock(),
        servers={server.id: server for server in found},
        volumes=[queries._volume(row) for row in tx.rows(sa.select(server_volumes))],
        operations=[Operation(**row._mapping) for row in tx.rows(work)],
    )
