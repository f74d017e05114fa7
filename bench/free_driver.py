"""A storage backend that costs nothing: what is measured is Breezeblock, as it was Cinder with its
fake driver.

Volumes are names in memory; exporting one is a few words. It is found as any foreign driver is, by
an entry point.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from breezeblock.drivers.base import (
    BackendConfig,
    BackendStats,
    ConnectionInfo,
    Driver,
    Item,
    PoolStats,
    Snapshot,
    Source,
    Volume,
)

REPOSITORY = Path(__file__).parents[1]


class FreeDriver(Driver):
    """One pool without end. What an earlier process has made is not known any more."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._held: dict[tuple[str, str], Item] = {}

    def setup(self) -> None:
        """There is nothing to connect to."""

    def stats(self) -> BackendStats:
        pool = PoolStats(
            "pool", "infinite", "infinite", thin_provisioning_support=True, multiattach=True
        )
        return BackendStats("Breezeblock", "1", "iSCSI", (pool,))

    def create(self, volume: Volume, source: Source) -> None:
        self._held["volume", volume.id] = Item("volume", volume.id, size=volume.size)

    def delete(self, volume: Volume) -> None:
        self._held.pop(("volume", volume.id), None)

    def extend(self, volume: Volume, new_size: int) -> None:
        self._held["volume", volume.id] = Item("volume", volume.id, size=new_size)

    def snapshot(self, snapshot: Snapshot) -> None:
        self._held["snapshot", snapshot.id] = Item("snapshot", snapshot.id, size=snapshot.size)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        self._held.pop(("snapshot", snapshot.id), None)

    def export(
        self, volume: Volume, connector: Mapping[str, Any], *, mode: Literal["rw", "ro"] = "rw"
    ) -> ConnectionInfo:
        host = str(connector["host"])
        self._held[volume.id, host] = Item("export", volume.id, host=host)
        data = {
            "target_portal": "127.0.0.1:3260",
            "target_iqn": f"iqn.2010-10.org.openstack:volume-{volume.id}",
            "target_lun": 1,
            "target_discovered": False,
            "volume_id": volume.id,
        }
        return ConnectionInfo("iscsi", data)

    def unexport(self, volume: Volume, host: str) -> None:
        self._held.pop((volume.id, host), None)

    def inventory(self) -> list[Item]:
        return list(self._held.values())


def install(folder: Path) -> dict[str, str]:
    """The environment of a process that finds the driver `free`."""
    package = folder / "free_driver-1.dist-info"
    package.mkdir(parents=True, exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: free-driver\nVersion: 1\n")
    points = "[breezeblock.drivers]\nfree = bench.free_driver:FreeDriver\n"
    (package / "entry_points.txt").write_text(points)
    (folder / "sitecustomize.py").write_text("import bench.counting\n")
    # The source beside this file, wherever the environment's is: a work tree measures itself.
    return {"PYTHONPATH": f"{folder}:{REPOSITORY}:{REPOSITORY / 'src'}"}
