"""The NetApp driver: what both of its protocols share.

`NetAppDriver` has the array's client, the pools and their figures, and policy groups; the volumes
themselves are LUNs (`iscsi.IscsiDriver`) or files (`nfs.NfsDriver`), each a subclass. Services load
`netapp`, which is `open_driver` in the package: it picks the class by `netapp_storage_protocol`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from breezeblock.drivers.base import BackendConfig, Driver
from breezeblock.drivers.netapp.client import Ontap, bounded, in_our_words
from breezeblock.drivers.netapp.options import NetAppOptions
from breezeblock.drivers.netapp.pools import Pools

VERSION = "1.0"


@contextmanager
def verb() -> Iterator[None]:
    """A method of the driver: it ends in time, and what goes wrong is in our words."""
    with bounded(), in_our_words():
        yield


class NetAppDriver(Driver):
    """What is the same for LUNs and for files. See `options` for what can be configured."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self.options = NetAppOptions.of(config)
        self.client = Ontap(self.options)
        self.pools = Pools(self.client, self.options)

    def close(self) -> None:
        self.client.close()
