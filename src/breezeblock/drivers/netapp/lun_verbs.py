"""What administrators do with volumes that are LUNs: take over, move, retype, freeze together.

The base of `iscsi.IscsiDriver`, which has the life of a volume. The work is in the parts:
`adoption`, `moving`, `retyping` with `qos`, `together`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from breezeblock.drivers.base import BackendConfig, Manageable, Snapshot, Volume
from breezeblock.drivers.netapp.adoption import Adoption
from breezeblock.drivers.netapp.driver import NetAppDriver, verb
from breezeblock.drivers.netapp.lookup import Lookup
from breezeblock.drivers.netapp.luns import Luns
from breezeblock.drivers.netapp.moving import Moving
from breezeblock.drivers.netapp.qos import PolicyGroups
from breezeblock.drivers.netapp.retyping import Retyping
from breezeblock.drivers.netapp.together import Together


class LunVerbs(NetAppDriver):
    """A driver whose volumes are LUNs, as administrators see it."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        options, client = self.options, self.client
        self.luns = Luns(client)
        self.lookup = Lookup(self.luns, options.pool_name_search_pattern)
        self.groups = PolicyGroups(client, options.vserver)
        self.types = Retyping(self.luns, self.groups, options.lun_space_reservation)
        self._adoption = Adoption(self.luns, self.lookup)
        self._moving = Moving(client, self.luns, self.lookup, self.pools)
        self._together = Together(client, options.vserver, self.luns, self.lookup, self.pools)

    @verb()
    def manageable(self) -> list[Manageable]:
        return self._adoption.volumes()

    @verb()
    def manageable_snapshots(self) -> list[Manageable]:
        return self._adoption.snapshots()

    @verb()
    def adopt(self, volume: Volume, reference: Mapping[str, str]) -> int:
        self.types.check(volume)
        size = self._adoption.adopt(volume, reference)
        self.types.welcome(self.lookup.needed(volume), volume)
        return size

    @verb()
    def adopt_snapshot(self, snapshot: Snapshot, reference: Mapping[str, str]) -> int:
        return self._adoption.adopt_snapshot(snapshot, reference)

    @verb()
    def retype(self, volume: Volume) -> None:
        self.types.apply(self.lookup.needed(volume), volume)

    @verb()
    def move(self, volume: Volume, pool: str) -> None:
        self._moving.move(volume, pool)

    @verb()
    def snapshot_together(self, snapshots: Sequence[Snapshot]) -> None:
        self._together.snapshot(snapshots)

    def limited(self, volume: Volume) -> dict[str, Any]:
        """What a new LUN is told of the limits that its type asks for."""
        group = self.groups.ready(volume)
        return {"qos_policy.name": group} if group else {}
