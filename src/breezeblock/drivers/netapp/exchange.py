"""Giving a volume another content: revert, and overwriting with an image, once a turn.

The new content is made in a LUN of its own. Then the volume's LUN is renamed away, the new one gets
its name, and the old one is deleted; each by the LUN's UUID. A late worker holds the UUID of a LUN
that is gone, so nothing that it does changes anything. While a host may reach the LUN the array
itself refuses the first renaming. The turns that were served are in the comment, which goes from
LUN to LUN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from breezeblock.drivers.base import PermanentError, TemporaryError, Volume
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.lookup import Lookup
from breezeblock.drivers.netapp.luns import Exists, Gone, Lun, Luns
from breezeblock.drivers.netapp.names import Name

Fill = Callable[[Lun, Name], None]
"""Makes a LUN of that name with the new content, of the volume's size; whole or not at all."""

LOOKS = 6


class Exchange:
    """Puts a new content in the place of a volume's old one."""

    def __init__(self, luns: Luns, lookup: Lookup) -> None:
        self._luns = luns
        self._lookup = lookup

    def run(self, volume: Volume, turn: str, fill: Fill) -> None:
        """Serve the turn, unless that was done. `fill` says no by PermanentError."""
        short = names.short_turn(turn)
        for _ in range(LOOKS):
            lun = self._lookup.needed(volume)
            if short in lun.mark.turns:
                self._sweep(volume.id, short)
                return
            if lun.status.mapped:
                raise PermanentError(f"Volume {volume.id} is exported.", remedy="Detach it first.")
            if self._exchange(lun, short, fill):
                return
        raise TemporaryError("Others are changing the same volume.")

    def _exchange(self, lun: Lun, turn: str, fill: Fill) -> bool:
        """False: somebody else has changed something, so look again."""
        name = lun.name
        assert name is not None
        coming = replace(name, kind="new", rest=turn)
        new = self._luns.get(coming)
        if new is None:
            fill(lun, coming)
            new = self._luns.get(coming)
        try:
            if new is None:
                return False
            self._luns.change(new, {"comment": lun.mark.serving(turn).comment})
            if not self._luns.rename_unmapped(lun, replace(name, kind="old", rest=turn)):
                return False
            self._luns.rename(new, name)
        except (Exists, Gone):
            return False
        self._luns.delete(lun)
        return True

    def _sweep(self, volume_id: str, turn: str) -> None:
        """Remove what an exchange has left that was not told of its end."""
        found = [(lun, lun.name) for lun in self._lookup.all(volume_id) if lun.name is not None]
        if any(name.kind == "volume" for _, name in found):
            for lun, name in found:
                if name.kind == "old" or (name.kind == "new" and name.rest == turn):
                    self._luns.delete(lun)
