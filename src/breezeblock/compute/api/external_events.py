"""What other services tell us: POST /os-server-external-events.

Block storage tells that a volume has grown. We look for a while whether the guest has seen it, so
that block storage can tell the volume's owner when it has not.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from breezeblock.compute.api import policy
from breezeblock.compute.api.application import ApiCall
from breezeblock.compute.workflows import extend_server_volume
from breezeblock.compute.workflows.attach_server_volume import turn_of
from breezeblock.model.errors import Conflict, NotFound
from breezeblock.operations.waiting import StillRunning
from breezeblock.store import operations, servers
from breezeblock.store.store import WriteTx
from breezeblock.web.call import Reply
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Text, Uuid

PATIENCE = 15.0
"""Seconds; block storage's own patience with us is 20."""

_MISSING_TAG, _UNKNOWN, _NO_HOST, _NOT_SEEN = 400, 404, 422, 500


class Event(Body, frozen=True):
    name: Literal[
        "volume-extended",
        "volume-reimaged",
        "network-changed",
        "network-vif-plugged",
        "network-vif-unplugged",
        "network-vif-deleted",
        "power-update",
        "accelerator-request-bound",
    ]
    server_uuid: Uuid
    tag: Text | None = None
    status: Literal["completed", "failed", "in-progress"] | None = None


class Events(Body, frozen=True):
    events: Annotated[list[Event], Meta(min_length=1)]


async def create(call: ApiCall) -> Reply:
    events: list[Event] = call.body.events
    codes = await asyncio.gather(*(_handle(call, event) for event in events))
    shown = [_answer(event, code) for event, code in zip(events, codes, strict=True)]
    return Reply({"events": shown}, status=200 if set(codes) == {200} else 207)


def _answer(event: Event, code: int) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(event)
    return told | {"status": "completed" if code == 200 else "failed", "code": code}


async def _handle(call: ApiCall, event: Event) -> int:
    """The code of one event. Events that mean nothing to this service are taken and forgotten."""
    server = await call.app.store.read(lambda tx: servers.find(tx, event.server_uuid))
    if server is None:
        return _UNKNOWN
    if event.name == "volume-extended" and not event.tag:
        return _MISSING_TAG
    if server.host is None:
        return _NO_HOST
    if event.name == "volume-extended":
        return await _extended(call, event.server_uuid, event.tag or "")
    return 200


async def _extended(call: ApiCall, server_id: str, volume_id: str) -> int:
    try:
        operation_id = await _submit_in_turn(call, server_id, volume_id)
        ended = await call.app.waiter.wait_for_end(operation_id, PATIENCE)
    except NotFound:
        return _UNKNOWN
    except (StillRunning, Conflict):
        return 200  # it goes on; an attach that is under way shows the new size by itself
    return 200 if ended.state == "succeeded" else _NOT_SEEN


async def _submit_in_turn(call: ApiCall, server_id: str, volume_id: str) -> str:
    """Open the operation, after other work on the same volume has ended. Raises NotFound when the
    server does not have the volume, StillRunning, Conflict."""

    def submit(tx: WriteTx) -> str:
        servers.attachment(tx, server_id, volume_id)
        server = servers.get(tx, server_id)
        return extend_server_volume.submit(tx, call.app.caller(call), server, volume_id)

    turn = turn_of(volume_id, server_id)
    for _ in range(3):
        try:
            return await call.app.store.write(submit)
        except Conflict:
            other = await call.app.store.read(lambda tx: operations.open_on(tx, turn))
            if other is not None:
                await call.app.waiter.wait_for_end(other.id, PATIENCE)
    return await call.app.store.write(submit)


ROUTES = (
    Route(
        "POST",
        "/os-server-external-events",
        create,
        body=Events,
        policy=policy.EXTERNAL_EVENTS,
        summary="Tell of events outside",
        tags=("external events",),
    ),
)
