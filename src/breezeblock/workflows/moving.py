"""Moving a volume to another pool of its backend: what retyping and migrating have in common.

The backend moves it (`Driver.move`), and the row follows in the transaction that ends the step.
Whoever moves volumes keeps both places in the operation's data, as `moves_from` and `moves_to`:
they prove to a sweep (`leftovers.py`) where a volume may be when a call came late, or ended after
it was given up. Between backends nothing is moved: their bytes would have to be copied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from breezeblock.drivers.base import StillWorking
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import FREE_TO_MIGRATE, Volume
from breezeblock.operations.workflow import Again, Run
from breezeblock.scheduler.pools import Pool
from breezeblock.store import attachments, operations, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows.doors import as_driver_volume

BY_IMAGE = (
    "copy it into an image (os-volume_upload_image) and make a new volume from that, of a type "
    "that leads there"
)
"""How the bytes get to another backend all the same."""


def siblings(pools: Iterable[Pool], volume: Volume) -> list[Pool]:
    """The other pools of the volume's backend."""
    return [one for one in pools if one.backend == volume.backend and one.name != volume.host]


def begin(tx: WriteTx, volume_id: str) -> None:
    """The backend is about to move it."""
    volumes.update(tx, volume_id, migration_status="migrating")


def to_move(tx: ReadTx, held: Operation) -> Volume | None:
    """Nothing when the work was cut short, or taken over from a worker that was frozen: the volume
    may have been sent elsewhere since (what the worker records is refused)."""
    return volumes.get(tx, held.resource_id) if operations.is_held(tx, held) else None


async def bring(run: Run[Any], volume: Volume, target: str) -> Again | None:
    """Have the backend move the volume to the pool of that full name; None: it is there."""
    wanted, pool = as_driver_volume(volume), target.partition("#")[2]
    try:
        await run.doors.call(volume.backend, lambda driver: driver.move, wanted, pool)
    except StillWorking as error:
        return Again(error.retry_after, data=run.data, note=str(error), progress=error.progress)
    return None


def arrived(tx: WriteTx, volume_id: str, target: str) -> None:
    volumes.update(tx, volume_id, host=target, migration_status="success")


def give_up(tx: WriteTx, volume_id: str) -> None:
    """A move that was asked for, or under way, has failed."""
    volume = volumes.find_locked(tx, volume_id)
    if volume is not None and volume.migration_status not in FREE_TO_MIGRATE:
        volumes.update(tx, volume_id, migration_status="error")


def resume(tx: WriteTx, volume_id: str) -> None:
    """Give the volume the status that it had before, or that its attachments have come to since:
    while it was being moved they changed none."""
    volume = volumes.find_locked(tx, volume_id)
    if volume is None:
        return
    busy = volume.status in ("maintenance", "retyping")
    if busy and volume.previous_status == "available":
        volumes.update(tx, volume_id, status="available")
    elif busy or volume.status == "in-use":
        attachments.settle_volume(tx, volume_id)
