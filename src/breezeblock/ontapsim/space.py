"""How full things are: FlexVols and aggregates, from what their files have allocated.

A clone's blocks count in full, as the files of a simulator share none.
"""

from __future__ import annotations

from dataclasses import dataclass

from breezeblock.ontapsim import errors, files, layout
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.model import Aggregate, FlexVol, Lun, Snapshot


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of a FlexVol. `used` counts LUNs, files and what is reserved for LUNs."""

    size: int
    reserve: int
    used: int
    snapshots: int
    reserved: int

    @property
    def afs_total(self) -> int:
        return self.size - self.reserve

    @property
    def available(self) -> int:
        """What is free; snapshots beyond their reserve take from it."""
        return max(0, self.afs_total - self.used - max(0, self.snapshots - self.reserve))


def lun_used(array: Array, lun: Lun) -> int:
    path = array.layout.lun(lun)
    return files.used(path) if path.exists() else 0


def of_volume(array: Array, volume: FlexVol, luns: list[Lun] | None = None) -> Space:
    """`luns` saves reading them again for each of many FlexVols."""
    here = [lun for lun in luns or array.state.all(Lun) if lun.folder == volume.uuid]
    used = {lun.uuid: lun_used(array, lun) for lun in here}
    reserved = sum(max(0, lun.size - used[lun.uuid]) for lun in here if lun.reserved)
    return Space(
        size=volume.size,
        reserve=volume.size * volume.snapshot_reserve_percent // 100,
        used=sum(used.values()) + layout.used(array.layout.flexvol(volume.uuid)) + reserved,
        snapshots=sum(
            snapshot_used(array, snapshot)
            for snapshot in array.state.all(Snapshot)
            if snapshot.volume == volume.uuid
        ),
        reserved=reserved,
    )


def snapshot_used(array: Array, snapshot: Snapshot) -> int:
    return layout.used(array.layout.snapshot(snapshot.uuid))


def of_aggregate(array: Array, aggregate: Aggregate) -> int:
    """The bytes used: all of a FlexVol with a guarantee, what is in it of others."""
    total = 0
    for volume in array.state.all(FlexVol):
        if volume.aggregate == aggregate.uuid:
            space = of_volume(array, volume)
            full = volume.guarantee == "volume"
            total += volume.size if full else space.used + space.snapshots
    return total


def need(array: Array, volume: FlexVol, count: int) -> None:
    """Refuse what does not fit."""
    if count > of_volume(array, volume).available:
        raise errors.no_space(volume.name)
