"""Moving a volume's LUN to another FlexVol. The array copies; hosts keep paths and numbers.

To give a LUN a name in another FlexVol is to move it: it has that name at once, serves all the
while, and `movement.progress` says how far the copy is. A move that fails leaves the LUN where it
was; one that the array knows nothing of any more is begun again, because the LUN's name says where
it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from breezeblock.drivers.base import PermanentError, StillWorking, TemporaryError, Volume
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.client import Ontap, OntapError, part
from breezeblock.drivers.netapp.lookup import Lookup
from breezeblock.drivers.netapp.luns import LUNS, Exists, Gone, Lun, Luns
from breezeblock.drivers.netapp.pools import Pools

PATIENCE = 4.0
"""Seconds that a call waits for the copy; then it says how far it is, and is repeated."""
PAUSES = (0.05, 0.1, 0.2, 0.5)
PROGRESS = ("movement.progress", "movement.paths")
BEING_MOVED = frozenset({5440509})
UNDER_WAY = frozenset({"preparing", "replicating", "paused", "paused_error", "reverting"})


class Moving:
    """Moves LUNs between FlexVols.

    `_begun` has the moves that this process has begun and not seen the end of: so a failure is
    told once, and what failed long ago does not keep anybody from trying again.
    """

    def __init__(self, client: Ontap, luns: Luns, lookup: Lookup, pools: Pools) -> None:
        self._client = client
        self._luns = luns
        self._lookup = lookup
        self._pools = pools
        self._begun: set[str] = set()

    def move(self, volume: Volume, pool: str) -> None:
        """Raises PermanentError, StillWorking; see the contract."""
        target = names.volume(pool, volume.id)
        lun = self._luns.get(target)
        if lun is None:
            lun = self._begin(volume, pool)
        self._follow(lun, target.path)

    def _begin(self, volume: Volume, pool: str) -> Lun:
        self._pools.get(pool)
        lun = self._lookup.needed(volume)
        if lun.pool == pool:
            return lun  # a call like this one has just begun it
        if lun.pool != volume.pool:
            raise PermanentError(f"Volume {volume.id} is in another pool by now.")
        if self._lookup.snapshots_of(volume.id):
            raise PermanentError(
                f"Volume {volume.id} has snapshots.", remedy="Delete them, or migrate by copying."
            )
        if lun.uuid in self._begun:
            progress = self._progress(lun)
            if progress.get("state") == "failed":
                self._begun.discard(lun.uuid)
                raise _failed(progress)
        try:
            self._luns.rename(lun, names.volume(pool, volume.id))
        except Gone:
            raise PermanentError(f"There is no volume {volume.id}.") from None
        except Exists:
            raise TemporaryError("The LUN is being moved by another call.") from None
        except OntapError as error:
            if error.code in BEING_MOVED:
                raise StillWorking("The LUN is being moved already.", retry_after=1.0) from error
            raise
        self._begun.add(lun.uuid)
        return lun

    def _follow(self, lun: Lun, target: str) -> None:
        """Wait for the end of the copy. Raises StillWorking with its percentage."""
        deadline = time.monotonic() + PATIENCE
        look = 0
        while True:
            progress = self._progress(lun)
            state = progress.get("state")
            if state == "failed":
                self._begun.discard(lun.uuid)
                raise _failed(progress)
            if state not in UNDER_WAY:
                break
            if time.monotonic() >= deadline:
                raise StillWorking(
                    "The storage array is moving the volume.",
                    retry_after=1.0,
                    progress=int(progress.get("percent_complete") or 0),
                )
            time.sleep(PAUSES[min(look, len(PAUSES) - 1)])
            look += 1
        self._begun.discard(lun.uuid)
        there = self._luns.get(target)
        if there is None or there.uuid != lun.uuid:
            raise TemporaryError("The move did not take place; it is begun again.")

    def _progress(self, lun: Lun) -> Mapping[str, Any]:
        """What the array knows of the LUN's last move; empty: nothing."""
        try:
            record = self._client.get(f"{LUNS}/{part(lun.uuid)}", fields=PROGRESS)
        except OntapError as error:
            raise TemporaryError("The LUN cannot be found while it moves.") from error
        progress: Mapping[str, Any] = record.get("movement", {}).get("progress", {})
        return progress


def _failed(progress: Mapping[str, Any]) -> PermanentError:
    said = progress.get("failure", {}).get("message") or "it gave no reason"
    return PermanentError(
        f"The storage array could not move the volume: {said}",
        remedy="Look at the array's event log; the volume is where it was.",
    )
