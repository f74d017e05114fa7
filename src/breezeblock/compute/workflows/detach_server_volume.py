"""Detach a volume from a server.

api    submit   checks, the row `detaching`
agent  begin    block storage marks the volume `detaching`
agent  unplug   the guest gives the disk back
agent  release  the attachment goes, and the row

A guest that keeps its disk keeps its volume: the mark is taken back. Once the disk is out there is
no way back: releasing is tried until it works.
"""

from __future__ import annotations

from http import HTTPStatus

from breezeblock.compute.block_storage import BlockStorage, BlockStorageError
from breezeblock.compute.doors import queue_of
from breezeblock.compute.explain import final
from breezeblock.compute.pauses import pause_after
from breezeblock.compute.workflows import volumes
from breezeblock.compute.workflows.attach_server_volume import RESOURCE, SERVER_GONE, turn_of
from breezeblock.compute.workflows.undoing import Undoable, undoable
from breezeblock.model.errors import Failure, OperationFailed
from breezeblock.model.operation import Operation
from breezeblock.model.servers import DELETING, Server, ServerVolume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Next, Outcome, Run, Workflow
from breezeblock.store import servers
from breezeblock.store.store import ReadTx, WriteTx

VOLUME_GONE = Failure(
    code="gone",
    message="The volume is not attached any more.",
    cause="It was taken away from the server by other work.",
    remedy="Nothing needs to be done.",
)


class Data(Undoable, frozen=True, kw_only=True):
    """Which row, and what it joins."""

    row_id: str
    server_id: str
    volume_id: str


def submit(tx: WriteTx, caller: Caller, server: Server, row: ServerVolume) -> str:
    """Put the row to `detaching` and open the operation; returns its id.

    Raises Conflict while other work on the volume is under way.
    """
    volume_id = row.volume_id or ""
    servers.update_volume(tx, row.id, state="detaching")
    data = Data(row_id=row.id, server_id=server.id, volume_id=volume_id)
    turn = turn_of(volume_id, server.id)
    return submit_operation(tx, WORKFLOW, caller, turn, data, queue_of(server.host or ""))


async def undo(run: Run[Data]) -> None:
    """Take the mark back: the server keeps the volume."""
    server, row = await run.doors.store.read(lambda tx: _find(tx, run.data))
    await run.doors.storage_of(server).roll_detaching(row.volume_id)


@undoable(undo)
async def begin(run: Run[Data]) -> Outcome:
    server, row = await run.doors.store.read(lambda tx: _find(tx, run.data))
    storage = run.doors.storage_of(server)
    if not await _is_ours(storage, row):
        # Somebody took it away from us; another server's attachment is not ours to mark.
        return Next(run.operation.queue)
    try:
        await storage.begin_detaching(row.volume_id)
    except BlockStorageError as error:
        if not await _may_go_on(storage, row, error):
            raise OperationFailed(final(error)) from error
    return Next(run.operation.queue)


async def _may_go_on(storage: BlockStorage, row: ServerVolume, error: BlockStorageError) -> bool:
    """Whether the mark is there already, or there is nothing left to mark."""
    if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        raise error
    volume = await storage.find_volume(row.volume_id or "")
    if volume is None or volume.status == "detaching":
        return True
    return not await _is_ours(storage, row)


async def _is_ours(storage: BlockStorage, row: ServerVolume) -> bool:
    """Whether block storage knows the volume as attached to this server."""
    present = await storage.attachments(row.volume_id or "", row.server_id)
    return any(one.status == "attached" for one in present)


@undoable(undo)
async def unplug(run: Run[Data]) -> Outcome:
    data, host = run.data, run.doors.host
    server, _row = await run.doors.store.read(lambda tx: _find(tx, data))
    if server.task_state == DELETING:
        # A guest that holds on to its disk shall not hold up the end of its server.
        raise OperationFailed(SERVER_GONE)
    await host.hypervisor.detach(data.server_id, data.volume_id, host.detach_timeout)
    return Next(run.operation.queue)


async def release(run: Run[Data]) -> Outcome:
    data = run.data
    server, row = await run.doors.store.read(lambda tx: _find(tx, data))
    try:
        await volumes.release(run.doors.storage_of(server), row)
    except BlockStorageError as error:
        return Again(after=pause_after(run.operation.attempts), note=f"will try again: {error}")
    return Done(settle=lambda tx: servers.delete_volume(tx, data.row_id))


def _find(tx: ReadTx, data: Data) -> tuple[Server, ServerVolume]:
    row = servers.find_volume(tx, data.row_id)
    if row is None:
        raise OperationFailed(VOLUME_GONE)
    return servers.get(tx, data.server_id), row


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, _failure: Failure) -> None:
    """The server keeps the volume; only one whose disk is out already is in error."""
    out = operation.step == release.__name__
    servers.update_volume(tx, data.row_id, state="error" if out else "attached")


WORKFLOW = Workflow(
    "detach_server_volume", RESOURCE, Data, (begin, unplug, release), _settle_failure
)
