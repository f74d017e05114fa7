"""How QEMU reaches storage: one file a transport, from a connection_info's data to QEMU's node.

`block_devices` looks them up in `TRANSPORTS`. To teach the host another transport (rbd), write its
file and name it there. Of all transports' data: `volume_id`, `read_only`, see `block_devices`.
"""

from __future__ import annotations

from collections.abc import Mapping

from breezeblock.compute.transports import iscsi, local, nbd, nfs
from breezeblock.compute.transports.base import Builder

TRANSPORTS: Mapping[str, Builder] = {
    "nbd": nbd.transport,
    "local": local.transport,
    "iscsi": iscsi.transport,
    "nfs": nfs.transport,
}
"""driver_volume_type → the function that knows it."""
