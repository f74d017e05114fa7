"""Doors of the compute service that obey a test: a hypervisor in memory, a network that fails.

Both count effects together (`Effects`): a test can have the agent die right before, or right after,
the n-th of them, wherever that is.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from breezeblock.compute.device_names import SLOTS, choose_slot, device_name
from breezeblock.compute.hypervisor import (
    AttachedDisk,
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


class Crash(BaseException):
    """The agent's process dies here."""


@dataclass
class Effects:
    """What the agent does to the world, in order. `crash_at` counts from 1."""

    done: list[str] = field(default_factory=list)
    begun: int = 0
    crash_before: int = 0
    crash_after: int = 0

    def begin(self, what: str) -> None:
        self.begun += 1
        if self.begun == self.crash_before:
            raise Crash(f"before {what}")
        self.done.append(what)

    def end(self, what: str) -> None:
        if self.begun == self.crash_after:
            self.crash_after = 0
            raise Crash(f"after {what}")

    def restart(self, *, crash_before: int = 0, crash_after: int = 0) -> None:
        """Count from here."""
        self.done.clear()
        self.begun = 0
        self.crash_before, self.crash_after = crash_before, crash_after


class FakeHypervisor(Hypervisor):
    """Guests as plain data. `failures` maps a verb to the errors of its next calls."""

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        self.failures: dict[str, deque[Exception]] = {}
        self.guests: dict[str, Guest] = {}
        self.specs: dict[str, GuestSpec] = {}
        self.sizes: dict[str, int] = {}
        self.missing: HostError | None = None
        self.reaches: Callable[[str], bool] = lambda _volume_id: True

    def copy(self) -> FakeHypervisor:
        """Another one with the same guests, that is told to fail in the same way."""
        other = FakeHypervisor(Effects())
        other.failures = {verb: deque(errors) for verb, errors in self.failures.items()}
        other.guests = dict(self.guests)
        other.specs = dict(self.specs)
        other.sizes = dict(self.sizes)
        other.missing = self.missing
        return other

    def state(self) -> Any:
        """Its guests and their disks, as a value."""
        failing = {verb: len(errors) for verb, errors in self.failures.items()}
        return (frozenset(self.guests.items()), frozenset(self.sizes.items()), failing)

    def fail(self, verb: str, error: Exception, times: int = 1) -> None:
        self.failures[verb] = deque([error] * times)

    def _enter(self, verb: str, ident: str) -> str:
        what = f"{verb} {ident}"
        self.effects.begin(what)
        waiting = self.failures.get(verb)
        if waiting:
            raise waiting.popleft()
        return what

    async def capabilities(self) -> Capabilities:
        if self.missing:
            raise self.missing
        return Capabilities("tcg", "fake 1")

    async def start(self, spec: GuestSpec) -> Guest:
        what = self._enter("start", spec.uuid)
        if self.missing:
            raise self.missing
        guest = self.guests.get(spec.uuid)
        if guest is None or guest.state is GuestState.STOPPED:
            self._check_reach(spec.disks)
            self.specs[spec.uuid] = spec
            guest = Guest(spec.uuid, spec.name, GuestState.RUNNING)
            self.guests[spec.uuid] = guest
            for disk in sorted(spec.disks, key=lambda one: not one.boot):
                self._plug(spec.uuid, disk)
        self.effects.end(what)
        return self.guests[spec.uuid]

    async def stop(self, uuid: str, patience: float) -> None:
        what = self._enter("stop", uuid)
        guest = await self.describe(uuid)
        self.guests[uuid] = Guest(uuid, guest.name, GuestState.STOPPED, "Stopped on request.")
        self.effects.end(what)

    def die(self, uuid: str, reason: str) -> None:
        """The guest ends by itself."""
        self.guests[uuid] = Guest(uuid, self.guests[uuid].name, GuestState.STOPPED, reason)

    async def destroy(self, uuid: str) -> None:
        what = self._enter("destroy", uuid)
        self.guests.pop(uuid, None)
        self.effects.end(what)

    async def describe(self, uuid: str) -> Guest:
        if uuid not in self.guests:
            raise GuestNotFound(f"This host has no guest {uuid}.")
        return self.guests[uuid]

    async def discover(self) -> list[Guest]:
        return list(self.guests.values())

    async def attach(self, uuid: str, disk: Disk) -> str:
        what = self._enter("attach", disk.volume_id)
        guest = await self.describe(uuid)
        if guest.state is GuestState.STOPPED:
            raise GuestNotRunning(f"Guest {uuid} is stopped: {guest.reason}")
        self._check_reach([disk])
        device = self._plug(uuid, disk)
        self.effects.end(what)
        return device

    def _check_reach(self, disks: Iterable[Disk]) -> None:
        """A disk is plugged only when the storage answers."""
        for disk in disks:
            if not self.reaches(disk.volume_id):
                raise HostError(f"The storage of volume {disk.volume_id} does not let us in.")

    def _plug(self, uuid: str, disk: Disk) -> str:
        guest = self.guests[uuid]
        for present in guest.disks:
            if present.volume_id == disk.volume_id:
                return present.device
        names = [present.device for present in guest.disks]
        taken = {slot for slot in range(SLOTS) if device_name(slot) in names}
        device = device_name(choose_slot(disk.device, taken, boot=disk.boot))
        plugged = AttachedDisk(disk.volume_id, device, disk.size_bytes or 0, disk.read_only)
        self.guests[uuid] = Guest(uuid, guest.name, guest.state, "", (*guest.disks, plugged))
        return device

    async def detach(self, uuid: str, volume_id: str, patience: float) -> None:
        what = self._enter("detach", volume_id)
        guest = self.guests.get(uuid)
        if guest is not None:
            kept = tuple(disk for disk in guest.disks if disk.volume_id != volume_id)
            self.guests[uuid] = Guest(uuid, guest.name, guest.state, guest.reason, kept)
        self.effects.end(what)

    async def resize(self, uuid: str, volume_id: str, size_bytes: int) -> int:
        what = self._enter("resize", volume_id)
        guest = await self.describe(uuid)
        if guest.state is GuestState.STOPPED:
            raise GuestNotRunning("stopped")
        self.sizes[volume_id] = max(self.sizes.get(volume_id, 0), size_bytes)
        self.effects.end(what)
        return self.sizes[volume_id]


@dataclass
class _Trouble:
    method: str
    path: re.Pattern[str]
    status: int
    times: int


class Network(httpx2.AsyncBaseTransport):
    """The way to the block storage API. Calls that change something are effects."""

    def __init__(self, api: httpx2.AsyncBaseTransport, effects: Effects) -> None:
        self._api = api
        self.effects = effects
        self._troubles: list[_Trouble] = []

    def fail(self, method: str, path: str, status: int, times: int = 1) -> None:
        """Answer the next calls with a fault (status 0: with nothing)."""
        self._troubles.append(_Trouble(method, re.compile(path), status, times))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        what = f"{request.method} {re.sub('[0-9a-f-]{36}', '*', request.url.path)}"
        changes = request.method != "GET"
        if changes:
            self.effects.begin(what)
        reply = self._trouble(request) or await self._passed_on(request)
        if changes:
            self.effects.end(what)
        return reply

    async def _passed_on(self, request: httpx2.Request) -> httpx2.Response:
        reply = await self._api.handle_async_request(request)
        content = await reply.aread()
        return httpx2.Response(reply.status_code, headers=reply.headers, content=content)

    def _trouble(self, request: httpx2.Request) -> httpx2.Response | None:
        for trouble in self._troubles:
            fits = trouble.method == request.method and trouble.path.search(request.url.path)
            if not fits or not trouble.times:
                continue
            trouble.times -= 1
            if trouble.status == 0:
                raise httpx2.ConnectError("connection refused")
            fault: dict[str, Any] = {"fault": {"code": trouble.status, "message": "made up"}}
            return httpx2.Response(trouble.status, json=fault)
        return None
