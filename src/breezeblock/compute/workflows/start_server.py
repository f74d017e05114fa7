"""Start a server that is off.

api    submit  the server is `powering-on`
agent  start   its guest runs again, with the volumes it has now
"""

from __future__ import annotations

import msgspec

from breezeblock.compute.doors import queue_of
from breezeblock.compute.workflows.delete_server import RESOURCE, end_work
from breezeblock.compute.workflows.guests import check_task, start_guest
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Server, ServerVolume, fault_of
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import servers
from breezeblock.store.store import ReadTx, WriteTx

TASK = "powering-on"


class Data(msgspec.Struct, frozen=True):
    """Which server."""

    server_id: str


def submit(tx: WriteTx, caller: Caller, server: Server) -> str:
    """Open the operation; returns its id. Raises Conflict while other work is under way."""
    servers.update(tx, server.id, task_state=TASK)
    data = Data(server.id)
    return submit_operation(tx, WORKFLOW, caller, server.id, data, queue_of(server.host or ""))


async def start(run: Run[Data]) -> Outcome:
    server_id = run.data.server_id
    server, rows = await run.doors.store.read(lambda tx: to_start(tx, server_id))
    check_task(server, TASK)
    await start_guest(run.doors, server, rows)
    return Done(settle=lambda tx: started(tx, run.operation, server_id))


def to_start(tx: ReadTx, server_id: str) -> tuple[Server, list[ServerVolume]]:
    """A server, and the volumes that its guest is to have."""
    rows = servers.volumes_of(tx, server_id)
    return servers.get(tx, server_id), [row for row in rows if row.state == "attached"]


def started(tx: WriteTx, operation: Operation, server_id: str) -> None:
    end_work(tx, operation, server_id, status="ACTIVE", fault=None, launched_at=tx.now)


def not_started(tx: WriteTx, operation: Operation, server_id: str, failure: Failure) -> None:
    """The server stays off and shows why."""
    fault = fault_of(failure, tx.now)
    end_work(tx, operation, server_id, status="SHUTOFF", fault=fault)


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    not_started(tx, operation, data.server_id, failure)


WORKFLOW = Workflow("start_server", RESOURCE, Data, (start,), _settle_failure)
