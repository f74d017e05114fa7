"""The NetApp driver over NFS under the contract, on the array that is there for iSCSI, too.

Hosts and the driver reach its files by NFS in earnest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from breezeblock.drivers.base import BackendConfig, Driver
from breezeblock.drivers.netapp import NfsDriver
from breezeblock.drivers.netapp.qos import PATH as POLICIES
from tests.contract.netapp import ARRAY, the_array

NO_FILES = {".", "..", ".luns"}


class NetAppNfs:
    """The NetApp driver over NFS: what a case needs."""

    def prepare(self, root: Path) -> None:
        """Note in the backend's directory where the array is: other processes come by there."""
        options = {**the_array().options, "netapp_storage_protocol": "nfs"}
        (root / ARRAY).write_text(json.dumps(options))

    def new(self, root: Path) -> NfsDriver:
        options = json.loads((root / ARRAY).read_text())
        return NfsDriver(BackendConfig("netapp", "here", root / "state", options))

    def leftovers(self, driver: Driver) -> list[str]:
        assert isinstance(driver, NfsDriver)
        policies = driver.client.records(POLICIES)
        return [
            *(file for flexvol in driver.pools.all() for file in _files(driver, flexvol.uuid)),
            *(f"policy {one['name']}" for one in policies),
        ]

    def remove(self, driver: Driver) -> None:
        the_array().reset()

    def stranger(self, driver: Driver, pool: str, name: str, size: int) -> Mapping[str, str]:
        """A file that somebody made on the FlexVol."""
        assert isinstance(driver, NfsDriver)
        path = f"/storage/volumes/{driver.pools.get(pool).uuid}/files/{name}"
        driver.client.post(path, {"type": "file", "size": size})
        return {"source-name": name}


def _files(driver: NfsDriver, uuid: str) -> list[str]:
    found = driver.client.records(f"/storage/volumes/{uuid}/files", fields=("name",))
    return [one["name"] for one in found if one["name"] not in NO_FILES]
