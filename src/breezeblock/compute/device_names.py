"""Names of a guest's disks, and the slots they are plugged into: a rule without I/O.

A guest has 26 slots (PCIe root ports), one a disk; slot 0 is /dev/vda, slot 25 /dev/vdz. As in Nova
the name is what the host *plans*: /dev/vda is kept for the disk the guest boots from, all others
begin at /dev/vdb. The guest's kernel numbers disks in the order in which it finds them and may call
the same disk otherwise: only the serial (the first 20 characters of the volume's UUID) is to be
trusted inside the guest.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection

from breezeblock.compute.hypervisor import DeviceNameInvalid, DeviceNameTaken, TooManyDisks

SLOTS = len(string.ascii_lowercase)
BOOT_SLOT = 0


def device_name(slot: int) -> str:
    """The planned name of the disk in a slot."""
    return f"/dev/vd{string.ascii_lowercase[slot]}"


def choose_slot(wanted: str | None, taken: Collection[int], *, boot: bool = False) -> int:
    """The slot for a disk: the wanted one ("/dev/vdc" or "vdc"), else the next that is free."""
    if boot:
        return BOOT_SLOT
    if wanted is not None:
        return _wanted_slot(wanted, taken)
    for slot in range(BOOT_SLOT + 1, SLOTS):
        if slot not in taken:
            return slot
    raise TooManyDisks(
        f"All {SLOTS - 1} slots for disks are in use.", remedy="Detach a volume first."
    )


def _wanted_slot(wanted: str, taken: Collection[int]) -> int:
    match = re.fullmatch(r"(?:/dev/)?vd([b-z])", wanted)
    if match is None:
        raise DeviceNameInvalid(
            f"A disk cannot be {wanted!r}: /dev/vdb to /dev/vdz are possible.",
            remedy="Leave the device name away: the next free one is taken.",
        )
    slot = string.ascii_lowercase.index(match.group(1))
    if slot in taken:
        raise DeviceNameTaken(f"The guest has a disk {device_name(slot)} already.")
    return slot
