"""Restart a server.

api    submit  the server is `rebooting`
agent  stop    its guest ends: politely, or at once when the client wants it hard
agent  start   it runs again, with the volumes it has now
"""

from __future__ import annotations

import msgspec

from breezeblock.compute.doors import queue_of
from breezeblock.compute.workflows.delete_server import RESOURCE
from breezeblock.compute.workflows.guests import check_task, start_guest, stop_guest
from breezeblock.compute.workflows.start_server import not_started, started, to_start
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Server
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Next, Outcome, Run, Workflow
from breezeblock.store import servers
from breezeblock.store.store import WriteTx

TASK = "rebooting"


class Data(msgspec.Struct, frozen=True):
    """Which server, and how."""

    server_id: str
    hard: bool


def submit(tx: WriteTx, caller: Caller, server: Server, *, hard: bool) -> str:
    """Open the operation; returns its id. Raises Conflict while other work is under way."""
    servers.update(tx, server.id, task_state=TASK)
    data = Data(server.id, hard)
    return submit_operation(tx, WORKFLOW, caller, server.id, data, queue_of(server.host or ""))


async def stop(run: Run[Data]) -> Outcome:
    server_id = run.data.server_id
    check_task(await run.doors.store.read(lambda tx: servers.get(tx, server_id)), TASK)
    patience = 0.0 if run.data.hard else run.doors.host.shutdown_timeout
    await stop_guest(run.doors, server_id, patience)
    return Next(run.operation.queue)


async def start(run: Run[Data]) -> Outcome:
    server_id = run.data.server_id
    server, rows = await run.doors.store.read(lambda tx: to_start(tx, server_id))
    check_task(server, TASK)
    await start_guest(run.doors, server, rows)
    return Done(settle=lambda tx: started(tx, run.operation, server_id))


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    not_started(tx, operation, data.server_id, failure)


WORKFLOW = Workflow("reboot_server", RESOURCE, Data, (stop, start), _settle_failure)
