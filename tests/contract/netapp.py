"""The NetApp driver over iSCSI under the contract: a simulated array for each test process.

The array starts with the first test that needs it and is emptied after each. Hosts and the driver
reach its LUNs by iSCSI in earnest.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breezeblock.drivers.base import BackendConfig, Driver
from breezeblock.drivers.netapp import NetAppDriver, open_driver
from breezeblock.drivers.netapp.chap import CREDENTIALS
from breezeblock.drivers.netapp.igroups import IGROUPS, MAPS
from breezeblock.drivers.netapp.luns import LUNS
from breezeblock.drivers.netapp.qos import PATH as POLICIES
from tests.engines.ontap import Ontap

POOL, OTHER_POOL = "pool", "spare"
ARRAY = "array.json"
THIN = {"netapp_lun_space_reservation": "disabled"}


@functools.cache
def the_array() -> Ontap:
    """This process's simulated array, running."""
    array = Ontap(volumes=(POOL, OTHER_POOL))
    array.start()
    return array


@dataclass(frozen=True)
class NetApp:
    """The NetApp driver: what a case needs."""

    more: tuple[tuple[str, Any], ...] = ()

    def prepare(self, root: Path) -> None:
        """Note in the backend's directory where the array is: other processes come by there."""
        (root / ARRAY).write_text(json.dumps({**the_array().options, **THIN}))
        the_array().settings(move_seconds=0.3)  # hosts write meanwhile

    def new(self, root: Path) -> NetAppDriver:
        options = {**json.loads((root / ARRAY).read_text()), **dict(self.more)}
        return open_driver(BackendConfig("netapp", "here", root / "state", options))

    def leftovers(self, driver: Driver) -> list[str]:
        client = _client(driver)
        return [
            *(f"LUN {one['name']}" for one in client.records(LUNS)),
            *(f"igroup {one['name']}" for one in client.records(IGROUPS)),
            *(f"map of {one['lun']['name']}" for one in client.records(MAPS, fields=("lun.name",))),
            *(f"secret of {one['initiator']}" for one in client.records(CREDENTIALS)),
            *(f"policy {one['name']}" for one in client.records(POLICIES)),
        ]

    def stranger(self, driver: Driver, pool: str, name: str, size: int) -> dict[str, str]:
        """A LUN that the array's administrator made."""
        path = f"/vol/{pool}/{name}"
        _client(driver).post(LUNS, {"name": path, "os_type": "linux", "space.size": size})
        return {"source-name": path}

    def remove(self, driver: Driver) -> None:
        the_array().reset()


def _client(driver: Driver) -> Any:
    assert isinstance(driver, NetAppDriver)
    return driver.client
