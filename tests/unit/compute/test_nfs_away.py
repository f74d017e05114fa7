"""An NFS server that is away: QEMU is not told of it, nor asked about the disks that are on it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from breezeblock.compute.guest_directory import GuestDirectory
from breezeblock.compute.hypervisor import Disk, HostError
from breezeblock.compute.qemu_disks import nfs_speaks
from breezeblock.compute.reachable import reachable

GUEST = "5b1b8a52-6d1c-4f0e-8f0a-0c8f2f1f3a10"
VOLUME = "0f5a33cd-9f0e-4f4e-b9a1-6a1f6f9f2b11"
NOBODY = "127.66.77.88"
NODE = {"driver": "nfs", "server": {"type": "inet", "host": NOBODY}, "path": "/vol/file"}


def test_a_disk_is_refused_before_qemu_would_wait_for_its_server() -> None:
    data = {"export": f"{NOBODY}:/vol", "name": "file"}
    disk = Disk(VOLUME, {"driver_volume_type": "nfs", "data": data})
    with pytest.raises(HostError, match="does not answer") as refused:
        asyncio.run(reachable(disk, None))
    assert refused.value.temporary


@pytest.mark.parametrize("options", [NODE, {"driver": "qcow2", "file": NODE}])
def test_qemu_is_not_asked_while_a_server_is_away(
    tmp_path: Path, options: dict[str, object]
) -> None:
    guest = GuestDirectory.of(tmp_path, GUEST)
    guest.disk(VOLUME).remember_options(options)
    with pytest.raises(HostError, match=f"{NOBODY} of volume {VOLUME}") as refused:
        asyncio.run(nfs_speaks(guest))
    assert refused.value.temporary


def test_other_disks_are_no_reason_not_to_ask(tmp_path: Path) -> None:
    guest = GuestDirectory.of(tmp_path, GUEST)
    guest.disk(VOLUME).remember_options({"driver": "file", "filename": "/gone"})
    asyncio.run(nfs_speaks(guest))
