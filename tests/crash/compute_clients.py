"""The hands of compute's clients: what scenarios prepare and do, and how an end is told.

An end is told as `server state, guest, disks | volumes`: "ACTIVE runs data=vdb | data in-use".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from breezeblock.compute.doors import queue_of
from breezeblock.compute.hypervisor import GuestState, HostError
from breezeblock.compute.workflows import check_server
from breezeblock.operations.submit import Caller
from tests.crash.asgi import Reply
from tests.crash.clients import Known
from tests.crash.compute_world import ComputeWorld
from tests.service.catalog_fixture import PROJECT
from tests.service.compute.cloud import HOST

Act = Callable[[ComputeWorld, Known], Awaitable[Reply | None]]
BROKEN = HostError("the disk is broken", remedy="replace it")
BUSY = HostError("the guest holds on to its disk", temporary=True)
FOR_EVER = 10_000
BLANK = {
    "source_type": "blank",
    "destination_type": "volume",
    "volume_size": 1,
    "delete_on_termination": True,
}


# -- how ends are told -------------------------------------------------------------------------


def told(world: ComputeWorld, _known: Known) -> str:
    """All that a client, or the guest, can see."""
    volumes = world.storage.facts().volumes.values()
    names = {one.id: _name(one.name) for one in volumes}
    servers = [_server(world, server.id, names) for server in world.facts().servers.values()]
    kept = sorted(f"{_name(one.name)} {one.status}" for one in volumes)
    return " | ".join([*(servers or ["gone"]), *kept])


def _server(world: ComputeWorld, server_id: str, names: dict[str, str]) -> str:
    facts = world.facts()
    guest = world.hypervisor.guests.get(server_id)
    words = [facts.servers[server_id].status]
    if guest is not None and guest.state is not GuestState.STOPPED:
        words.append("runs")
    for row in facts.volumes_of.get(server_id, []):
        mark = "" if row.state == "attached" else f" ({row.state})"
        device = (row.device or "?").removeprefix("/dev/")
        words.append(f"{names.get(row.volume_id or '', 'nothing')}={device}{mark}")
    return " ".join(words)


def _name(name: str | None) -> str:
    """What the service makes for a server is named after it."""
    return name if name and len(name) < 36 else "made"


def grown(world: ComputeWorld, known: Known) -> str:
    """As `told`, and how many GiB the guest sees."""
    seen = world.hypervisor.sizes.get(known.data, 1024**3) // 1024**3
    return f"{told(world, known)}, {seen} GiB"


# -- what clients do ---------------------------------------------------------------------------


def creating(*devices: dict[str, Any] | str) -> Act:
    """A server with these devices; a word stands for the volume of that name, to boot from."""

    async def act(world: ComputeWorld, known: Known) -> Reply:
        wanted = {"name": "one", "flavorRef": "tiny", "networks": "none"}
        mapping = [
            {"source_type": "volume", "uuid": getattr(known, one), "boot_index": 0}
            if isinstance(one, str)
            else one
            for one in devices
        ]
        body = {"server": {**wanted, "block_device_mapping_v2": mapping}}
        return await world.call("POST", "/servers", body)

    return act


def acting(action: str, value: Any = None) -> Act:
    async def act(world: ComputeWorld, _known: Known) -> Reply:
        return await world.call("POST", f"/servers/{_one(world)}/action", {action: value})

    return act


async def deleting(world: ComputeWorld, _known: Known) -> Reply:
    return await world.call("DELETE", f"/servers/{_one(world)}")


async def attaching(world: ComputeWorld, known: Known) -> Reply:
    body = {"volumeAttachment": {"volumeId": known.data}}
    path = f"/servers/{_one(world)}/os-volume_attachments"
    return await world.call("POST", path, body)


async def detaching(world: ComputeWorld, known: Known) -> Reply:
    path = f"/servers/{_one(world)}/os-volume_attachments/{known.data}"
    return await world.call("DELETE", path)


async def telling_of_growth(world: ComputeWorld, known: Known) -> Reply:
    """What block storage does when a volume in use has grown."""
    event = {"name": "volume-extended", "server_uuid": _one(world), "tag": known.data}
    body = {"events": [event]}
    return await world.call("POST", "/os-server-external-events", body, role="admin")


async def asking_for_a_check(world: ComputeWorld, known: Known) -> None:
    """What an agent does that wakes up and finds that others have done its work."""
    server_id = known.server
    caller = Caller(PROJECT, "member-user", "req-late")
    data = check_server.Data(server_id, (f"{server_id}-vdz",))
    await world.api.store.write(lambda tx: check_server.request(tx, caller, data, queue_of(HOST)))


def then(first: Act, second: Act, seconds: float) -> Act:
    """The one, and the other while it is under way."""

    async def act(world: ComputeWorld, known: Known) -> Reply | None:
        await first(world, known)
        await asyncio.sleep(seconds)
        return await second(world, known)

    return act


def _one(world: ComputeWorld) -> str:
    """The server's id; that of nobody when there is none (any more)."""
    ids = list(world.facts().servers)
    return ids[0] if ids else "00000000-0000-4000-8000-000000000000"


# -- what is prepared --------------------------------------------------------------------------

Setup = Callable[[ComputeWorld, Known], Awaitable[None]]


def prepared(*steps: Setup) -> Setup:
    """These, in turn."""

    async def setup(world: ComputeWorld, known: Known) -> None:
        for step in steps:
            await step(world, known)
            await world.settle()

    return setup


def volume(name: str) -> Setup:
    """A volume, `known.<name>`."""

    async def setup(world: ComputeWorld, known: Known) -> None:
        body = {"volume": {"size": 1, "name": name}}
        reply = await world.storage.ask("POST", "/volumes", body)
        setattr(known, name, reply.json["volume"]["id"])

    return setup


def done(act: Act) -> Setup:
    """The work of a client, to its end."""

    async def setup(world: ComputeWorld, known: Known) -> None:
        task = world.spawn(act(world, known))
        await world.settle(task)
        reply = task.result()
        assert reply is not None and reply.status in (200, 202, 204), reply

    return setup


def host_fails(verb: str, error: HostError, times: int = FOR_EVER) -> Setup:
    async def setup(world: ComputeWorld, _known: Known) -> None:
        world.hypervisor.fail(verb, error, times)

    return setup


async def data_grows(world: ComputeWorld, known: Known) -> None:
    """The storage of the volume in use has two GiB now; nobody has told us yet."""
    body = {"os-extend": {"new_size": 2}}
    reply = await world.storage.ask("POST", f"/volumes/{known.data}/action", body)
    assert reply.status == 202, reply


async def leftovers(world: ComputeWorld, known: Known) -> None:
    """What a late agent left: a volume that was made for the server, which does not have it."""
    known.server = _one(world)
    body = {"volume": {"size": 1, "name": f"{known.server}-vdz"}}
    assert (await world.storage.ask("POST", "/volumes", body)).status == 202


with_data = prepared(volume("data"), done(creating()), done(attaching))
"""A running server with the volume `data`."""
