"""Create a server.

api    submit           the rows, a host chosen, BUILD
api    hand_over        which volumes it has had made for the server, in its caller's name
agent  make_volumes     until they are made
agent  reserve_volumes  all are reserved for the server, which is told by which attachments
agent  connect_volumes  block storage lets this host in
agent  boot             the guest runs
agent  complete         block storage hears that the guest has its volumes; ACTIVE

When a step fails: the guest is destroyed, attachments and volumes made for it go, ERROR says why.

A volume belongs to the project whose token asks for it, and a token is written down nowhere, so
only the API can have volumes made, while it answers (`api.made_volumes`). When it dies over that,
the agent waits in vain for a while, and undoes what there is; volumes are found by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from breezeblock.compute.block_storage import BlockStorage
from breezeblock.compute.doors import queue_of
from breezeblock.compute.workflows import check_server, delete_server, volumes
from breezeblock.compute.workflows.delete_server import RESOURCE, end_work
from breezeblock.compute.workflows.guests import check_task, start_guest
from breezeblock.compute.workflows.undoing import Undoable, undoable
from breezeblock.model.errors import Failure, OperationFailed
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Server, ServerVolume, fault_of
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Next, Outcome, Run, Workflow
from breezeblock.store import operations, servers
from breezeblock.store.store import ReadTx, WriteTx

TASK = "spawning"
LOOK_AGAIN = 1.0
TRIES = 60
"""How many temporary errors a building server bears: block storage may be restarting."""
LOOKS_FOR_API = 36
"""How often the agent looks whether the API has had the volumes made: for three minutes."""
PAUSE_FOR_API = 5.0
FOR_API = "the API has its volumes made"

NO_HOST = Failure(
    code="no-host",
    message="No valid host was found.",
    cause="No compute host that fits has reported lately.",
    remedy="See that a compute agent runs, and that the availability zone is right.",
    retryable=True,
)

NOBODY = Failure(
    code="no-volumes",
    message="The server's volumes were not made.",
    cause="The compute API has ended, or did not get an answer, before it had made all of them.",
    remedy="Delete the server and create it again.",
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


class Ordered(msgspec.Struct, frozen=True):
    """A server that is asked for, and the rows of its volumes."""

    server: Server
    rows: list[ServerVolume]

    @property
    def to_make(self) -> list[ServerVolume]:
        """The rows whose volumes are still to be made. A server without a host gets none."""
        return [row for row in self.rows if row.source is not None and self.server.host is not None]


@dataclass(frozen=True, slots=True)
class _Building:
    """What a step works with."""

    server: Server
    rows: list[ServerVolume]
    storage: BlockStorage


def submit(tx: WriteTx, caller: Caller, ordered: Ordered) -> None:
    """Write the server and its volumes and open the operation; one without a host is in ERROR."""
    server, rows = ordered.server, ordered.rows
    if server.host is None:
        fault = fault_of(NO_HOST, tx.now)
        servers.insert(tx, msgspec.structs.replace(server, status="ERROR", fault=fault))
        return
    servers.insert(tx, msgspec.structs.replace(server, task_state=TASK))
    for row in rows:
        servers.insert_volume(tx, row)
    makes = tuple(row.name_of_made for row in ordered.to_make)
    data = Data(server_id=server.id, makes=makes)
    delay = LOOK_AGAIN if makes else 0.0
    submit_operation(tx, WORKFLOW, caller, server.id, data, queue_of(server.host), delay=delay)


def hand_over(tx: WriteTx, caller: Caller, ordered: Ordered, made: Mapping[str, str]) -> None:
    """Tell the operation which volumes were made for the server's rows (row → volume).

    Once the server is not being built any more they are left-overs, and are removed.
    """
    operation = _waiting(tx, ordered.server.id)
    if operation is None:
        _clear(tx, caller, ordered)
        return
    _note(tx, volume_id=dict(made))
    _hasten(tx, operation)


def give_up(tx: WriteTx, caller: Caller, ordered: Ordered) -> None:
    """Delete a server whose volumes block storage does not want to make, with those it has made."""
    operation = _waiting(tx, ordered.server.id)
    server = servers.find(tx, ordered.server.id)
    if server is not None:
        delete_server.submit(tx, caller, server)
    if operation is not None:
        _hasten(tx, operation)
    if ordered.to_make:
        _clear(tx, caller, ordered)


def _waiting(tx: WriteTx, server_id: str) -> Operation | None:
    """The operation that waits for the server's volumes, if it still does."""
    operation = operations.lock_open(tx, server_id)
    server = servers.find(tx, server_id)
    if server is None or server.task_state != TASK or operation is None:
        return None
    undoes = msgspec.convert(operation.data, Data).failure is not None
    return None if undoes or operation.step != make_volumes.__name__ else operation


def _unmade(rows: Iterable[ServerVolume]) -> bool:
    """Whether volumes are missing that the API has made."""
    return any(row.source is not None and row.volume_id is None for row in rows)


def _hasten_if_made(operation: Operation, tx: WriteTx) -> None:
    if not _unmade(servers.volumes_of(tx, operation.resource_id)):
        _hasten(tx, operation)


def _hasten(tx: WriteTx, operation: Operation) -> None:
    operations.amend(tx, operation.id, due_at=0.0)
    tx.wake(operation.queue, operation.id)


def _clear(tx: WriteTx, caller: Caller, ordered: Ordered) -> None:
    """Have volumes removed that are made too late for the operation to know of them."""
    server, names = ordered.server, tuple(row.name_of_made for row in ordered.to_make)
    told = check_server.Data(server.id, makes=names)
    check_server.request(tx, caller, told, queue_of(server.host or ""))


async def undo(run: Run[Data]) -> None:
    """Leave nothing of the server but its row. Volumes that were there before stay."""
    building = await _read(run)
    if building is None or building.server.status != "BUILD":
        return
    await run.doors.host.hypervisor.destroy(building.server.id)
    for row in building.rows:
        await volumes.release(building.storage, row)
        if row.source is not None:
            named = await building.storage.volumes_named(row.name_of_made)
            known = [row.volume_id] if row.volume_id else []
            for volume_id in dict.fromkeys([*known, *(one.id for one in named)]):
                await building.storage.delete_volume(volume_id)


@undoable(undo, tries=TRIES)
async def make_volumes(run: Run[Data]) -> Outcome:
    building = await _get(run)
    wanted = [row for row in building.rows if row.source is not None]
    if _unmade(building.rows):
        if run.operation.attempts >= LOOKS_FOR_API:
            raise OperationFailed(NOBODY)
        # Less, when it hands them over, be it at this moment.
        settle = partial(_hasten_if_made, run.operation)
        return Again(after=PAUSE_FOR_API, note=FOR_API, settle=settle)
    for row in wanted:
        volume = await building.storage.volume(row.volume_id or "")
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
    return Next(run.operation.queue)


@undoable(undo, tries=TRIES)
async def reserve_volumes(run: Run[Data]) -> Outcome:
    building = await _get(run)
    reserved = {row.id: await volumes.reserve(building.storage, row) for row in building.rows}
    # Known before anything is connected: block storage asks us before a user may disconnect it.
    return Next(run.operation.queue, settle=lambda tx: _note(tx, attachment_id=reserved))


@undoable(undo, tries=TRIES)
async def connect_volumes(run: Run[Data]) -> Outcome:
    building = await _get(run)
    storage, host = building.storage, run.doors.host
    for row in building.rows:
        await volumes.connect(storage, host, row.attachment_id or "", row.device)
    return Next(run.operation.queue)


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
    (make_volumes, reserve_volumes, connect_volumes, boot, complete),
    _settle_failure,
)
