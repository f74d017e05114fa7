"""A file or a block device of this host: `device_path`."""

from __future__ import annotations

from pathlib import Path

from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.hypervisor import HostError
from breezeblock.compute.transports.base import Data, Near, Transport, required


def transport(data: Data, _names: DiskNames, _near: Near) -> Transport:
    """A block device is opened past the page cache (two caches for the same blocks help nobody); a
    file goes through it, because not every file system can do without and because reflink copies
    of it must see what the guest wrote. The guest's flushes reach the disk in both cases.
    """
    path = Path(str(required(data, "local", "device_path")))
    if path.is_block_device():
        return Transport(
            {"driver": "host_device", "filename": str(path), "cache": {"direct": True}}
        )
    if path.is_file():
        return Transport({"driver": "file", "filename": str(path), "cache": {"direct": False}})
    raise HostError(f"{path} is neither a file nor a block device of this host.", temporary=True)
