"""Guests for end-to-end tests: started by a process that has ended, gone when the tests are.

A guest outlives whoever started it, so a test run that was killed leaves some behind; the next run
finds them by the folder's name and ends them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from breezeblock.compute.guest_directory import GuestDirectory
from breezeblock.compute.guest_image import GuestImage, ensure_guest_image
from breezeblock.compute.hypervisor import Disk, GuestSpec
from breezeblock.compute.qemu import QemuHypervisor

PREFIX = "breezeblock-guests-"
IMAGE_CACHE = Path(__file__).parents[2] / ".cache" / "guest"

_STARTER = """
import asyncio, pathlib, sys
from breezeblock.compute.hypervisor import GuestSpec
from breezeblock.compute.qemu import QemuHypervisor
state, uuid, name, kernel, initrd = sys.argv[1:]
spec = GuestSpec(uuid, name, 256, 1, pathlib.Path(kernel), pathlib.Path(initrd))
asyncio.run(QemuHypervisor(pathlib.Path(state)).start(spec))
"""


class Guests:
    """A state folder of its own, and the guests in it."""

    def __init__(self) -> None:
        self.state_dir = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.image: GuestImage = ensure_guest_image(IMAGE_CACHE, print)

    def spec(self, name: str, *disks: Disk) -> GuestSpec:
        """A guest that boots our kernel, or the disk marked `boot`."""
        spec = GuestSpec(str(uuid4()), name, memory_mib=256, vcpus=1, disks=disks)
        if any(disk.boot for disk in disks):
            return spec
        return replace(spec, kernel=self.image.kernel, initrd=self.image.initrd)

    async def start_elsewhere(self, name: str) -> str:
        """Start a guest from another process, which ends then; return the guest's UUID."""
        spec = self.spec(name)
        arguments = (self.state_dir, spec.uuid, name, spec.kernel, spec.initrd)
        starter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _STARTER, *(str(one) for one in arguments)
        )
        assert await starter.wait() == 0
        return spec.uuid

    def folder(self, uuid: str) -> GuestDirectory:
        return GuestDirectory.of(self.state_dir, uuid)

    async def remove(self) -> None:
        """End all guests and forget them."""
        await _remove(self.state_dir)


def abandoned() -> list[Path]:
    """The folders of test runs that were killed."""
    folders = Path(tempfile.gettempdir()).glob(f"{PREFIX}*")
    owners = {folder: folder.name.removeprefix(PREFIX).split("-")[0] for folder in folders}
    return [folder for folder, owner in owners.items() if not Path("/proc", owner).exists()]


async def sweep() -> None:
    """End what test runs that were killed have left behind."""
    for folder in abandoned():
        await _remove(folder)


async def _remove(state_dir: Path) -> None:
    hypervisor = QemuHypervisor(state_dir)
    for folder in GuestDirectory.all(state_dir):
        await hypervisor.destroy(folder.uuid)
    shutil.rmtree(state_dir, ignore_errors=True)
