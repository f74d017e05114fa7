"""The life of volumes that are files: every call of the driver, the data looked at over NFS.

The kernel of a test machine may have no NFS client, so a folder of the array stands where the
driver would mount it; hosts are QEMU's own client, which needs no mount.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cinder import context, objects

from tests.ontapsim.upstream_cinder import GIB, Array, keep, new_snapshot, new_volume, step


def options(array: Array, folder: Path) -> dict[str, object]:
    """The configuration's, with the list of shares that it names."""
    shares = folder / "shares"
    shares.write_text("".join(f"{share}\n" for share in array["shares"]))
    return {
        "netapp_storage_protocol": "nfs",
        "nfs_shares_config": shares,
        "nfs_mount_point_base": folder / "mounts",
    }


def mount(driver: Any, shares: Mapping[str, str]) -> None:
    """Instead of a mount: a link to where the array has the FlexVol's files."""
    client = driver._remotefsclient

    def link(share: str, _flags: object = None) -> None:
        place = Path(client.get_mount_point(share))
        place.parent.mkdir(exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(shares[share], target_is_directory=True)

    client.mount = link


def life(driver: Any, array: Array) -> None:
    """Every call of a volume's life."""
    ctxt = context.get_admin_context()
    share, other = array["shares"]
    stats = driver.get_volume_stats(refresh=True)
    assert {pool["pool_name"] for pool in stats["pools"]} == {share, other}, stats
    assert all(pool["free_capacity_gb"] > 90 for pool in stats["pools"]), stats
    step("stats")

    volume = new_volume(ctxt, where=share)
    keep(volume, driver.create_volume(volume))
    assert volume.provider_location == share
    keep(volume, driver.create_export(ctxt, volume, {}))
    _io(driver, volume, "write -P 1 0 1M")
    step("create, attach")

    driver.extend_volume(volume, 2)
    volume.size = 2
    volume.save()
    _io(driver, volume, f"write -P 2 {2 * GIB - 4096} 4096")
    step("extend")

    snapshot = new_snapshot(ctxt, volume)
    keep(snapshot, driver.create_snapshot(snapshot))
    _io(driver, volume, "write -P 3 0 1M")
    restored = new_volume(ctxt, size=3, where=share, snapshot_id=snapshot.id)
    keep(restored, driver.create_volume_from_snapshot(restored, snapshot))
    _io(driver, restored, "read -P 1 0 1M")
    _io(driver, restored, f"read -P 2 {2 * GIB - 4096} 4096")
    _io(driver, restored, f"write -P 4 {3 * GIB - 4096} 4096")
    step("snapshot, volume from snapshot, larger")

    cloned = new_volume(ctxt, size=2, where=share, source_volid=volume.id)
    keep(cloned, driver.create_cloned_volume(cloned, volume))
    _io(driver, cloned, "read -P 3 0 1M")
    _io(driver, cloned, "write -P 5 0 1M")
    _io(driver, volume, "read -P 3 0 1M")
    step("clone")

    driver.revert_to_snapshot(ctxt, volume, snapshot)
    _io(driver, volume, "read -P 1 0 1M")
    step("revert")

    driver.unmanage(cloned)
    managed = new_volume(ctxt, size=2, where=share)
    reference = {"source-name": f"{share}/{cloned.name}"}
    size = driver.manage_existing_get_size(managed, reference)
    assert size == 2, size
    keep(managed, driver.manage_existing(managed, reference))
    _io(driver, managed, "read -P 5 0 1M")
    step("unmanage, manage")

    elsewhere = new_volume(ctxt, where=other)
    keep(elsewhere, driver.create_volume(elsewhere))
    _io(driver, elsewhere, "write -P 6 0 1M")
    assert driver.get_pool(elsewhere) == other
    step("another FlexVol")

    driver.delete_snapshot(snapshot)
    for gone in (volume, restored, managed, elsewhere):
        driver.delete_volume(gone)
        driver.delete_volume(gone)
    step("delete, twice")


def _io(driver: Any, volume: objects.Volume, command: str) -> None:
    """What a host that has the volume attached reads or writes, over NFS."""
    connection = driver.initialize_connection(volume, {})
    assert connection["driver_volume_type"] == "nfs", connection
    data = connection["data"]
    assert data["format"] == "raw", data
    address, _, path = data["export"].partition(":")
    done = subprocess.run(
        ["qemu-io", "-f", "raw", f"nfs://{address}{path}/{data['name']}", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "failed" not in said.lower(), said
    driver.terminate_connection(volume, {})
