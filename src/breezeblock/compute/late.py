"""What a step that came too late may have done to a guest, and what is done about it.

An agent that was frozen for longer than its lease finds, when it wakes up, that another has carried
its work on. What it records is refused, but the call it was about to make is made. The agent's next
look at its guests puts right what that leaves: disks that are missing or foreign, guests that run
unasked. Two things it cannot tell: a guest that was stopped too late looks as if it had ended by
itself, and what was reserved, made or marked too late lies in block storage. So whoever did it says
so.
"""

from __future__ import annotations

from breezeblock.compute.workflows import (
    attach_server_volume,
    check_server,
    create_server,
    detach_server_volume,
    reboot_server,
    start_server,
    stop_server,
)
from breezeblock.model.operation import Operation
from breezeblock.operations.submit import Caller
from breezeblock.store import operations, servers
from breezeblock.store.store import WriteTx

STOPPING = frozenset({stop_server.WORKFLOW.name, reboot_server.WORKFLOW.name})
RESERVING = frozenset({create_server.WORKFLOW.name, attach_server_volume.WORKFLOW.name})


def overtaken(tx: WriteTx, held: Operation) -> None:
    """Have it put right what the step of this operation may have done too late."""
    caller = Caller(held.project_id, held.user_id, held.request_id)
    if held.workflow in STOPPING:
        _start(tx, caller, held.resource_id)
    elif held.workflow in RESERVING:
        told = check_server.Data(held.data["server_id"], makes=tuple(held.data.get("makes", ())))
        check_server.request(tx, caller, told, held.queue)
    elif held.workflow == detach_server_volume.WORKFLOW.name:
        told = check_server.Data(held.data["server_id"], marked=(held.data["volume_id"],))
        check_server.request(tx, caller, told, held.queue)


def _start(tx: WriteTx, caller: Caller, server_id: str) -> None:
    """Start a guest that is to run; one that runs is left alone."""
    server = servers.find(tx, server_id)
    if server and server.status == "ACTIVE" and operations.open_on(tx, server_id) is None:
        start_server.submit(tx, caller, server)
