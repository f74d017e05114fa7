"""Delete a server.

api    submit            the server is `deleting`; other work on it is let end first
agent  wait_for_volumes  volumes that come or go are let arrive
agent  destroy           the guest's plug is pulled
agent  release_volumes   attachments go, and the volumes that were to go with the server; the rows
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Any

import msgspec
import structlog

from breezeblock.compute.block_storage import BlockStorage, BlockStorageError
from breezeblock.compute.doors import queue_of
from breezeblock.compute.pauses import pause_after
from breezeblock.compute.workflows import volumes
from breezeblock.compute.workflows.attach_server_volume import turn_of
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.servers import DELETING, Server, ServerVolume, fault_of
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Next, Outcome, Run, Workflow
from breezeblock.store import operations, servers
from breezeblock.store.store import ReadTx, WriteTx

log = structlog.get_logger()

RESOURCE = "server"
LOOK_AGAIN = 0.5


class Data(msgspec.Struct, frozen=True):
    """Which server."""

    server_id: str


def submit(tx: WriteTx, caller: Caller, server: Server) -> None:
    """Have the server deleted. The caller has locked its row in this transaction.

    One that never reached a host goes at once. Work that is under way on it is not broken off:
    its end begins the deletion (`end_work`).
    """
    if server.host is None:
        servers.delete(tx, server.id)
        return
    servers.update(tx, server.id, task_state=DELETING)
    if operations.open_on(tx, server.id) is None:
        _open(tx, caller, server)


def _open(tx: WriteTx, caller: Caller, server: Server) -> None:
    data = Data(server.id)
    submit_operation(tx, WORKFLOW, caller, server.id, data, queue_of(server.host or ""))


def end_work(tx: WriteTx, operation: Operation, server_id: str, **values: Any) -> None:
    """Write how other work on a server has ended; a deletion asked for meanwhile begins now."""
    server = servers.find(tx, server_id)
    if server is None:
        return
    deleting = server.task_state == DELETING
    servers.update(tx, server_id, task_state=DELETING if deleting else None, **values)
    if deleting:
        caller = Caller(operation.project_id, operation.user_id, operation.request_id)
        _open(tx, caller, server)


async def wait_for_volumes(run: Run[Data]) -> Outcome:
    moving = await run.doors.store.read(lambda tx: _moving(tx, run.data.server_id))
    if moving:
        return Again(after=LOOK_AGAIN, note=f"volume {', '.join(moving)} is on its way")
    return Next(run.operation.queue)


def _moving(tx: ReadTx, server_id: str) -> list[str]:
    return [
        row.volume_id
        for row in servers.volumes_of(tx, server_id)
        if row.volume_id and operations.open_on(tx, turn_of(row.volume_id, server_id))
    ]


async def destroy(run: Run[Data]) -> Outcome:
    await run.doors.host.hypervisor.destroy(run.data.server_id)
    return Next(run.operation.queue)


async def release_volumes(run: Run[Data]) -> Outcome:
    server_id = run.data.server_id
    server, rows = await run.doors.store.read(lambda tx: _server(tx, server_id))
    storage = run.doors.storage_of(server)
    kept = []
    try:
        for row in rows:
            await volumes.release(storage, row)
            if row.volume_id and row.delete_on_termination:
                kept += await _delete_volume(storage, row.volume_id)
    except BlockStorageError as error:
        # The guest is gone: there is no way back.
        return Again(after=pause_after(run.operation.attempts), note=f"will try again: {error}")
    return Done(settle=lambda tx: servers.delete(tx, server_id), note="; ".join(kept))


async def _delete_volume(storage: BlockStorage, volume_id: str) -> list[str]:
    """Delete the volume; block storage may have its reasons to keep it (it has snapshots)."""
    try:
        await storage.delete_volume(volume_id)
    except BlockStorageError as error:
        if error.status != HTTPStatus.BAD_REQUEST:
            raise
        log.warning("volume not deleted with its server", volume=volume_id, error=str(error))
        return [f"volume {volume_id} stays: {error}"]
    return []


def _server(tx: ReadTx, server_id: str) -> tuple[Server, list[ServerVolume]]:
    return servers.get(tx, server_id), servers.volumes_of(tx, server_id)


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    if operation.step == release_volumes.__name__:
        servers.settle_volumes(tx, data.server_id, "error")  # some are released already
    fault = fault_of(failure, tx.now)
    servers.update(tx, data.server_id, status="ERROR", task_state=None, fault=fault)


WORKFLOW = Workflow(
    "delete_server",
    RESOURCE,
    Data,
    (wait_for_volumes, destroy, release_volumes),
    _settle_failure,
    tries=sys.maxsize,  # until the deadline: there is nothing to go back to
)
