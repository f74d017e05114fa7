"""NetApp over iSCSI: a volume is a LUN, a snapshot is a clone of it, and so is a copy.

Clones take no time and little space, and no LUN needs another: any may be deleted. The array holds
everything that is to be known (names, comments, maps); the driver remembers nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Literal

from breezeblock.drivers.base import (
    BackendConfig,
    BackendStats,
    ConnectionInfo,
    Image,
    Item,
    PermanentError,
    Readable,
    Snapshot,
    Source,
    Volume,
)
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.chap import Chap
from breezeblock.drivers.netapp.driver import VERSION, verb
from breezeblock.drivers.netapp.exchange import Exchange
from breezeblock.drivers.netapp.exports import Exports, host_access, service_access
from breezeblock.drivers.netapp.igroups import Access, Igroups
from breezeblock.drivers.netapp.lun_verbs import LunVerbs
from breezeblock.drivers.netapp.luns import GIB, Exists, Gone, Lun
from breezeblock.drivers.netapp.making import RESERVED, Making
from breezeblock.drivers.netapp.names import Mark, Name
from breezeblock.drivers.patience import LongCalls, Told

PATIENCE = 2.0
"""Seconds after which a call that copies says how far it is, and goes on in the background."""
OURS = names.one_of(("/vol/*/volume-*", "/vol/*/snapshot-*", "/vol/*/old-*"))
REMOVED_WITH_VOLUME = ("making", "new", "old", "volume")


class IscsiDriver(LunVerbs):
    """Volumes as LUNs."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        options = self.options
        chap = Chap(self.client, options.chap_secret_key if options.use_chap_auth else None)
        self.exports = Exports(self.client, Igroups(self.client, options.host_type), chap)
        initiator, os_type = options.own_initiator, options.lun_ostype
        self.making = Making(self.luns, self.exports, initiator, os_type)
        self._exchange = Exchange(self.luns, self.lookup)
        self._own = service_access(initiator)
        self._calls = LongCalls(PATIENCE)

    @verb()
    def setup(self) -> None:
        self.pools.check_release()
        self.exports.target()
        self.making.sweep(self.luns.matching({"name": "/vol/*/making-*"}))
        self.exports.tidy()

    @verb()
    def stats(self) -> BackendStats:
        promised: dict[str, float] = {}
        for lun in self.luns.matching({"name": OURS}):
            promised[lun.pool] = promised.get(lun.pool, 0.0) + lun.bytes
        extra = {"volume_backend_name": self.options.volume_backend_name}
        return BackendStats("NetApp", VERSION, "iSCSI", self.pools.report(promised), extra)

    @verb()
    def create(self, volume: Volume, source: Source) -> None:
        if self.lookup.volume(volume) is not None:
            return
        name, size = names.volume(volume.pool, volume.id), volume.size * GIB
        settings = {**self._settings(volume), "comment": Mark("volume", volume.id).comment}
        if source is None:
            self.making.empty(name, size, settings)
        elif isinstance(source, Image):
            image = source
            self._calls.run(
                volume.id, lambda told: self.making.written(name, image, size, settings, told)
            )
        else:
            self._copy(volume, source, settings)

    @verb()
    def overwrite(self, volume: Volume, image: Image, *, turn: str) -> None:
        def work(told: Told) -> None:
            def fill(lun: Lun, name: Name) -> None:
                self.making.written(name, image, lun.bytes, _kept(lun), told)

            self._close_to_services(volume)
            self._exchange.run(volume, turn, fill)

        self._calls.run(turn, work)

    @verb()
    def revert(self, volume: Volume, snapshot: Snapshot, *, turn: str) -> None:
        def fill(lun: Lun, name: Name) -> None:
            frozen = self.lookup.needed_snapshot(snapshot)
            if frozen.bytes != lun.bytes:
                raise PermanentError(
                    f"Volume {volume.id} has {lun.gib} GiB, and its snapshot {frozen.gib}."
                )
            try:
                self.making.clone(name, frozen, lun.bytes, _kept(lun))
            except Gone as error:
                raise PermanentError(f"There is no snapshot {snapshot.id}.") from error

        self._close_to_services(volume)
        self._exchange.run(volume, turn, fill)

    @verb()
    def release(self, volume: Volume) -> None:
        if self.lookup.snapshots_of(volume.id):
            raise PermanentError(f"Volume {volume.id} has snapshots.")
        for lun in self._ours_or_released(volume):
            self.types.unlimit(lun, volume)
            if lun.name is not None and lun.name.kind == "volume":
                # From here on a late export does not find it.
                with contextlib.suppress(Gone):
                    self._let_go(lun, lun.name)
            self.exports.revoke_all(lun, ours_only=True)

    @verb()
    def release_snapshot(self, snapshot: Snapshot) -> None:
        for lun in self.lookup.all(snapshot.id):
            if lun.name is not None and lun.name.kind == "snapshot":
                with contextlib.suppress(Gone):
                    self._let_go(lun, lun.name)

    @verb()
    def readable(self, volume: Volume) -> Readable:
        lun = self.lookup.needed(volume)
        if lun.status.mapped and self.exports.others(lun, self._own):
            raise PermanentError(f"Volume {volume.id} is exported.", remedy="Detach it first.")
        number = self._grant(lun, self._own, volume)
        return self.exports.node(number, volume.id, self.options.own_initiator)

    @verb()
    def done_reading(self, volume: Volume) -> None:
        for lun in self._ours_or_released(volume):
            self.exports.revoke(lun, self._own.igroup)

    @verb()
    def delete(self, volume: Volume) -> None:
        found = [(lun, lun.name) for lun in self.luns.of_resource(volume.id)]
        there = [
            (REMOVED_WITH_VOLUME.index(name.kind), lun)
            for lun, name in found
            if name is not None and name.kind in REMOVED_WITH_VOLUME and name.pool == volume.pool
        ]
        for _, lun in sorted(there, key=lambda one: one[0]):
            self.making.remove(lun)
        if len(there) == len(found):
            self.groups.gone(volume.id)

    @verb()
    def extend(self, volume: Volume, new_size: int) -> None:
        lun = self.lookup.needed(volume)
        try:
            self.luns.grow(lun, new_size * GIB)
        except Gone as error:
            raise PermanentError(f"There is no volume {volume.id}.") from error
        self.types.limit(lun, volume, max(new_size, lun.gib))

    @verb()
    def snapshot(self, snapshot: Snapshot) -> None:
        if self.lookup.snapshot(snapshot) is not None:
            return
        lun = self.lookup.needed(Volume(snapshot.volume_id, snapshot.size, snapshot.pool))
        mark = Mark("snapshot", snapshot.id, snapshot.volume_id)
        settings = {"comment": mark.comment, RESERVED: False}
        name = names.snapshot(lun.pool, snapshot.id)
        try:
            self.luns.clone(name, lun.path, settings)
        except Exists:
            self.making.check_ours(name)
        except Gone as error:
            raise PermanentError(f"There is no volume {snapshot.volume_id}.") from error

    @verb()
    def delete_snapshot(self, snapshot: Snapshot) -> None:
        for lun in self.lookup.all(snapshot.id):
            if lun.name is not None and lun.name.kind == "snapshot":
                self.making.remove(lun)

    @verb()
    def export(
        self, volume: Volume, connector: Mapping[str, Any], *, mode: Literal["rw", "ro"] = "rw"
    ) -> ConnectionInfo:
        access = host_access(connector)
        lun = self.lookup.needed(volume)
        self.types.limit(lun, volume, lun.gib)
        number = self._grant(lun, access, volume)
        return self.exports.info(lun, number, volume.id, connector, mode)

    @verb()
    def unexport(self, volume: Volume, host: str) -> None:
        self.exports.revoke_host(self._ours_or_released(volume), host)

    @verb()
    def inventory(self) -> list[Item]:
        found = [lun for lun in self.luns.matching({"name": OURS}) if self.lookup.in_pools(lun)]
        volumes: dict[str, Lun] = {}
        items: list[Item] = []
        for lun in found:
            name = lun.name
            if name is None or not lun.is_ours:
                continue  # called like ours: another service's
            if name.kind == "snapshot":
                items.append(Item("snapshot", name.id, lun.gib, lun.mark.volume_id, pool=name.pool))
            elif name.kind == "volume" or name.id not in volumes:  # `old`: see `exchange`
                volumes[name.id] = lun
        items += [Item("volume", one, lun.gib, pool=lun.pool) for one, lun in volumes.items()]
        owners = {lun.uuid: one for one, lun in volumes.items()}
        exports = self.exports.of("/vol/*/volume-*")
        return items + [
            Item("export", owners[lun], host=host) for lun, host in exports if lun in owners
        ]

    def _copy(self, volume: Volume, source: Volume | Snapshot, settings: Mapping[str, Any]) -> None:
        """Make the volume with the source's content; a clone, or in another FlexVol a copy."""
        if isinstance(source, Volume):
            origin = self.lookup.needed(source)
        else:
            origin = self.lookup.needed_snapshot(source)
        size = volume.size * GIB
        if origin.bytes > size:
            raise PermanentError(f"{volume.size} GiB is less than the source's {origin.gib}.")
        name = names.volume(volume.pool, volume.id)
        try:
            if origin.pool == volume.pool:
                self.making.clone(name, origin, size, settings)
            else:
                self._calls.run(volume.id, lambda _: self.making.copy(name, origin, size, settings))
        except Gone as error:
            raise PermanentError(f"The source {source.id} is gone.") from error

    def _close_to_services(self, volume: Volume) -> None:
        """Nobody reads a volume that gets another content; who did may not have closed it."""
        lun = self.lookup.needed(volume)
        if lun.status.mapped:
            self.exports.revoke_services(lun)

    def _grant(self, lun: Lun, access: Access, volume: Volume) -> int:
        try:
            return self.exports.grant(lun, access)
        except Gone as error:
            raise PermanentError(f"There is no volume {volume.id}.") from error

    def _settings(self, volume: Volume) -> dict[str, Any]:
        """What a volume's LUN is like, as its type asks."""
        return {RESERVED: self.types.reserves(volume), **self.limited(volume)}

    def _ours_or_released(self, volume: Volume) -> list[Lun]:
        """The volume's LUN, also one that is not ours any more."""
        there = self.luns.get(names.volume(volume.pool, volume.id))
        if there is not None and there.is_ours:
            return [there]
        found = self.lookup.all(volume.id)
        kinds = ("volume", "unmanaged-volume")
        return [lun for lun in found if lun.name is not None and lun.name.kind in kinds]

    def _let_go(self, lun: Lun, name: Name) -> None:
        kind: names.Kind = "unmanaged-snapshot" if name.kind == "snapshot" else "unmanaged-volume"
        self.luns.rename(lun, Name(name.pool, kind, name.id))


def _kept(lun: Lun) -> dict[str, Any]:
    """Settings that a volume keeps when it gets another content."""
    settings: dict[str, Any] = {RESERVED: lun.space.guarantee.requested}
    if lun.qos_policy is not None and lun.qos_policy.name:
        settings["qos_policy.name"] = lun.qos_policy.name
    return settings
