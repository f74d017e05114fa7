"""What a volume's device, nodes and helpers are called inside QEMU: a rule without I/O.

All names come from the volume's UUID, so what an earlier process left, whole or half, is found
again. Used by everything that tells QEMU about disks.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Literal

Generation = Literal["a", "b", "c", "d"]
"""Which protocol node. Two take turns when the storage is asked for its size again; a node whose
server went away may have to stay for a while after its disk is gone."""
GENERATIONS: tuple[Generation, ...] = ("a", "b", "c", "d")

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_DEVICE_PREFIX = "volume-"


def uuids_in(text: str) -> list[str]:
    """All UUIDs in a text, in lower case."""
    return _UUID.findall(text.lower())


@dataclass(frozen=True, slots=True)
class DiskNames:
    """What everything that belongs to a volume is called inside QEMU."""

    volume_id: str

    @classmethod
    def of(cls, volume_id: str) -> DiskNames:
        """The names for a volume's UUID in any spelling; ValueError when it is none."""
        return cls(str(uuid.UUID(volume_id)))

    @property
    def device(self) -> str:
        return _DEVICE_PREFIX + self.volume_id

    @property
    def serial(self) -> str:
        """virtio-blk shows a guest 20 characters; longer serials are cut by some QEMUs only."""
        return self.volume_id[:20]

    @property
    def filter(self) -> str:
        return f"f-{self._short}"

    def protocol(self, generation: Generation) -> str:
        return f"{generation}-{self._short}"

    @property
    def probe(self) -> str:
        """A node that is only there for a moment, to see whether the storage can be reached."""
        return f"p-{self._short}"

    @property
    def objects(self) -> tuple[str, ...]:
        """Every helper object that a disk may have."""
        return (self.tls_credentials, self.secret, self.throttle)

    @property
    def tls_credentials(self) -> str:
        return f"tls-{self._short}"

    @property
    def secret(self) -> str:
        """The password that an iSCSI target asks for."""
        return f"chap-{self._short}"

    @property
    def throttle(self) -> str:
        """The group that keeps the disk's limits; it has no other member."""
        return f"qos-{self._short}"

    @property
    def _short(self) -> str:
        return uuid.UUID(self.volume_id).hex[:28]


def volume_of_device(device_id: str) -> str | None:
    """The volume behind a device's id; None when the device is no disk of ours."""
    prefix, volume_id = device_id[: len(_DEVICE_PREFIX)], device_id[len(_DEVICE_PREFIX) :]
    return volume_id if prefix == _DEVICE_PREFIX and _UUID.fullmatch(volume_id) else None
