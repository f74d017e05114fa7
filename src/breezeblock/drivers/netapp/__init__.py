"""NetApp ONTAP: volumes as LUNs over iSCSI, or as files over NFS."""

from __future__ import annotations

from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.netapp.driver import NetAppDriver
from breezeblock.drivers.netapp.iscsi import IscsiDriver
from breezeblock.drivers.netapp.nfs import NfsDriver
from breezeblock.drivers.netapp.options import NetAppOptions


def open_driver(config: BackendConfig) -> NetAppDriver:
    """The driver for the protocol that the options ask for. Raises ValueError."""
    protocols: dict[str, type[NetAppDriver]] = {"iscsi": IscsiDriver, "nfs": NfsDriver}
    protocol = NetAppOptions.of(config).storage_protocol
    return protocols[protocol](config)


__all__ = ["IscsiDriver", "NetAppDriver", "NfsDriver", "open_driver"]
