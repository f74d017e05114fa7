"""Let a guest see that a volume of its server has grown.

api    submit  block storage has told of the growth
agent  resize  the guest's disk gets the size that the storage shows
"""

from __future__ import annotations

import msgspec

from breezeblock.compute.doors import queue_of
from breezeblock.compute.hypervisor import GuestNotFound, GuestNotRunning
from breezeblock.compute.workflows.attach_server_volume import RESOURCE, turn_of
from breezeblock.compute.workflows.volumes import GIB
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Server
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import servers
from breezeblock.store.store import WriteTx


class Data(msgspec.Struct, frozen=True):
    """Which volume of which server."""

    server_id: str
    volume_id: str


def submit(tx: WriteTx, caller: Caller, server: Server, volume_id: str) -> str:
    """Open the operation; returns its id. Raises Conflict while the volume comes or goes."""
    data = Data(server.id, volume_id)
    turn = turn_of(volume_id, server.id)
    return submit_operation(tx, WORKFLOW, caller, turn, data, queue_of(server.host or ""))


async def resize(run: Run[Data]) -> Outcome:
    data = run.data
    server = await run.doors.store.read(lambda tx: servers.get(tx, data.server_id))
    volume = await run.doors.storage_of(server).volume(data.volume_id)
    hypervisor = run.doors.host.hypervisor
    try:
        seen = await hypervisor.resize(data.server_id, data.volume_id, volume.size * GIB)
    except (GuestNotRunning, GuestNotFound):
        return Done(note="the guest does not run: it sees the size when it starts")
    return Done(result={"bytes": seen}, note=f"the guest sees {seen} bytes")


def _settle_failure(_tx: WriteTx, _operation: Operation, _data: Data, _failure: Failure) -> None:
    """The volume has grown all the same; whoever told us is told that the guest has not seen it."""


WORKFLOW = Workflow("extend_server_volume", RESOURCE, Data, (resize,), _settle_failure)
