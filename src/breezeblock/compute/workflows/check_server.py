"""Look for what a step that came too late has left in block storage for a server.

`late` has it asked for. It stands beside the work on the server, and lets that come to its end.

agent  clear  attachments that the server does not have go, and volumes that were made for nothing;
              a volume that it keeps is no longer marked as `detaching`
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from breezeblock.compute.block_storage import BlockStorage, BlockStorageError
from breezeblock.compute.pauses import pause_after
from breezeblock.compute.workflows.attach_server_volume import turn_of
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.servers import ServerVolume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Outcome, Run, Workflow
from breezeblock.store import operations, servers
from breezeblock.store.store import ReadTx, WriteTx

LOOK_AGAIN = 2.0


class Data(msgspec.Struct, frozen=True):
    """Which server, the names of the volumes that its creation makes, and volumes of it that may
    have been marked."""

    server_id: str
    makes: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()

    def joined(self, other: Data) -> Data:
        """What both ask to be looked for."""
        return Data(
            self.server_id,
            tuple(dict.fromkeys(self.makes + other.makes)),
            tuple(dict.fromkeys(self.marked + other.marked)),
        )


def request(tx: WriteTx, caller: Caller, data: Data, queue: str) -> None:
    """Have it looked; whoever looks already, or will, looks for this, too. The caller is the
    server's owner."""
    found = operations.check_on(tx, data.server_id)
    if found is not None:
        data = data.joined(msgspec.convert(found.data, Data))
        if operations.amend(tx, found.id, data=msgspec.to_builtins(data)):
            return
    submit_operation(tx, WORKFLOW, caller, data.server_id, data, queue)


async def clear(run: Run[Data]) -> Outcome:
    data = run.data
    rows = await run.doors.store.read(lambda tx: _resting(tx, data.server_id))
    if rows is None:
        return Again(after=LOOK_AGAIN, note="work on the server is under way")
    owner = run.operation
    storage = run.doors.block_storage.of(owner.user_id, owner.project_id)
    try:
        gone = await _clear_attachments(storage, data.server_id, rows)
        gone += await _clear_volumes(storage, data.makes, rows)
        for volume_id in data.marked:
            if any(row.volume_id == volume_id and row.state == "attached" for row in rows):
                gone += await _clear_mark(storage, volume_id)
    except BlockStorageError as error:
        return Again(after=pause_after(owner.attempts), note=f"will try again: {error}")
    return Done(
        settle=lambda tx: _look_again(tx, owner, data),
        note=f"removed {', '.join(gone)}" if gone else "nothing was left",
    )


def _look_again(tx: WriteTx, ended: Operation, seen: Data) -> None:
    """More was asked for while we looked."""
    now = operations.get(tx, ended.id)
    wanted = msgspec.convert(now.data, Data) if now else seen
    if wanted != seen:
        caller = Caller(ended.project_id, ended.user_id, ended.request_id)
        submit_operation(tx, WORKFLOW, caller, ended.resource_id, wanted, ended.queue)


async def _clear_attachments(
    storage: BlockStorage, server_id: str, rows: list[ServerVolume]
) -> list[str]:
    # What could not be undone belongs to its row; deleting the server ends it.
    unclear = any(row.state == "error" for row in rows)
    known = {row.attachment_id for row in rows}
    strays = [] if unclear else await storage.attachments_of(server_id)
    gone = [one.id for one in strays if one.id not in known]
    for attachment_id in gone:
        await storage.delete_attachment(attachment_id)
    return [f"attachment {one}" for one in gone]


async def _clear_volumes(
    storage: BlockStorage, names: Iterable[str], rows: list[ServerVolume]
) -> list[str]:
    kept = {row.volume_id for row in rows}
    found = [volume for name in names for volume in await storage.volumes_named(name)]
    gone = [volume.id for volume in found if volume.id not in kept]
    for volume_id in gone:
        await storage.delete_volume(volume_id)
    return [f"volume {one}" for one in gone]


async def _clear_mark(storage: BlockStorage, volume_id: str) -> list[str]:
    volume = await storage.find_volume(volume_id)
    if volume is None or volume.status != "detaching":
        return []
    await storage.roll_detaching(volume_id)
    return [f"the mark on volume {volume_id}"]


def _resting(tx: ReadTx, server_id: str) -> list[ServerVolume] | None:
    """The server's volumes, none when it is gone; None while something is under way."""
    rows = servers.volumes_of(tx, server_id)
    turns = [turn_of(row.volume_id, server_id) for row in rows if row.volume_id]
    busy = any(operations.open_on(tx, one) for one in (server_id, *turns))
    return None if busy else rows


def _settle_failure(_tx: WriteTx, _operation: Operation, _data: Data, _failure: Failure) -> None:
    """It settles nothing; the doctor tells of what is left."""


WORKFLOW = Workflow("check_server", operations.CHECK, Data, (clear,), _settle_failure)
