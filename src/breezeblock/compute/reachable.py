"""Before QEMU is told of a disk: is its storage there, and by which way?

QEMU opens storage with the whole guest standing still, and iSCSI and NFS servers that hang keep it
so. Called by `qemu` with each disk that a guest is to get; nothing of it is remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from breezeblock.compute import iscsi_paths
from breezeblock.compute.block_devices import kind_and_data
from breezeblock.compute.hypervisor import Disk
from breezeblock.compute.transports.base import Data, Json

_WAYS: Mapping[str, Callable[[Data, str | None], Awaitable[Json]]] = {
    "iscsi": iscsi_paths.settled,
}


async def reachable(disk: Disk, initiator: str | None) -> Disk:
    """The disk, with the way that QEMU is to take; HostError when there is none."""
    kind, data = kind_and_data(disk.connection_info)
    find = _WAYS.get(kind)
    if find is None:
        return disk
    found = {"driver_volume_type": kind, "data": await find(data, initiator)}
    return replace(disk, connection_info=found)
