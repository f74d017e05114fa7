"""Exporting a LUN: who is let in, and what he is told to find it.

Access is granted to a host's initiators (`igroups`), who may have to log in (`chap`). ONTAP has no
read-only maps: a host that is told `read_only` has to see to it itself.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from breezeblock.drivers.base import ConnectionInfo, PermanentError, Readable, TemporaryError
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.chap import Chap
from breezeblock.drivers.netapp.client import Ontap
from breezeblock.drivers.netapp.igroups import Access, Igroup, Igroups
from breezeblock.drivers.netapp.luns import Lun

ISCSI_PORT = 3260
NAA = "600a0980"
"""How ONTAP's SCSI identifiers begin; the serial number in hexadecimal digits follows."""


@dataclass(frozen=True, slots=True)
class Target:
    """The SVM's iSCSI service. `portals`: all that are up, `address:port`."""

    iqn: str
    portals: tuple[str, ...]


class Exports:
    """Grants and takes away access."""

    def __init__(self, client: Ontap, igroups: Igroups, chap: Chap) -> None:
        self._client = client
        self._igroups = igroups
        self._chap = chap

    def target(self) -> Target:
        """Where hosts reach the SVM's LUNs now. Raises PermanentError, TemporaryError."""
        services = self._client.records(
            "/protocols/san/iscsi/services", {"enabled": True}, fields=("target.name", "svm.name")
        )
        if len(services) != 1:
            svms = ", ".join(sorted(one["svm"]["name"] for one in services))
            raise PermanentError(
                f"Several SVMs of the storage array serve iSCSI: {svms}."
                if services
                else "The SVM of the storage array has no iSCSI service that is on.",
                remedy="Set netapp_vserver, and enable the iSCSI service of that SVM.",
            )
        found = self._client.records(
            "/network/ip/interfaces",
            {"services": "data_iscsi", "state": "up", "enabled": True},
            fields=("ip.address",),
        )
        if not found:
            raise TemporaryError("No iSCSI interface of the storage array is up.", retry_after=5.0)
        portals = sorted({_portal(one["ip"]["address"]) for one in found})
        return Target(services[0]["target"]["name"], tuple(portals))

    def grant(self, lun: Lun, access: Access) -> int:
        """Let them in; the LUN's number. The secrets come last: see `Chap.revoke`. Raises Gone."""
        self._chap.check(access.initiators)
        number = self._igroups.map(lun, access)
        self._chap.grant(access.initiators)
        return number

    def revoke(self, lun: Lun, igroup: str) -> None:
        """Take an igroup's access to the LUN away, and the igroup with its last access."""
        found = self._igroups.find(igroup)
        if found is not None:
            self._igroups.unmap(lun, found)
            self._tidy(found)

    def revoke_host(self, luns: Sequence[Lun], host: str) -> None:
        """Take a host's access to the LUNs away, and its igroups with their last access."""
        for igroup in self._igroups.of_host(host):
            for lun in luns:
                self._igroups.unmap(lun, igroup)
            self._tidy(igroup)

    def revoke_all(self, lun: Lun, *, ours_only: bool = False) -> None:
        """Take everybody's access to the LUN away; `ours_only`: of those whom we let in."""
        for one in self._igroups.maps_of(lun):
            igroup = self._igroups.find(one.igroup.name)
            if igroup is not None and (igroup.ours or not ours_only):
                self._igroups.unmap(lun, igroup)
                if igroup.ours:
                    self._tidy(igroup)

    def revoke_services(self, lun: Lun) -> None:
        """Take away the access that volume services have: one has died, or could not close it."""
        for one in self._igroups.maps_of(lun):
            if one.igroup.name.startswith(names.SERVICES):
                self.revoke(lun, one.igroup.name)

    def others(self, lun: Lun, access: Access) -> bool:
        """Whether anybody else may reach the LUN."""
        return any(one.igroup.name != access.igroup for one in self._igroups.maps_of(lun))

    def of(self, luns: str) -> list[tuple[str, str]]:
        """LUN's UUID and host, for all exports of LUNs whose paths match."""
        hosts = self._igroups.hosts()
        found = self._igroups.all_maps(luns)
        return [(one.lun.uuid, hosts[one.igroup.uuid]) for one in found if one.igroup.uuid in hosts]

    def tidy(self) -> None:
        """Remove igroups and secrets that a process has left when it died."""
        self._chap.revoke(self._igroups.remove_all_idle())
        self._chap.revoke_idle()

    def info(
        self,
        lun: Lun,
        number: int,
        volume_id: str,
        connector: Mapping[str, Any],
        mode: Literal["rw", "ro"],
    ) -> ConnectionInfo:
        """What the connector's host needs to know."""
        target = self.target()
        portals = rotated(target.portals, volume_id)
        data: dict[str, Any] = {
            "target_discovered": False,
            "target_portal": portals[0],
            "target_iqn": target.iqn,
            "target_lun": number,
            "volume_id": volume_id,
            "discard": True,
            "read_only": mode == "ro",
            "access_mode": mode,
            "lun_serial": lun.serial,
            "wwn": wwn(lun.serial),
        }
        if len(portals) > 1 or connector.get("multipath"):
            data["target_portals"] = list(portals)
            data["target_iqns"] = [target.iqn] * len(portals)
            data["target_luns"] = [number] * len(portals)
        login = self._chap.login(str(connector.get("initiator") or ""))
        if login is not None:
            for prefix in ("", "discovery_"):
                data[f"{prefix}auth_method"] = "CHAP"
                data[f"{prefix}auth_username"] = login.user
                data[f"{prefix}auth_password"] = login.secret
        return ConnectionInfo("iscsi", data)

    def _tidy(self, igroup: Igroup) -> None:
        if self._igroups.remove_if_idle(igroup):
            self._chap.revoke(igroup.members)

    def node(self, lun_number: int, volume_id: str, initiator: str) -> Readable:
        """How QEMU on this host reaches a LUN that the initiator was let in to."""
        target = self.target()
        login = self._chap.login(initiator)
        node: dict[str, Any] = {
            "driver": "iscsi",
            "transport": "tcp",
            "portal": rotated(target.portals, volume_id)[0],
            "target": target.iqn,
            "lun": lun_number,
            "initiator-name": initiator,
        }
        if login is None:
            return Readable(node)
        return Readable(
            {**node, "user": login.user, "password-secret": "chap"}, {"chap": login.secret}
        )


def service_access(initiator: str) -> Access:
    """The volume service itself, under an initiator's name of its own."""
    return Access(names.igroup_of_service(initiator), "Breezeblock volume service", (initiator,))


def host_access(connector: Mapping[str, Any]) -> Access:
    """Those whom an export to the connector's host lets in. Raises PermanentError."""
    host, initiator = connector.get("host"), connector.get("initiator")
    if not isinstance(host, str) or not host:
        raise PermanentError("The connector names no host.")
    if len(host) > names.LONGEST_COMMENT:
        raise PermanentError("The host's name is too long.")
    if not isinstance(initiator, str) or not initiator:
        raise PermanentError(
            "The connector names no iSCSI initiator.",
            remedy="Install the iSCSI initiator (open-iscsi) on the host.",
        )
    return Access(names.igroup_of_host(host, initiator), host, (initiator,))


def wwn(serial: str) -> str:
    """The identifier that SCSI hosts see (VPD page 0x83), from the array's serial number."""
    return NAA + serial.encode().hex()


def rotated(portals: tuple[str, ...], volume_id: str) -> tuple[str, ...]:
    """Another first portal for each volume, always the same one for the same volume."""
    start = zlib.crc32(volume_id.encode()) % len(portals)
    return portals[start:] + portals[:start]


def _portal(address: str) -> str:
    version = ipaddress.ip_address(address).version
    return f"[{address}]:{ISCSI_PORT}" if version == 6 else f"{address}:{ISCSI_PORT}"
