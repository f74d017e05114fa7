"""What a step that came too late may have done to a guest, and what is done about it.

An agent that was frozen for longer than its lease finds, when it wakes up, that another has carried
its work on. What it records is refused, but the call it was about to make is made. The agent's next
look at its guests puts right what that leaves: disks that are missing or foreign, guests that run
unasked. One thing it cannot tell: a guest that was stopped too late looks as if it had ended by
itself. So whoever stopped it says so.
"""

from __future__ import annotations

from breezeblock.compute.workflows import reboot_server, start_server, stop_server
from breezeblock.model.operation import Operation
from breezeblock.operations.submit import Caller
from breezeblock.store import operations, servers
from breezeblock.store.store import WriteTx

STOPPING = frozenset({stop_server.WORKFLOW.name, reboot_server.WORKFLOW.name})


def overtaken(tx: WriteTx, held: Operation) -> None:
    """Have a guest that is to run started, in case that it was stopped too late."""
    if held.workflow not in STOPPING:
        return
    server = servers.find(tx, held.resource_id)
    if server is None or server.status != "ACTIVE" or operations.open_on(tx, server.id):
        return
    caller = Caller(held.project_id, held.user_id, held.request_id)
    start_server.submit(tx, caller, server)
