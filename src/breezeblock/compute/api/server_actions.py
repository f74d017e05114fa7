"""Actions on servers over HTTP: start, stop, reboot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from breezeblock.compute.api import policy
from breezeblock.compute.api.application import ApiCall, find_server
from breezeblock.compute.workflows import reboot_server, start_server, stop_server
from breezeblock.model.errors import Conflict
from breezeblock.model.servers import Server, check_idle, check_volumes_rest
from breezeblock.operations.submit import Caller
from breezeblock.store import servers
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body


class Reboot(Body, frozen=True):
    type: Literal["SOFT", "HARD", "soft", "hard"]


async def start(call: ApiCall) -> None:
    await _act(call, policy.START, "start", ("SHUTOFF",), start_server.submit)


async def stop(call: ApiCall) -> None:
    await _act(call, policy.STOP, "stop", ("ACTIVE", "ERROR"), stop_server.submit)


async def reboot(call: ApiCall) -> None:
    hard = call.body.type.upper() == "HARD"
    allowed = ("ACTIVE", "SHUTOFF", "ERROR") if hard else ("ACTIVE",)
    submit = partial(reboot_server.submit, hard=hard)
    await _act(call, policy.REBOOT, "reboot", allowed, submit)


async def _act(
    call: ApiCall,
    rule: str,
    what: str,
    allowed: tuple[str, ...],
    submit: Callable[[WriteTx, Caller, Server], Any],
) -> None:
    """Open the operation if the server is in a state for it. Raises Conflict."""
    server = await find_server(call, rule)

    def check_and_submit(tx: WriteTx) -> None:
        locked = servers.lock(tx, server.id)
        check_idle(locked, what, allowed)
        check_volumes_rest(locked, what, servers.volumes_of(tx, server.id))
        if locked.launched_at is None:
            raise Conflict(f"Cannot '{what}' instance {server.id}: it has never run; delete it.")
        submit(tx, call.app.caller(call), locked)

    await call.app.store.write(check_and_submit)


_PATH = "/servers/{server_id}/action"
_TAGS = ("servers",)

ROUTES = (
    Route("POST", _PATH, start, action="os-start", success=202, summary="Start", tags=_TAGS),
    Route("POST", _PATH, stop, action="os-stop", success=202, summary="Stop", tags=_TAGS),
    Route(
        "POST",
        _PATH,
        reboot,
        action="reboot",
        body=Reboot,
        success=202,
        summary="Restart",
        tags=_TAGS,
    ),
)
