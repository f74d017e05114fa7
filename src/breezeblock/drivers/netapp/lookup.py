"""Which LUN is a volume's, and which a snapshot's, in whatever pool it lies and whatever was begun.

An exchange of contents (`exchange.py`) that was left half-way is made good here, because every call
comes by: between its two renamings no LUN has the volume's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from breezeblock.drivers.base import PermanentError, Snapshot, Volume
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.luns import Exists, Gone, Lun, Luns


class Lookup:
    """Finds LUNs by the UUIDs of our resources, in the FlexVols that are pools."""

    def __init__(self, luns: Luns, pools: re.Pattern[str]) -> None:
        self._luns = luns
        self._pools = pools

    def volume(self, volume: Volume) -> Lun | None:
        """The volume's LUN. Raises PermanentError: it is not ours any more."""
        there = self._luns.get(names.volume(volume.pool, volume.id))
        if there is not None and there.is_ours:
            return there
        found = self.all(volume.id)
        there = _of_kind("volume", found)
        if there is None and _of_kind("old", found) is not None:
            self._finish(found)
            there = _of_kind("volume", self.all(volume.id))
        if there is None and _of_kind("unmanaged-volume", found) is not None:
            raise PermanentError(f"Volume {volume.id} was released.")
        return there

    def needed(self, volume: Volume) -> Lun:
        """The volume's LUN. Raises PermanentError: there is none."""
        found = self.volume(volume)
        if found is None:
            raise PermanentError(f"There is no volume {volume.id}.")
        return found

    def snapshot(self, snapshot: Snapshot) -> Lun | None:
        """The snapshot's LUN. Raises PermanentError: it is not ours any more."""
        found = self.all(snapshot.id)
        there = _of_kind("snapshot", found)
        if there is None and _of_kind("unmanaged-snapshot", found) is not None:
            raise PermanentError(f"Snapshot {snapshot.id} was released.")
        return there

    def needed_snapshot(self, snapshot: Snapshot) -> Lun:
        found = self.snapshot(snapshot)
        if found is None:
            raise PermanentError(f"There is no snapshot {snapshot.id}.")
        return found

    def all(self, ident: str) -> list[Lun]:
        """Everything that is, was, or is to be this volume or snapshot."""
        return [lun for lun in self._luns.of_resource(ident) if self.in_pools(lun)]

    def in_pools(self, lun: Lun) -> bool:
        return self._pools.fullmatch(lun.pool) is not None

    def snapshots_of(self, volume_id: str) -> list[Lun]:
        """The snapshots of a volume that are ours, as far as their comments say it."""
        query = {"name": "/vol/*/snapshot-*", "comment": f"*{volume_id}*"}
        found = [lun for lun in self._luns.matching(query) if lun.name is not None]
        return [lun for lun in found if lun.mark.volume_id == volume_id]

    def _finish(self, found: Iterable[Lun]) -> None:
        """Carry an exchange to its end; or back, if what was to come is not there."""
        for old in [lun for lun in found if _kind(lun) == "old"]:
            coming = [lun for lun in found if _kind(lun) == "new" and _turn(lun) == _turn(old)]
            assert old.name is not None
            try:
                name = names.volume(old.name.pool, old.name.id)
                self._luns.rename(coming[0] if coming else old, name)
            except (Exists, Gone):  # somebody else does it as well
                continue
            if coming:
                self._luns.delete(old)


def _kind(lun: Lun) -> str:
    return "" if lun.name is None else lun.name.kind


def _turn(lun: Lun) -> str:
    return "" if lun.name is None else lun.name.rest


def _of_kind(kind: str, found: Iterable[Lun]) -> Lun | None:
    return next((lun for lun in found if _kind(lun) == kind), None)
