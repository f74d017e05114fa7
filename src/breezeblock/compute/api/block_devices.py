"""A new server's disks: from the request's block_device_mapping_v2 to rows. Rules without I/O.

Called by `new_servers`, which asks block storage about the volumes that the rules let through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from breezeblock.compute.device_names import SLOTS, choose_slot, device_name
from breezeblock.compute.hypervisor import DeviceNameInvalid, DeviceNameTaken, TooManyDisks
from breezeblock.model.errors import Conflict, Forbidden, InvalidInput
from breezeblock.model.servers import ROOT_BOOT_INDEX, VolumeSource
from breezeblock.web.types import Body, Bool, Size, Text


class BlockDevice(Body, frozen=True):
    """One entry of block_device_mapping_v2."""

    source_type: Literal["volume", "snapshot", "blank", "image"] = "blank"
    destination_type: Literal["volume", "local"] | None = None
    boot_index: int | str | None = None
    uuid: str | None = None
    volume_size: Size | None = None
    volume_type: Text | None = None
    delete_on_termination: Bool | None = False
    device_name: Text | None = None
    tag: Text | None = None
    guest_format: Any = None
    disk_bus: Any = None
    device_type: Any = None
    no_device: Any = None


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """A volume that a new server is to have: one that is there, or one to be made."""

    device: str
    boot_index: int | None
    volume_id: str | None
    source: VolumeSource | None
    delete_on_termination: bool
    tag: str | None


def plan(devices: Iterable[BlockDevice], kernel_image: str) -> list[PlannedVolume]:
    """The volumes of a server and their device names; `kernel_image` stands for no disk.

    Raises InvalidInput, and what `device_names_on_the_wire` raises.
    """
    wanted = [device for device in devices if not _is_kernel(device, kernel_image)]
    for device in wanted:
        _check(device)
    indexes = [_boot_index(device) for device in wanted]
    if indexes.count(ROOT_BOOT_INDEX) > 1:
        raise InvalidInput("Block Device Mapping is Invalid: boot_index 0 is given twice.")
    ids = [device.uuid for device in wanted if device.source_type == "volume"]
    if len(set(ids)) != len(ids):
        raise InvalidInput("Block Device Mapping is Invalid: a volume is given twice.")
    return _named(wanted, indexes)


def _is_kernel(device: BlockDevice, kernel_image: str) -> bool:
    """Clients say of the configured kernel, too, that it is a local disk made from an image."""
    local = device.source_type == "image" and device.destination_type in (None, "local")
    return local and device.uuid == kernel_image


def _check(device: BlockDevice) -> None:
    kind = device.source_type
    local = device.destination_type == "local" or (
        kind == "image" and device.destination_type is None
    )
    if local or device.guest_format:
        raise InvalidInput(
            "Block Device Mapping is Invalid: this service has no local disks; use volumes, or "
            "have them made (destination_type volume) from snapshots, images, or blank."
        )
    if kind != "blank" and not device.uuid:
        raise InvalidInput(f"Block Device Mapping is Invalid: a {kind} needs its uuid.")
    if kind in ("blank", "image") and device.volume_size is None:
        raise InvalidInput(
            f"Block Device Mapping is Invalid: a volume made of {kind} needs volume_size."
        )


def _boot_index(device: BlockDevice) -> int | None:
    if device.boot_index is None:
        return None
    try:
        return int(device.boot_index)
    except ValueError:
        raise InvalidInput(
            f"Block Device Mapping is Invalid: boot_index {device.boot_index!r} is no number."
        ) from None


def _named(devices: Sequence[BlockDevice], indexes: Sequence[int | None]) -> list[PlannedVolume]:
    """Give the root disk its slot, then those that want one, then the others."""
    pairs = sorted(
        zip(devices, indexes, strict=True),
        key=lambda pair: (pair[1] != ROOT_BOOT_INDEX, pair[0].device_name is None),
    )
    taken: set[int] = set()
    planned = []
    for device, index in pairs:
        with device_names_on_the_wire():
            slot = choose_slot(device.device_name, taken, boot=index == ROOT_BOOT_INDEX)
        taken.add(slot)
        existing = device.source_type == "volume"
        planned.append(
            PlannedVolume(
                device=device_name(slot),
                boot_index=index,
                volume_id=device.uuid if existing else None,
                source=None if existing else _source(device),
                delete_on_termination=bool(device.delete_on_termination),
                tag=device.tag,
            )
        )
    return planned


def _source(device: BlockDevice) -> VolumeSource:
    return VolumeSource(
        snapshot_id=device.uuid if device.source_type == "snapshot" else None,
        image_id=device.uuid if device.source_type == "image" else None,
        size=device.volume_size,
        volume_type=device.volume_type,
    )


def next_device(wanted: str | None, names: Iterable[str | None]) -> str:
    """The name of one more disk beside those with these names."""
    present = set(names)
    taken = {slot for slot in range(SLOTS) if device_name(slot) in present}
    with device_names_on_the_wire():
        return device_name(choose_slot(wanted, taken))


@contextmanager
def device_names_on_the_wire() -> Iterator[None]:
    """The rules of device names in the API's terms: InvalidInput, Conflict or Forbidden."""
    try:
        yield
    except DeviceNameInvalid as error:
        raise InvalidInput(f"{error.message} {error.remedy}") from None
    except DeviceNameTaken as error:
        raise Conflict(error.message) from None
    except TooManyDisks as error:
        raise Forbidden(f"{error.message} {error.remedy}") from None
