"""Where a host's guests and the database's servers differ, and what is to be done about it.

Pure rules: the agent looks at both sides, calls `differences`, and does what it says. Servers with
work under way are left out by the agent: that work settles them. The database says what is wanted;
only of a guest that has ended by itself the host says what is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from breezeblock.compute.hypervisor import Guest, GuestState
from breezeblock.model.servers import Server, ServerVolume


@dataclass(frozen=True, slots=True)
class Ended:
    """The guest of a running server has ended: the server is off."""

    server: Server
    reason: str


@dataclass(frozen=True, slots=True)
class RunsUnasked:
    """The guest of a server that is off runs: stop it."""

    server: Server


@dataclass(frozen=True, slots=True)
class LacksVolume:
    """A running guest lacks a volume that its server has: plug it."""

    server: Server
    volume: ServerVolume


@dataclass(frozen=True, slots=True)
class HoldsVolume:
    """A running guest holds a disk that its server does not have: unplug it."""

    server: Server
    volume_id: str


@dataclass(frozen=True, slots=True)
class Stray:
    """A guest that belongs to no server."""

    guest: Guest


Difference = Ended | RunsUnasked | LacksVolume | HoldsVolume | Stray


def differences(
    servers: Iterable[Server],
    volumes: Mapping[str, Sequence[ServerVolume]],
    guests: Iterable[Guest],
    busy: Collection[str],
) -> Iterator[Difference]:
    """All differences of one host. `busy` are servers (ids) with work under way."""
    by_id = {guest.uuid: guest for guest in guests}
    for server in servers:
        guest = by_id.pop(server.id, None)
        if server.id not in busy:
            yield from _of_server(server, volumes.get(server.id, ()), guest)
    yield from (Stray(guest) for guest in by_id.values())


def _of_server(
    server: Server, volumes: Sequence[ServerVolume], guest: Guest | None
) -> Iterator[Difference]:
    runs = guest is not None and guest.state is not GuestState.STOPPED
    if server.status == "SHUTOFF" and runs:
        yield RunsUnasked(server)
    if server.status != "ACTIVE":
        return
    if guest is None:
        yield Ended(server, "The host has no guest for it.")
    elif not runs:
        yield Ended(server, guest.reason)
    else:
        yield from _of_disks(server, volumes, guest)


def _of_disks(
    server: Server, volumes: Sequence[ServerVolume], guest: Guest
) -> Iterator[Difference]:
    plugged = {disk.volume_id for disk in guest.disks}
    known = {volume.volume_id for volume in volumes}
    for volume in volumes:
        if volume.state == "attached" and volume.volume_id not in plugged:
            yield LacksVolume(server, volume)
    for volume_id in sorted(plugged - known):
        yield HoldsVolume(server, volume_id)
