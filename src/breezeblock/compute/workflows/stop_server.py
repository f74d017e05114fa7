"""Stop a server; it keeps its volumes.

api    submit  the server is `powering-off`
agent  stop    its guest is asked to shut down, then its plug is pulled
"""

from __future__ import annotations

import msgspec

from breezeblock.compute.doors import queue_of
from breezeblock.compute.workflows.delete_server import RESOURCE, end_work
from breezeblock.compute.workflows.guests import check_task, stop_guest
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Server, fault_of
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import servers
from breezeblock.store.store import WriteTx

TASK = "powering-off"


class Data(msgspec.Struct, frozen=True):
    """Which server."""

    server_id: str


def submit(tx: WriteTx, caller: Caller, server: Server) -> str:
    """Open the operation; returns its id. Raises Conflict while other work is under way."""
    servers.update(tx, server.id, task_state=TASK)
    data = Data(server.id)
    return submit_operation(tx, WORKFLOW, caller, server.id, data, queue_of(server.host or ""))


async def stop(run: Run[Data]) -> Outcome:
    server_id = run.data.server_id
    check_task(await run.doors.store.read(lambda tx: servers.get(tx, server_id)), TASK)
    await stop_guest(run.doors, server_id, run.doors.host.shutdown_timeout)
    return Done(
        settle=lambda tx: end_work(tx, run.operation, server_id, status="SHUTOFF", fault=None)
    )


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """Whether the guest runs is seen by the agent's next look; until then it counts as running."""
    fault = fault_of(failure, tx.now)
    end_work(tx, operation, data.server_id, status="ACTIVE", fault=fault)


WORKFLOW = Workflow("stop_server", RESOURCE, Data, (stop,), _settle_failure)
