"""A file on an NFS server, by QEMU's own client (libnfs): nothing is mounted. Its data:

    export      "server:/path"
    name        the file in it
    format      "raw" or "qcow2"; absent: raw

A guest whose server goes away waits until it is back; its disks cannot be looked at meanwhile, see
`qemu_disks`. Mount options are the kernel's and mean nothing here. NFS has no serial: `qemu_disks`
checks the size, as with NBD.
"""

from __future__ import annotations

import re

from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.hypervisor import HostError
from breezeblock.compute.transports.base import Data, Json, Near, Transport, required

_EXPORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<path>/.*)")


def transport(data: Data, _names: DiskNames, _near: Near) -> Transport:
    host, folder = server_and_folder(data)
    name = str(required(data, "nfs", "name"))
    if ".." in name.split("/") or "\0" in name:
        raise HostError(f"{name[:100]!r} is no file of the export.")
    file: Json = {
        "driver": "nfs",
        "server": {"type": "inet", "host": host},
        "path": f"{folder.rstrip('/')}/{name}",
    }
    kind = data.get("format") or "raw"
    if kind == "raw":
        return Transport(file)
    if kind == "qcow2":
        # A chain is not followed: the name of the file below could be any file of this host.
        return Transport({"driver": "qcow2", "file": file, "backing": None})
    raise HostError(f"This host cannot attach a file of format {str(kind)[:50]!r} over NFS.")


def server_and_folder(data: Data) -> tuple[str, str]:
    export = str(required(data, "nfs", "export"))
    parts = _EXPORT.fullmatch(export)
    if parts is None:
        raise HostError(f"{export[:100]!r} is no NFS export: server:/path is.")
    return parts["v6"] or parts["host"], parts["path"]
