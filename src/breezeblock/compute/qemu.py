"""Guests on this host's QEMU, driven over QMP: the `Hypervisor` that the compute agent uses.

One folder a guest below `state_dir` (`guest_directory`) and the QEMU process itself are the whole
state: an agent that restarts makes a new object over the same folder and goes on. Calls for one
guest take turns, calls for different guests run side by side.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from breezeblock.compute import qemu_disks, qemu_process
from breezeblock.compute.block_devices import DiskPlan, plan_disk
from breezeblock.compute.device_names import choose_slot, device_name
from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.guest_directory import GuestDirectory
from breezeblock.compute.hypervisor import (
    Capabilities,
    Disk,
    Guest,
    GuestNotFound,
    GuestNotRunning,
    GuestSpec,
    GuestState,
    HostError,
    Hypervisor,
)
from breezeblock.compute.qemu_command import qemu_command
from breezeblock.compute.qmp import Monitor, Refused, answers, monitor
from breezeblock.compute.reachable import reachable

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0
_QUIT_TIMEOUT = 5.0
_ASKED_TO = "Stopped on request."
_STATES = {"running": GuestState.RUNNING, "shutdown": GuestState.STOPPED}  # else: paused


class QemuHypervisor(Hypervisor):
    """QEMU guests below one folder."""

    def __init__(
        self,
        state_dir: Path,
        accelerator: Literal["auto", "kvm", "tcg"] = "auto",
        initiator: str | None = None,
    ) -> None:
        self._initiator = initiator
        self._wanted = accelerator
        self._state_dir = state_dir.resolve()
        self._capabilities: Capabilities | None = None
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            binary = qemu_process.find_binary()
            self._capabilities = Capabilities(
                accelerator=await self._accelerator(binary),
                version=await asyncio.to_thread(qemu_process.version, binary),
            )
        return self._capabilities

    async def _accelerator(self, binary: str) -> Literal["kvm", "tcg"]:
        if self._wanted != "auto":
            return self._wanted
        return await asyncio.to_thread(qemu_process.probe_accelerator, binary)

    async def start(self, spec: GuestSpec) -> Guest:
        can = await self.capabilities()
        binary = qemu_process.find_binary()
        async with self._turns[spec.uuid]:
            directory = self._directory(spec.uuid)
            present = await self._look(directory) if _alive(directory) else None
            if present is not None and present.state is GuestState.RUNNING:
                return present
            plans = await self._plan_initial_disks(spec, directory)
            if present is not None and present.state is GuestState.PAUSED:
                return await self._let_run(directory, plans)
            command = qemu_command(binary, spec, directory, can.accelerator, plans)
            directory.prepare(spec)
            try:
                await self._launch(command, directory, plans)
                return await self._let_run(directory, plans)
            except BaseException as error:
                await qemu_process.kill(directory.pid_file)
                directory.remember_stop(f"It could not be started: {error}")
                raise

    async def _launch(
        self, command: Sequence[str], directory: GuestDirectory, plans: Sequence[DiskPlan]
    ) -> None:
        for plan in plans:
            disk = directory.disk(plan.names.volume_id)
            disk.write_secrets(dict(plan.transport.secrets))
            disk.remember_options(plan.transport.options)
        try:
            await qemu_process.launch(
                command,
                log=directory.qemu_log,
                ready=lambda: answers(directory.qmp_socket),
                patience=START_TIMEOUT,
            )
        finally:
            for plan in plans:
                disk = directory.disk(plan.names.volume_id)
                disk.remove_secrets(list(plan.transport.secrets))

    async def _let_run(self, directory: GuestDirectory, plans: Sequence[DiskPlan]) -> Guest:
        async with monitor(directory.qmp_socket) as qmp:
            if await _status(qmp) == "prelaunch":
                for plan in plans:
                    await qemu_disks.check_size(qmp, plan)
                await qmp.execute("cont")
        return await self._look(directory)

    async def stop(self, uuid: str, patience: float) -> None:
        async with self._turns[uuid]:
            directory = self._existing(uuid)
            if not _alive(directory):
                return
            if (await self._look(directory)).state is not GuestState.STOPPED:
                await _press_power_button(directory, patience)
                await self._end(directory, _ASKED_TO)

    async def destroy(self, uuid: str) -> None:
        async with self._turns[uuid]:
            directory = self._directory(uuid)
            await self._end(directory, _ASKED_TO)
            directory.remove()

    async def describe(self, uuid: str) -> Guest:
        async with self._turns[uuid]:
            directory = self._existing(uuid)
            try:
                return await self._look(directory)
            except HostError as error:
                name = directory.note().name
                return Guest(directory.uuid, name, GuestState.UNKNOWN, error.message)

    async def discover(self) -> list[Guest]:
        async def look(directory: GuestDirectory) -> list[Guest]:
            try:
                return [await self.describe(directory.uuid)]
            except GuestNotFound:  # destroyed while we looked
                return []

        found = await asyncio.gather(*map(look, GuestDirectory.all(self._state_dir)))
        return [guest for guests in found for guest in guests]

    async def attach(self, uuid: str, disk: Disk) -> str:
        async with self._turns[uuid], self._running(uuid) as (directory, qmp):
            present = await qemu_disks.plugged(qmp)
            names = DiskNames.of(disk.volume_id)
            if names.volume_id in present:
                return present[names.volume_id].disk.device
            await qemu_disks.close_abandoned(qmp, directory)
            slot = choose_slot(disk.device, {one.slot for one in present.values()})
            folder = directory.disk(names.volume_id)
            there = await reachable(disk, self._initiator)
            plan = plan_disk(there, slot, folder.path, self._initiator)
            await qemu_disks.plug(qmp, plan, folder)
            return device_name(slot)

    async def detach(self, uuid: str, volume_id: str, patience: float) -> None:
        async with self._turns[uuid]:
            try:
                async with self._running(uuid) as (directory, qmp):
                    names = DiskNames.of(volume_id)
                    folder = directory.disk(names.volume_id)
                    await qemu_disks.close_abandoned(qmp, directory)
                    await qemu_disks.unplug(qmp, names, folder, patience)
            except (GuestNotRunning, GuestNotFound):
                return

    async def resize(self, uuid: str, volume_id: str, size_bytes: int) -> int:
        async with self._turns[uuid], self._running(uuid) as (directory, qmp):
            names = DiskNames.of(volume_id)
            return await qemu_disks.grow(qmp, names, directory.disk(names.volume_id), size_bytes)

    async def _plan_initial_disks(
        self, spec: GuestSpec, directory: GuestDirectory
    ) -> list[DiskPlan]:
        plans: list[DiskPlan] = []
        wanted_first = sorted(spec.disks, key=lambda disk: (not disk.boot, disk.device is None))
        for disk in wanted_first:
            slot = choose_slot(disk.device, {plan.slot for plan in plans}, boot=disk.boot)
            secrets_dir = directory.disk(DiskNames.of(disk.volume_id).volume_id).path
            there = await reachable(disk, self._initiator)
            plans.append(plan_disk(there, slot, secrets_dir, self._initiator))
        return plans

    def _directory(self, uuid: str) -> GuestDirectory:
        return GuestDirectory.of(self._state_dir, uuid)

    def _existing(self, uuid: str) -> GuestDirectory:
        directory = self._directory(uuid)
        if not directory.exists:
            raise GuestNotFound(f"This host has no guest {uuid}.")
        return directory

    @asynccontextmanager
    async def _running(self, uuid: str) -> AsyncIterator[tuple[GuestDirectory, Monitor]]:
        """The guest's folder and monitor; GuestNotRunning, with the reason, when it is stopped."""
        directory = self._existing(uuid)
        guest = await self._look(directory)
        if guest.state is GuestState.STOPPED:
            raise GuestNotRunning(f"Guest {uuid} is stopped: {guest.reason}")
        async with monitor(directory.qmp_socket) as qmp:
            yield directory, qmp

    async def _look(self, directory: GuestDirectory) -> Guest:
        """See what the guest does; one that has shut down from inside is cleared away."""
        name = directory.note().name
        if not _alive(directory):
            reason = directory.stop_reason()
            return Guest(directory.uuid, name, GuestState.STOPPED, reason)
        await qemu_disks.nfs_speaks(directory)
        async with monitor(directory.qmp_socket) as qmp:
            status = await _status(qmp)
            state = _STATES.get(status, GuestState.PAUSED)
            if state is not GuestState.STOPPED:
                disks = tuple(one.disk for one in (await qemu_disks.plugged(qmp)).values())
                reason = "" if state is GuestState.RUNNING else f"QEMU says {status}."
                return Guest(directory.uuid, name, state, reason, disks)
        await self._end(directory, "The guest shut itself down.")
        return Guest(directory.uuid, name, GuestState.STOPPED, directory.stop_reason())

    async def _end(self, directory: GuestDirectory, reason: str) -> None:
        """Let QEMU write out what it holds and end; kill it when it does not."""
        if not _alive(directory):
            return
        directory.remember_stop(reason)
        try:
            async with asyncio.timeout(_QUIT_TIMEOUT), monitor(directory.qmp_socket) as qmp:
                await qmp.execute("quit")
            await qemu_process.gone(directory.pid_file, _QUIT_TIMEOUT)
        except (HostError, TimeoutError) as error:
            log.info("guest %s does not quit: %s", directory.uuid, error)
        await qemu_process.kill(directory.pid_file)


def _alive(directory: GuestDirectory) -> bool:
    return qemu_process.holder(directory.pid_file) is not None


async def _status(qmp: Monitor) -> str:
    return str((await qmp.execute("query-status"))["status"])


async def _press_power_button(directory: GuestDirectory, patience: float) -> None:
    """Wait until the guest has shut down, or `patience` seconds have passed."""
    async with monitor(directory.qmp_socket) as qmp:
        with qmp.events("SHUTDOWN") as shutdowns:
            try:
                await qmp.execute("system_powerdown")
            except Refused as refusal:
                log.info("guest %s cannot be asked to shut down: %s", directory.uuid, refusal)
                return
            await shutdowns.seen(patience)
