"""Attach a volume to a server.

api    submit    checks, the device name reserved, the row `attaching`
agent  reserve   block storage keeps the volume for the server
agent  connect   block storage lets this host in
agent  plug      the guest gets the disk
agent  complete  block storage hears that it has

When a step fails: the disk is unplugged, the attachment deleted, and the row goes. A server that is
stopped gets the disk when it starts.
"""

from __future__ import annotations

from breezeblock.compute.doors import queue_of
from breezeblock.compute.hypervisor import GuestNotFound, GuestNotRunning
from breezeblock.compute.workflows import volumes
from breezeblock.compute.workflows.undoing import Undoable, undoable
from breezeblock.model.errors import Failure, OperationFailed
from breezeblock.model.operation import Operation
from breezeblock.model.servers import DELETING, Server, ServerVolume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Next, Outcome, Run, Workflow
from breezeblock.store import servers
from breezeblock.store.store import ReadTx, WriteTx

RESOURCE = "server-volume"

SERVER_GONE = Failure(
    code="gone",
    message="The server is being deleted.",
    cause="Its deletion was asked for while one of its volumes was on the way.",
    remedy="Nothing needs to be done: the deletion gives the volume back.",
)


class Data(Undoable, frozen=True, kw_only=True):
    """Which row, and what it joins."""

    row_id: str
    server_id: str
    volume_id: str


def turn_of(volume_id: str, server_id: str) -> str:
    """The name under which work on one volume of one server takes turns."""
    return f"{volume_id}@{server_id}"


def submit(tx: WriteTx, caller: Caller, server: Server, row: ServerVolume) -> str:
    """Open the operation; returns its id. The row was written in this transaction."""
    volume_id = row.volume_id or ""
    data = Data(row_id=row.id, server_id=server.id, volume_id=volume_id)
    turn = turn_of(volume_id, server.id)
    return submit_operation(tx, WORKFLOW, caller, turn, data, queue_of(server.host or ""))


async def undo(run: Run[Data]) -> None:
    """Take the disk out again, and let go of the volume."""
    data = run.data
    found = await run.doors.store.read(lambda tx: _find(tx, data))
    if found is None:
        return
    server, row = found
    host = run.doors.host
    await host.hypervisor.detach(data.server_id, data.volume_id, host.detach_timeout)
    await volumes.release(run.doors.storage_of(server), row)


@undoable(undo)
async def reserve(run: Run[Data]) -> Outcome:
    data = run.data
    server, row = await _get(run)
    attachment_id = await volumes.reserve(run.doors.storage_of(server), row)
    return Next(
        run.operation.queue,
        settle=lambda tx: servers.update_volume(tx, data.row_id, attachment_id=attachment_id),
        note=f"attachment {attachment_id}",
    )


@undoable(undo)
async def connect(run: Run[Data]) -> Outcome:
    server, row = await _get(run)
    storage, host = run.doors.storage_of(server), run.doors.host
    await volumes.connect(storage, host, row.attachment_id or "", row.device)
    return Next(run.operation.queue, note=f"host {host.name} let in")


@undoable(undo)
async def plug(run: Run[Data]) -> Outcome:
    server, row = await _get(run)
    disk = await volumes.disk_of(run.doors.storage_of(server), row)
    try:
        device = await run.doors.host.hypervisor.attach(server.id, disk)
    except (GuestNotRunning, GuestNotFound):
        return Next(run.operation.queue, note="the guest does not run: it gets it when it starts")
    return Next(
        run.operation.queue,
        settle=lambda tx: _note_device(tx, row, device),
        note=f"plugged as {device}",
    )


@undoable(undo)
async def complete(run: Run[Data]) -> Outcome:
    server, row = await _get(run)
    await run.doors.storage_of(server).complete(row.attachment_id or "")
    return Done(
        result={"device": row.device},
        settle=lambda tx: servers.update_volume(tx, row.id, state="attached"),
    )


async def _get(run: Run[Data]) -> tuple[Server, ServerVolume]:
    found: tuple[Server, ServerVolume] | None = await run.doors.store.read(
        lambda tx: _find(tx, run.data)
    )
    if found is None or found[0].task_state == DELETING:
        raise OperationFailed(SERVER_GONE)
    return found


def _find(tx: ReadTx, data: Data) -> tuple[Server, ServerVolume] | None:
    server, row = servers.find(tx, data.server_id), servers.find_volume(tx, data.row_id)
    return (server, row) if server is not None and row is not None else None


def _note_device(tx: WriteTx, row: ServerVolume, device: str) -> None:
    """A disk that was there already has kept the name it had."""
    taken = {one.device for one in servers.volumes_of(tx, row.server_id)}
    if device not in taken:
        servers.update_volume(tx, row.id, device=device)


def _settle_failure(tx: WriteTx, _operation: Operation, data: Data, _failure: Failure) -> None:
    if data.undone:
        servers.delete_volume(tx, data.row_id)
    else:
        servers.update_volume(tx, data.row_id, state="error")


WORKFLOW = Workflow(
    "attach_server_volume", RESOURCE, Data, (reserve, connect, plug, complete), _settle_failure
)
