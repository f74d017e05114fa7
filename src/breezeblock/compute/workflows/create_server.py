"""Create a server.

api    submit           the rows, a host chosen, BUILD
agent  make_volumes     those that are to be made from a snapshot or of zeros
agent  connect_volumes  all are reserved for the server, and block storage lets this host in
agent  boot             the guest runs
agent  complete         block storage hears that the guest has its volumes; ACTIVE

When a step fails: the guest is destroyed, attachments and volumes made for it go, ERROR says why.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from breezeblock.compute.block_storage import BlockStorage, Volume
from breezeblock.compute.doors import queue_of
from breezeblock.compute.workflows import volumes
from breezeblock.compute.workflows.delete_server import RESOURCE, end_work
from breezeblock.compute.workflows.guests import check_task, start_guest
from breezeblock.compute.workflows.undoing import Undoable, undoable
from breezeblock.model.errors import Failure, OperationFailed
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Server, ServerVolume, fault_of
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Next, Outcome, Run, Workflow
from breezeblock.store import servers
from breezeblock.store.store import ReadTx, WriteTx

TASK = "spawning"
LOOK_AGAIN = 1.0
TRIES = 60
"""How many temporary errors a building server bears: block storage may be restarting."""

NO_HOST = Failure(
    code="no-host",
    message="No valid host was found.",
    cause="No compute host that fits has reported lately.",
    remedy="See that a compute agent runs, and that the availability zone is right.",
    retryable=True,
)

SERVER_GONE = Failure(
    code="gone",
    message="The server is not there any more.",
    cause="It was deleted while it was being made.",
    remedy="Create another one if it is still wanted.",
)


class Data(Undoable, frozen=True, kw_only=True):
    """Which server, and the names of the volumes that are made for it."""

    server_id: str
    makes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Building:
    """What a step works with."""

    server: Server
    rows: list[ServerVolume]
    storage: BlockStorage


def submit(tx: WriteTx, caller: Caller, server: Server, rows: list[ServerVolume]) -> None:
    """Write the server and its volumes and open the operation; one without a host is in ERROR."""
    if server.host is None:
        fault = fault_of(NO_HOST, tx.now)
        servers.insert(tx, msgspec.structs.replace(server, status="ERROR", fault=fault))
        return
    servers.insert(tx, msgspec.structs.replace(server, task_state=TASK))
    for row in rows:
        servers.insert_volume(tx, row)
    makes = tuple(row.name_of_made for row in rows if row.source is not None)
    data = Data(server_id=server.id, makes=makes)
    submit_operation(tx, WORKFLOW, caller, server.id, data, queue_of(server.host))


async def undo(run: Run[Data]) -> None:
    """Leave nothing of the server but its row. Volumes that were there before stay."""
    building = await _read(run)
    if building is None or building.server.status != "BUILD":
        return
    await run.doors.host.hypervisor.destroy(building.server.id)
    for row in building.rows:
        await volumes.release(building.storage, row)
        if row.source is not None:
            for made in await building.storage.volumes_named(row.name_of_made):
                await building.storage.delete_volume(made.id)


@undoable(undo, tries=TRIES)
async def make_volumes(run: Run[Data]) -> Outcome:
    building = await _get(run)
    made: dict[str, str] = {}
    for row in building.rows:
        if row.volume_id is not None:
            continue
        volume = await _made(building.storage, row)
        if volume.status in ("creating", "downloading"):
            return Again(after=LOOK_AGAIN, note=f"volume {volume.id} is {volume.status}")
        if volume.status != "available":
            raise OperationFailed(
                Failure(
                    code="volume",
                    message=f"Volume {volume.id} could not be made.",
                    cause=f"Its status is {volume.status}.",
                    remedy="The messages of the block storage service say why.",
                )
            )
        made[row.id] = volume.id
    return Next(run.operation.queue, settle=lambda tx: _note(tx, volume_id=made))


async def _made(storage: BlockStorage, row: ServerVolume) -> Volume:
    """The volume that is made for a row; the request is sent when none is found."""
    found = await storage.volumes_named(row.name_of_made)
    if found:
        return found[0]
    wanted = msgspec.to_builtins(row.source)
    given = {key: value for key, value in wanted.items() if value is not None}
    made = await storage.create_volume(name=row.name_of_made, key=f"make-{row.id}", **given)
    return await storage.volume(made.id)  # its answer may be an old one


@undoable(undo, tries=TRIES)
async def connect_volumes(run: Run[Data]) -> Outcome:
    building = await _get(run)
    storage, host = building.storage, run.doors.host
    reserved: dict[str, str] = {}
    for row in building.rows:
        attachment_id = await volumes.reserve(storage, row)
        await volumes.connect(storage, host, attachment_id, row.device)
        reserved[row.id] = attachment_id
    return Next(run.operation.queue, settle=lambda tx: _note(tx, attachment_id=reserved))


@undoable(undo, tries=TRIES)
async def boot(run: Run[Data]) -> Outcome:
    building = await _get(run)
    await start_guest(run.doors, building.server, building.rows)
    return Next(run.operation.queue)


@undoable(undo, tries=TRIES)
async def complete(run: Run[Data]) -> Outcome:
    building = await _get(run)
    for row in building.rows:
        await building.storage.complete(row.attachment_id or "")
    return Done(settle=lambda tx: _created(tx, run.operation, building.server.id))


def _note(tx: WriteTx, **found: dict[str, str]) -> None:
    """Write what a step has found out of each row."""
    for column, values in found.items():
        for row_id, value in values.items():
            servers.update_volume(tx, row_id, **{column: value})


def _created(tx: WriteTx, operation: Operation, server_id: str) -> None:
    servers.settle_volumes(tx, server_id, "attached")
    end_work(tx, operation, server_id, status="ACTIVE", launched_at=tx.now)


async def _get(run: Run[Data]) -> _Building:
    """Raises OperationFailed when the server is not wanted any more."""
    building = await _read(run)
    if building is None:
        raise OperationFailed(SERVER_GONE)
    check_task(building.server, TASK)
    return building


async def _read(run: Run[Data]) -> _Building | None:
    found: tuple[Server | None, list[ServerVolume]] = await run.doors.store.read(
        lambda tx: _find(tx, run.data.server_id)
    )
    server, rows = found
    return _Building(server, rows, run.doors.storage_of(server)) if server else None


def _find(tx: ReadTx, server_id: str) -> tuple[Server | None, list[ServerVolume]]:
    return servers.find(tx, server_id), servers.volumes_of(tx, server_id)


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    if data.undone:
        servers.delete_volumes(tx, data.server_id)
    else:
        servers.settle_volumes(tx, data.server_id, "error")
    fault = fault_of(failure, tx.now)
    end_work(tx, operation, data.server_id, status="ERROR", fault=fault)


WORKFLOW = Workflow(
    "create_server",
    RESOURCE,
    Data,
    (make_volumes, connect_volumes, boot, complete),
    _settle_failure,
)
