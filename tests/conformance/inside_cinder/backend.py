"""A Cinder volume driver that does everything at once, because it holds no bytes.

It reports what Breezeblock's local backend reports, and connects like it, so that what is compared
is what the service around the driver makes of it.
"""

from __future__ import annotations

from typing import Any

from cinder import interface
from cinder.volume import driver


@interface.volumedriver
class NoBytes(driver.VolumeDriver):
    """One pool of 1,000 GiB."""

    VERSION = "1.0"
    vendor_name = "Breezeblock"
    POOL = "pool1"

    def check_for_setup_error(self) -> None:
        pass

    def _update_volume_stats(self) -> None:
        pool = {
            "pool_name": self.POOL,
            "total_capacity_gb": 1000.0,
            "free_capacity_gb": 1000.0,
            "provisioned_capacity_gb": 0.0,
            "allocated_capacity_gb": 0,
            "reserved_percentage": 0,
            "max_over_subscription_ratio": 20.0,
            "thin_provisioning_support": True,
            "thick_provisioning_support": False,
            "multiattach": True,
            "QoS_support": False,
        }
        self._stats = {
            "volume_backend_name": "disks",
            "vendor_name": self.vendor_name,
            "driver_version": self.VERSION,
            "storage_protocol": "nbd",
            "pools": [pool],
        }

    def create_volume(self, volume: Any) -> None:
        pass

    def delete_volume(self, volume: Any) -> None:
        pass

    def create_snapshot(self, snapshot: Any) -> None:
        pass

    def delete_snapshot(self, snapshot: Any) -> None:
        pass

    def create_cloned_volume(self, volume: Any, source: Any) -> None:
        pass

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        pass

    def extend_volume(self, volume: Any, new_size: int) -> None:
        pass

    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        pass

    def ensure_export(self, context: Any, volume: Any) -> None:
        pass

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        pass

    def remove_export(self, context: Any, volume: Any) -> None:
        pass

    def initialize_connection(self, volume: Any, connector: Any) -> dict[str, Any]:
        data = {"transport": "unix", "path": f"/run/{volume.id}", "export": volume.id}
        return {"driver_volume_type": "nbd", "data": data}

    def terminate_connection(self, volume: Any, connector: Any, **rest: Any) -> None:
        pass

    def manage_existing(self, volume: Any, existing: Any) -> None:
        pass

    def manage_existing_get_size(self, volume: Any, existing: Any) -> int:
        return 1

    def unmanage(self, volume: Any) -> None:
        pass

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Any, host: Any) -> bool:
        return True
