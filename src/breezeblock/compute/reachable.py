"""Before QEMU is told of a disk: is its storage there, and by which way?

QEMU opens storage with the whole guest standing still, and iSCSI and NFS servers that hang keep it
so. Called by `qemu` with each disk that a guest is to get; nothing of it is remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from breezeblock.compute import iscsi_paths
from breezeblock.compute.block_devices import kind_and_data
from breezeblock.compute.hypervisor import Disk, HostError
from breezeblock.compute.storage_answers import nfs_answers
from breezeblock.compute.transports import nfs
from breezeblock.compute.transports.base import Data, Json


async def _nfs(data: Data, _initiator: str | None) -> Json:
    host, _ = nfs.server_and_folder(data)
    if not await nfs_answers(host):
        raise HostError(
            f"The NFS server {host} does not answer.",
            remedy="See that it is up and reachable from this host.",
            temporary=True,
        )
    return dict(data)


_WAYS: Mapping[str, Callable[[Data, str | None], Awaitable[Json]]] = {
    "iscsi": iscsi_paths.settled,
    "nfs": _nfs,
}


async def reachable(disk: Disk, initiator: str | None) -> Disk:
    """The disk, with the way that QEMU is to take; HostError when there is none."""
    kind, data = kind_and_data(disk.connection_info)
    find = _WAYS.get(kind)
    if find is None:
        return disk
    found = {"driver_volume_type": kind, "data": await find(data, initiator)}
    return replace(disk, connection_info=found)
