"""The volumes that a new server is to have and that are not there yet: POST /servers has them made.

In the caller's own name, with the credentials of his request, so that they are his project's and
count in its quota. The servers are written down before that (`workflows.create_server`): whatever
happens here, an operation is open that takes the volumes, or removes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from breezeblock.compute.api.application import ApiCall
from breezeblock.compute.block_storage import BlockStorage, BlockStorageError
from breezeblock.compute.workflows import create_server
from breezeblock.model.errors import InvalidInput, Unavailable
from breezeblock.model.servers import ServerVolume, VolumeSource
from breezeblock.store.store import WriteTx
from breezeblock.web.faults import Fault

PAUSES = (0.5, 1.0, 2.0)
"""Seconds between requests to a block storage that is away: it may be restarting."""

_SAID_ON: dict[int, int] = {
    HTTPStatus.FORBIDDEN: HTTPStatus.FORBIDDEN,
    HTTPStatus.CONFLICT: HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: HTTPStatus.FORBIDDEN,  # what is over quota in a cloud
}
"""What our client is told of block storage's other refusals."""


def check(call: ApiCall) -> None:
    """Whether volumes can be made in the caller's project. Raises InvalidInput."""
    _storage(call)


def _storage(call: ApiCall) -> BlockStorage:
    storage = call.app.block_storage.as_caller(call.identity, call.headers)
    if storage is None:
        raise InvalidInput(
            "This compute service cannot make volumes in your project: create the volume first."
        )
    return storage


async def make(call: ApiCall, ordered: Sequence[create_server.Ordered]) -> None:
    """Have the volumes made and handed over. Raises Fault, InvalidInput, Unavailable; then the
    servers go again."""
    waiting = [one for one in ordered if one.to_make]
    if not waiting:
        return
    storage, caller = _storage(call), call.app.caller(call)
    made: dict[str, str] = {}
    try:
        for row in [row for one in waiting for row in one.to_make]:
            made[row.id] = await _make(call, storage, row)
    except BlockStorageError as error:
        # A client with a key comes again and goes on here; meanwhile the operation waits.
        if not error.temporary or call.journal is None:
            await call.app.store.write(lambda tx: _give_up(tx, call, ordered))
        raise _refusal(error) from error

    def hand_over(tx: WriteTx) -> None:
        for one in waiting:
            mine = {row.id: made[row.id] for row in one.to_make}
            create_server.hand_over(tx, caller, one, mine)

    await call.app.store.write(hand_over)


def _give_up(tx: WriteTx, call: ApiCall, ordered: Sequence[create_server.Ordered]) -> None:
    for one in ordered:
        create_server.give_up(tx, call.app.caller(call), one)


async def _make(call: ApiCall, storage: BlockStorage, row: ServerVolume) -> str:
    """The id of the volume that is made for a row: one, however often it is asked for."""

    async def ask() -> str:
        wanted = _wanted(row.source or VolumeSource())
        made = await storage.create_volume(name=row.name_of_made, key=f"make-{row.id}", **wanted)
        return made.id

    for pause in PAUSES:
        try:
            return await call.outside(ask)
        except BlockStorageError as error:
            if not error.temporary:
                raise
        await asyncio.sleep(pause)
    return await call.outside(ask)


def _wanted(source: VolumeSource) -> dict[str, Any]:
    """The body of the request for it."""
    told = {
        "snapshot_id": source.snapshot_id,
        "imageRef": source.image_id,
        "size": source.size,
        "volume_type": source.volume_type,
    }
    return {name: value for name, value in told.items() if value is not None}


def _refusal(error: BlockStorageError) -> Exception:
    """What block storage's answer means to our client, who knows of no such request."""
    if error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        return InvalidInput(f"Block Device Mapping is Invalid: {error.message}")
    if status := _SAID_ON.get(error.status):
        return Fault(status, error.message)
    return Unavailable(error.message)
