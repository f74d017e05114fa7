"""The compute agent: takes a host's work off its queue, reports the host, keeps guests and
database in agreement.

Guests outlive it. When it starts it finds them again, and what an earlier agent left half done is
carried on by the operations engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import structlog

from breezeblock.compute.block_storage import BlockStorageError
from breezeblock.compute.doors import Doors, queue_of
from breezeblock.compute.hypervisor import GuestNotFound, GuestNotRunning, HostError
from breezeblock.compute.reconcile import (
    Difference,
    Ended,
    HoldsVolume,
    LacksVolume,
    RunsUnasked,
    Stray,
    differences,
)
from breezeblock.compute.workflows import delete_server
from breezeblock.compute.workflows.attach_server_volume import turn_of
from breezeblock.compute.workflows.volumes import disk_of
from breezeblock.model.errors import Failure
from breezeblock.model.servers import Server, ServerVolume, fault_of
from breezeblock.operations.engine import Engine
from breezeblock.store import operations, servers
from breezeblock.store.store import ReadTx, StoreUnavailable, WriteTx

log = structlog.get_logger()

IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database says of this host, before the host is looked at."""

    servers: list[Server]
    volumes: dict[str, list[ServerVolume]]
    busy: frozenset[str]


class Agent:
    """One host's agent. `start`, then `close`; guests stay."""

    def __init__(self, engine: Engine, doors: Doors, zone: str, report_interval: float) -> None:
        self.engine = engine
        self.doors = doors
        self.zone = zone
        self.report_interval = report_interval
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to report and to work. A host without QEMU reports that, and nothing runs there."""
        await self._look()
        await self.engine.serve(queue_of(self.doors.host.name), in_flight=IN_FLIGHT)
        self._task = asyncio.create_task(self._look_for_ever())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable):
            name = self.doors.host.name
            await self.doors.store.write(lambda tx: servers.withdraw_host(tx, name))

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.report_interval)
            await self._look()

    async def _look(self) -> None:
        try:
            await self.report()
            await self.reconcile()
        except StoreUnavailable as error:
            log.warning("database away", error=error.in_full)
        except Exception:
            log.exception("looking after the guests failed")

    async def report(self) -> None:
        """Say that this host works, and what it offers."""
        host, details = self.doors.host, await self._details()
        await self.doors.store.write(
            lambda tx: servers.report_host(tx, host.name, self.zone, details)
        )

    async def _details(self) -> dict[str, Any]:
        try:
            can = await self.doors.host.hypervisor.capabilities()
        except HostError as error:
            return {"problem": f"{error.message} {error.remedy}".strip()}
        return {"accelerator": can.accelerator, "version": can.version}

    # -- guests and database -------------------------------------------------------------------

    async def reconcile(self) -> list[Difference]:
        """Look at both sides and act on each difference; returns them."""
        host = self.doors.host
        known = await self.doors.store.read(lambda tx: _known(tx, host.name))
        guests = await host.hypervisor.discover()
        found = list(differences(known.servers, known.volumes, guests, known.busy))
        for difference in found:
            try:
                await self._act(difference)
            except (HostError, BlockStorageError) as error:
                log.warning("difference stays", difference=str(difference), error=str(error))
        return found

    async def _act(self, difference: Difference) -> None:
        hypervisor = self.doors.host.hypervisor
        match difference:
            case Ended(server, reason):
                log.info("guest has ended", server=server.id, reason=reason)
                await self.doors.store.write(lambda tx: _shut_off(tx, server, reason))
            case RunsUnasked(server):
                if await self._unchanged(server):
                    log.warning("guest runs though it was stopped", server=server.id)
                    await hypervisor.stop(server.id, self.doors.host.shutdown_timeout)
            case LacksVolume(server, volume):
                if await self._unchanged(server, volume.volume_id):
                    await self._plug(server, volume)
            case HoldsVolume(server, volume_id):
                if await self._unchanged(server, volume_id):
                    log.warning("unplugging a foreign disk", server=server.id, volume=volume_id)
                    await hypervisor.detach(server.id, volume_id, self.doors.host.detach_timeout)
            case Stray(guest):
                await self._end_if_deleted(guest.uuid)

    async def _plug(self, server: Server, volume: ServerVolume) -> None:
        log.warning("plugging a disk again", server=server.id, volume=volume.volume_id)
        disk = await disk_of(self.doors.storage_of(server), volume)
        with contextlib.suppress(GuestNotRunning, GuestNotFound):
            await self.doors.host.hypervisor.attach(server.id, disk)

    async def _unchanged(self, server: Server, volume_id: str | None = None) -> bool:
        """Whether what was seen still holds, now that the host has been looked at."""
        return await self.doors.store.read(lambda tx: _unchanged(tx, server, volume_id))

    async def _end_if_deleted(self, uuid: str) -> None:
        """A late start may bring back a guest whose server was deleted. Any other guest without a
        server is somebody else's (or the database is the wrong one): it is told of, never ended."""
        if await self.doors.store.read(lambda tx: _was_deleted(tx, uuid)):
            log.warning("ending the guest of a deleted server", guest=uuid)
            await self.doors.host.hypervisor.destroy(uuid)
        else:
            log.warning("guest without a server", guest=uuid)


def _known(tx: ReadTx, host: str) -> _Known:
    found = servers.of_host(tx, host)
    volumes = dict(servers.volumes_of_all(tx, [server.id for server in found]))
    busy = frozenset(
        server.id for server in found if not _is_idle(tx, server, volumes.get(server.id, []))
    )
    return _Known(found, volumes, busy)


def _is_idle(tx: ReadTx, server: Server, volumes: list[ServerVolume]) -> bool:
    turns = [turn_of(one.volume_id, server.id) for one in volumes if one.volume_id]
    return all(operations.open_on(tx, resource) is None for resource in (server.id, *turns))


def _unchanged(tx: ReadTx, seen: Server, volume_id: str | None) -> bool:
    now = servers.find(tx, seen.id)
    turn = turn_of(volume_id, seen.id) if volume_id else seen.id
    return (
        now is not None
        and now.updated_at == seen.updated_at
        and operations.open_on(tx, seen.id) is None
        and operations.open_on(tx, turn) is None
    )


def _shut_off(tx: WriteTx, seen: Server, reason: str) -> None:
    if _unchanged(tx, seen, None):
        failure = Failure(
            code="ended",
            message="The guest has ended by itself.",
            cause=reason,
            remedy="Start the server again.",
        )
        fault = fault_of(failure, tx.now)
        servers.update(tx, seen.id, status="SHUTOFF", fault=fault)


def _was_deleted(tx: ReadTx, server_id: str) -> bool:
    if servers.find(tx, server_id) is not None:
        return False
    done = operations.of_resource(tx, server_id)
    name = delete_server.WORKFLOW.name
    return any(one.workflow == name and one.state == "succeeded" for one in done)
