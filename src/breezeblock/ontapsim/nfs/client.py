"""What the simulator itself asks of a ganesha."""

from __future__ import annotations

import struct

from breezeblock.ontapsim.nfs import rpc

_NULL, _MNT, _REMOVE = 0, 1, 12


def answers(nfs: tuple[str, int]) -> bool:
    """Whether there is an NFS service."""
    try:
        rpc.call(nfs, rpc.Call(1, rpc.NFS, 3, _NULL, b""))
    except OSError:
        return False
    return True


def remove(mount: tuple[str, int], nfs: tuple[str, int], junction: str, name: str) -> None:
    """Delete a file of a junction. OSError when that does not work, or it is not there."""
    root = rpc.call(mount, rpc.Call(1, rpc.MOUNT, 3, _MNT, rpc.opaque(junction.encode())))
    status, length = struct.unpack_from(">2I", root)
    if status:
        raise OSError(status, "cannot mount")
    where = rpc.opaque(root[8 : 8 + length]) + rpc.opaque(name.encode())
    (status,) = struct.unpack_from(">I", rpc.call(nfs, rpc.Call(2, rpc.NFS, 3, _REMOVE, where)))
    if status:
        raise OSError(status, "cannot remove")
