"""From a disk and its connection_info to all that QEMU is told about it.

`qemu_disks` plugs a plan into a running guest, `qemu_command` puts the same plan on the command
line of one that starts. Each disk is, seen from the guest downwards:

    virtio-blk device  volume-<uuid>   serial = first 20 characters of the UUID
      filter node      f-<28 hex>      stays for as long as the disk is attached: raw, or throttle
                                       where the volume's QoS specs limit it
        protocol node  a-<28 hex>      nbd, file, …: see `transports`; `b-` takes over when the
                                       storage must be reopened to show a new size (`c-`, `d-`:
                                       when an older one could not be closed yet)

Secrets go to QEMU in files that exist only until it has read them, never on a command line.

NBD puts no serial on the wire. In its place, before a guest gets a disk: `volume_id` in the data
and a UUID in the export's name must be the volume's, and the storage must show at least the size
that is expected (`qemu_disks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from breezeblock.compute.disk_limits import limits_of
from breezeblock.compute.disk_names import DiskNames, Generation, uuids_in
from breezeblock.compute.hypervisor import Disk, HostError
from breezeblock.compute.transports import TRANSPORTS
from breezeblock.compute.transports.base import Json, Near, Transport

THROTTLE = "throttle"


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """All that QEMU is told about one disk, in the order in which it must be told."""

    disk: Disk
    names: DiskNames
    slot: int
    transport: Transport
    limits: Mapping[str, int] = field(default_factory=dict)
    """What QEMU is to keep, in its own words; none: as fast as it goes."""
    generation: Generation = "a"

    @property
    def objects(self) -> tuple[Json, ...]:
        """What the nodes refer to."""
        if not self.limits:
            return self.transport.objects
        group = {"qom-type": "throttle-group", "id": self.names.throttle}
        return (*self.transport.objects, {**group, "limits": dict(self.limits)})

    @property
    def nodes(self) -> tuple[Json, Json]:
        """The protocol node and the filter above it."""
        limited, generation = bool(self.limits), self.generation
        return (
            {**self.transport.options, "node-name": self.names.protocol(generation)},
            filter_node(self.names, generation, read_only=self.read_only, limited=limited),
        )

    @property
    def read_only(self) -> bool:
        return bool(self.transport.options["read-only"])

    @property
    def device(self) -> Json:
        device: Json = {
            "driver": "virtio-blk-pci",
            "id": self.names.device,
            "drive": self.names.filter,
            "serial": self.names.serial,
            "bus": f"slot{self.slot}",
        }
        return {**device, "bootindex": 1} if self.disk.boot else device


def filter_node(
    names: DiskNames, generation: Generation, *, read_only: bool, limited: bool
) -> Json:
    """The node that the device sits on; only what lies below it is ever exchanged."""
    kind = {"driver": THROTTLE, "throttle-group": names.throttle} if limited else {"driver": "raw"}
    return {
        **kind,
        "node-name": names.filter,
        "file": names.protocol(generation),
        "read-only": read_only,
        "discard": "unmap",
    }


def plan_disk(disk: Disk, slot: int, secrets_dir: Path, initiator: str | None = None) -> DiskPlan:
    """Turn a disk into a plan; `secrets_dir` is where its secret files will lie, `initiator`
    the name that iSCSI targets know this host by.

    HostError, not temporary, for a transport or a form of data that we do not know.
    """
    names = DiskNames.of(disk.volume_id)
    kind, data = kind_and_data(disk.connection_info)
    build = TRANSPORTS.get(kind)
    if build is None:
        known = ", ".join(sorted(TRANSPORTS))
        raise HostError(
            f"This host cannot attach a volume over {kind!r}.",
            remedy=f"It knows {known}: use a volume type whose backend offers one of these.",
        )
    _check_identity(names.volume_id, kind, data)
    read_only = disk.read_only or bool(data.get("read_only")) or data.get("access_mode") == "ro"
    transport = build(data, names, Near(secrets_dir, initiator))
    options = {**transport.options, "read-only": read_only, "discard": "unmap"}
    limits = limits_of(data.get("qos_specs"))
    return DiskPlan(disk, names, slot, replace(transport, options=options), limits)


def kind_and_data(connection_info: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Both shapes on the wire: nested (`data` holds the keys) and flat (they stand on top)."""
    kind = connection_info.get("driver_volume_type")
    data = connection_info.get("data", connection_info)
    if not isinstance(kind, str) or not isinstance(data, Mapping):
        raise HostError(
            "The connection_info names no driver_volume_type, or its data is no object."
        )
    return kind, data


def _check_identity(volume_id: str, kind: str, data: Mapping[str, Any]) -> None:
    if data.get("encrypted"):
        raise HostError("This host cannot attach encrypted volumes.")
    for key in ("volume_id", "export") if kind == "nbd" else ("volume_id",):
        shown = uuids_in(str(data.get(key, "")))
        if shown and volume_id not in shown:
            raise HostError(
                f"The storage offers {shown[0]} where volume {volume_id} is expected.",
                remedy="The backend's exports are mixed up: detach, and attach again.",
            )
