"""The hypervisor contract: what the compute agent needs of whatever runs its guests.

The agent calls it, `qemu` implements it. Guests and volumes are known by their UUIDs, so every
method may be called again, by this process or by the next one: starting what runs, attaching what
is attached, detaching or destroying what is gone all succeed. An implementation keeps nothing that
it cannot find again from the host itself.

    HostError                 the host could not do it; `temporary` says whether to try again
    ├── GuestNotFound         this host has no such guest
    ├── GuestNotRunning       the guest is there, but stopped
    ├── DeviceNameInvalid     the wanted device name is not one a guest can have
    ├── DeviceNameTaken       another disk has it
    └── TooManyDisks          no slot is left
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal


class HostError(Exception):
    """The host could not do what was asked.

    `remedy` tells a human what would help ("" when there is nothing to tell); `temporary` is true
    when the same call may succeed later unchanged.
    """

    def __init__(self, message: str, *, remedy: str = "", temporary: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.temporary = temporary


class GuestNotFound(HostError):
    """This host has no guest of that UUID."""


class GuestNotRunning(HostError):
    """The guest is stopped; the message says why."""


class DeviceNameInvalid(HostError):
    """The wanted device name is not one that a guest can have."""


class DeviceNameTaken(HostError):
    """Another disk of the guest has the wanted device name."""


class TooManyDisks(HostError):
    """The guest has no slot left for another disk."""


class GuestState(StrEnum):
    """What a guest is doing, as far as the host can tell."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
    """It lives, but its QEMU does not answer; the reason says more."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume to be given to a guest.

    `connection_info` is the wire's form, flat or nested. `device` is the wanted name ("/dev/vdc"),
    None for the next free one. `size_bytes`, when known, is the least that the storage must show
    before the guest gets the disk. `boot` marks the disk the firmware starts from.
    """

    volume_id: str
    connection_info: Mapping[str, Any] = field(repr=False)
    device: str | None = None
    read_only: bool = False
    boot: bool = False
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A guest to be started: with a kernel and an initrd, or from its disk marked `boot`."""

    uuid: str
    name: str
    memory_mib: int
    vcpus: int
    kernel: Path | None = None
    initrd: Path | None = None
    kernel_arguments: str = "console=ttyS0 quiet"
    disks: tuple[Disk, ...] = ()


@dataclass(frozen=True, slots=True)
class AttachedDisk:
    """A disk that a running guest has. `device` follows the rules of `device_names`."""

    volume_id: str
    device: str
    size_bytes: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest as it is found on the host; `reason` says why it is not running."""

    uuid: str
    name: str
    state: GuestState
    reason: str = ""
    disks: tuple[AttachedDisk, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the host offers its guests."""

    accelerator: Literal["kvm", "tcg"]
    version: str


class Hypervisor(ABC):
    """Runs guests on this host. All methods raise HostError; all may be repeated."""

    @abstractmethod
    async def capabilities(self) -> Capabilities:
        """Say what the host can do; HostError with a remedy when it can run no guest at all."""

    @abstractmethod
    async def start(self, spec: GuestSpec) -> Guest:
        """Run the guest with its disks; return when it runs, not when it has booted.

        The guest outlives this process. A guest that runs already is left as it is.
        """

    @abstractmethod
    async def stop(self, uuid: str, patience: float) -> None:
        """Press the power button, and pull the plug after `patience` seconds; keep its folder."""

    @abstractmethod
    async def destroy(self, uuid: str) -> None:
        """Pull the plug and forget the guest; one that is not here is no error."""

    @abstractmethod
    async def describe(self, uuid: str) -> Guest:
        """Look at one guest, one that does not answer too. GuestNotFound when it is not here."""

    @abstractmethod
    async def discover(self) -> list[Guest]:
        """Find all guests of this host, also those that an earlier process started."""

    @abstractmethod
    async def attach(self, uuid: str, disk: Disk) -> str:
        """Plug the disk into the running guest and return its device name ("/dev/vdb").

        A half-done attach is completed. A disk that is there already keeps its device name,
        whatever `disk.device` wants. Fails before the guest sees anything when the storage shows
        another volume than the expected one.
        """

    @abstractmethod
    async def detach(self, uuid: str, volume_id: str, patience: float) -> None:
        """Take the disk out of the guest and let go of the storage.

        A guest that does not release the disk within `patience` seconds (it hangs, or has no
        operating system yet) leaves a temporary HostError and keeps the disk; a stopped guest has
        no disks, so that succeeds.
        """

    @abstractmethod
    async def resize(self, uuid: str, volume_id: str, size_bytes: int) -> int:
        """Let the running guest see that its volume has grown; return the size it now sees.

        To be called after the storage side grew. Never shrinks: a late call with an older, smaller
        size changes nothing. Temporary HostError while the storage still shows less.
        """
