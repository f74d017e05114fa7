"""LUNs on their way to another FlexVol: moves, and copies.

A move's LUN has its new name at once and its file in the old FlexVol until the time is over; then
the file is linked into the new one (the same file: hosts notice nothing). A copy has its contents
at once and only says that it is not done.
"""

from __future__ import annotations

import contextlib

from msgspec.structs import replace

from breezeblock.ontapsim import errors, files
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Body
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import FlexVol, Lun, Transfer

MOVING = ("preparing", "replicating", "paused")


def begin(array: Array, source: Lun, path: str) -> Transfer:
    now = array.now()
    return Transfer(
        source=path,
        source_volume=source.volume,
        source_lun=source.uuid,
        started=now,
        due=now + array.cluster.move_seconds,
        state="replicating",
    )


def steer(array: Array, lun: Lun, body: Body) -> Lun:
    """Pause a move, or go on with it (its whole time begins again)."""
    state = body.choice("movement.progress.state", ("paused", "replicating"))
    if lun.move is None or lun.move.state not in MOVING:
        raise ApiError(400, "5440510", "The LUN is not being moved.", "movement.progress.state")
    if state is None:
        raise errors.required("movement.progress.state")
    due = array.now() + array.cluster.move_seconds
    return replace(lun, move=replace(lun.move, state=state, due=due))


def finish(array: Array, now: float) -> None:
    """End the transfers whose time is over."""
    for lun in array.state.all(Lun):
        if lun.move and lun.move.state == "replicating" and lun.move.due <= now:
            lun = _land(array, lun, lun.move)
        if lun.copy and lun.copy.state == "replicating" and lun.copy.due <= now:
            array.state.put(replace(lun, copy=replace(lun.copy, state="complete")))


def _land(array: Array, lun: Lun, move: Transfer) -> Lun:
    landed = replace(lun, folder=lun.volume, move=replace(move, state="complete"))
    old, new = array.layout.lun(lun), array.layout.lun(landed)
    with contextlib.suppress(FileExistsError):  # linked before, by a process that was killed
        new.hardlink_to(old)
    array.state.put(landed)
    array.afterwards(lambda: files.remove(old))
    return landed


def fail(array: Array, uuid: str, message: str) -> None:
    """End a LUN's transfer badly: a move leaves the LUN where it was."""
    lun = array.state.get(Lun, uuid)
    if lun.move:
        source = array.state.get(FlexVol, lun.move.source_volume)
        name = lun.move.source.rpartition("/")[2]
        failed = replace(lun.move, state="failed", failure=message)
        array.state.put(replace(lun, volume=source.uuid, name=name, move=failed))
    elif lun.copy:
        array.state.put(replace(lun, copy=replace(lun.copy, state="failed", failure=message)))


def pending(array: Array) -> list[float]:
    """When the next ones end."""
    transfers = [transfer for lun in array.state.all(Lun) for transfer in (lun.move, lun.copy)]
    return [t.due for t in transfers if t and t.state == "replicating"]
