"""The NetApp driver over NFS: volumes are files in FlexVols, and hosts mount the junctions.

All work on files is the array's (`nfs_files.py`); images are written, and volumes read, by QEMU's
own NFS client: the volume host mounts nothing. What is where, names of files say (`nfs_names.py`).

**A host is not kept out file by file.** Who may mount a junction is for its export policy, which
the operator keeps. An export here is a note on the FlexVol of who was told what, so that
inventories are true and nothing is overwritten that a host may have open; `unexport` takes the note
away, and a host that goes on all the same is not cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal
from zlib import crc32

from breezeblock.drivers.base import (
    BackendConfig,
    BackendStats,
    ConnectionInfo,
    Image,
    Item,
    Manageable,
    PermanentError,
    Readable,
    Snapshot,
    Source,
    TemporaryError,
    Volume,
)
from breezeblock.drivers.netapp import nfs_names as names
from breezeblock.drivers.netapp.client import in_our_words
from breezeblock.drivers.netapp.driver import VERSION, NetAppDriver, verb
from breezeblock.drivers.netapp.facts import FlexVol
from breezeblock.drivers.netapp.nfs_adopt import Adoptions
from breezeblock.drivers.netapp.nfs_files import Files
from breezeblock.drivers.netapp.nfs_images import fill
from breezeblock.drivers.netapp.nfs_names import Export
from breezeblock.drivers.netapp.nfs_volumes import GIB, NfsVolumes
from breezeblock.drivers.netapp.qos import NO_POLICY, PolicyGroups
from breezeblock.drivers.patience import LongCalls, Told

PATIENCE = 2.0
"""Seconds after which a call that makes a content says that it goes on in the background."""


class NfsDriver(NetAppDriver):
    """Volumes as files."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._files = Files(self.client)
        self._volumes = NfsVolumes(self._files)
        self._adoptions = Adoptions(self._files, self._volumes)
        self._calls = LongCalls(PATIENCE)

    @verb()
    def setup(self) -> None:
        self.pools.check_release()
        for flexvol in self.pools.all():
            if not flexvol.nas.path:
                raise PermanentError(
                    f"FlexVol {flexvol.name} is mounted nowhere.",
                    remedy="Give it a junction path, or leave it out of the pools.",
                )
        self._addresses()

    @verb()
    def stats(self) -> BackendStats:
        promised = {one.name: self._volumes.promised(one) for one in self.pools.all()}
        extra = {"volume_backend_name": self.options.volume_backend_name}
        return BackendStats("NetApp", VERSION, "nfs", self.pools.report(promised), extra)

    # Making

    @verb()
    def create(self, volume: Volume, source: Source) -> None:
        self._calls.run(volume.id, lambda told: self._create(volume, source, told))

    @in_our_words()
    def _create(self, volume: Volume, source: Source, told: Told) -> None:
        flexvol = self.pools.get(volume.pool)
        if self._volumes.is_made(flexvol, volume.id):
            return
        if source is not None:
            _check_fits(source, volume.size)
        policy = self._policies(flexvol).ready(volume)
        with self._volumes.making(flexvol, volume.id):
            if source is None:
                self._volumes.make(flexvol, volume.id)
            elif isinstance(source, Image):
                self._from_image(flexvol, volume, source, told)
            else:
                origin = self.pools.get(source.pool)
                self._volumes.copy(flexvol, volume.id, origin, _file_of(source))
            self._volumes.grow(flexvol, volume.id, volume.size)
            if policy != NO_POLICY:
                self._volumes.limit(flexvol, volume.id, policy)

    def _from_image(self, flexvol: FlexVol, volume: Volume, image: Image, told: Told) -> None:
        with self._volumes.draft(flexvol, volume.id, volume.size) as draft:
            fill(self._node(flexvol, draft), image, told)
            self._volumes.copy(flexvol, volume.id, flexvol, draft)

    @verb()
    def extend(self, volume: Volume, new_size: int) -> None:
        flexvol = self.pools.get(volume.pool)
        self._volumes.grow(flexvol, volume.id, new_size)
        self._policies(flexvol).ready(volume, new_size)

    @verb()
    def retype(self, volume: Volume) -> None:
        flexvol = self.pools.get(volume.pool)
        size = self._volumes.present(flexvol, volume.id).volumes[volume.id] // GIB
        policies = self._policies(flexvol)
        policy = policies.ready(replace(volume, size=size))
        self._volumes.limit(flexvol, volume.id, policy)
        policies.gone(volume.id, keep=policy)

    @verb()
    def snapshot(self, snapshot: Snapshot) -> None:
        self._volumes.snapshot(self.pools.get(snapshot.pool), snapshot)

    # Another content

    @verb()
    def overwrite(self, volume: Volume, image: Image, *, turn: str) -> None:
        self._calls.run(turn, lambda told: self._overwrite(volume, image, turn, told))

    @in_our_words()
    def _overwrite(self, volume: Volume, image: Image, turn: str, told: Told) -> None:
        flexvol = self.pools.get(volume.pool)
        if not self._volumes.may_replace(flexvol, volume.id, turn):
            return
        size = self._volumes.present(flexvol, volume.id).volumes[volume.id] // GIB
        _check_fits(image, size)
        with self._volumes.draft(flexvol, volume.id, size) as draft:
            fill(self._node(flexvol, draft), image, told)
            self._volumes.replace(flexvol, volume.id, draft, turn)

    @verb()
    def revert(self, volume: Volume, snapshot: Snapshot, *, turn: str) -> None:
        self._calls.run(turn, lambda _: self._revert(volume, snapshot, turn))

    @in_our_words()
    def _revert(self, volume: Volume, snapshot: Snapshot, turn: str) -> None:
        flexvol = self.pools.get(volume.pool)
        self._volumes.revert(flexvol, replace(snapshot, volume_id=volume.id), turn)

    # The end

    @verb()
    def delete(self, volume: Volume) -> None:
        flexvols = self.pools.all()
        for flexvol in flexvols:
            if flexvol.name == volume.pool:
                self._volumes.remove(flexvol, volume.id)
                if not any(
                    volume.id in self._volumes.held(one, volume.id).volumes for one in flexvols
                ):
                    self._policies(flexvol).gone(volume.id)

    @verb()
    def delete_snapshot(self, snapshot: Snapshot) -> None:
        for flexvol in self._named(snapshot.pool):
            self._volumes.remove_snapshot(flexvol, snapshot)

    @verb()
    def release(self, volume: Volume) -> None:
        for flexvol in self._named(volume.pool):
            self._volumes.release(flexvol, volume.id)

    @verb()
    def release_snapshot(self, snapshot: Snapshot) -> None:
        for flexvol in self._named(snapshot.pool):
            self._volumes.release_snapshot(flexvol, snapshot)

    # Taking over

    @verb()
    def manageable(self) -> list[Manageable]:
        return self._adoptions.volumes(self.pools.all())

    @verb()
    def adopt(self, volume: Volume, reference: Mapping[str, str]) -> int:
        flexvol = self.pools.get(volume.pool)
        size = self._adoptions.adopt(flexvol, volume, reference)
        policy = self._policies(flexvol).ready(replace(volume, size=size))
        if policy != NO_POLICY:
            self._volumes.limit(flexvol, volume.id, policy)
        return size

    @verb()
    def manageable_snapshots(self) -> list[Manageable]:
        return self._adoptions.snapshots(self.pools.all())

    @verb()
    def adopt_snapshot(self, snapshot: Snapshot, reference: Mapping[str, str]) -> int:
        return self._adoptions.adopt_snapshot(self.pools.get(snapshot.pool), snapshot, reference)

    # Access

    @verb()
    def export(
        self, volume: Volume, connector: Mapping[str, Any], *, mode: Literal["rw", "ro"] = "rw"
    ) -> ConnectionInfo:
        host = connector.get("host")
        if not isinstance(host, str) or not host:
            raise PermanentError("The connector names no host.")
        flexvol = self.pools.get(volume.pool)
        told = self._volumes.export(flexvol, Export(volume.id, self._address(flexvol), host))
        address = f"[{told.address}]" if ":" in told.address else told.address
        data = {
            "export": f"{address}:{flexvol.nas.path}",
            "name": names.volume(volume.id),
            "format": "raw",
            "options": None,
            "access_mode": mode,
            "volume_id": volume.id,
        }
        return ConnectionInfo("nfs", data)

    @verb()
    def unexport(self, volume: Volume, host: str) -> None:
        for flexvol in self._named(volume.pool) or self.pools.all():
            self._volumes.unexport(flexvol, volume.id, host)

    @verb()
    def readable(self, volume: Volume) -> Readable:
        flexvol = self.pools.get(volume.pool)
        if self._volumes.present(flexvol, volume.id).exports:
            raise PermanentError(f"Volume {volume.id} is exported.", remedy="Detach it first.")
        return Readable({"driver": "raw", "file": self._node(flexvol, names.volume(volume.id))})

    @verb()
    def inventory(self) -> list[Item]:
        return [item for flexvol in self.pools.all() for item in self._items(flexvol)]

    def _items(self, flexvol: FlexVol) -> Iterator[Item]:
        held = self._volumes.held(flexvol)
        for ident, size in held.volumes.items():
            if ident in held.ours:
                yield Item("volume", ident, _gib(size), pool=flexvol.name)
        for one in held.snapshots.values():
            yield Item("snapshot", one.id, _gib(one.size), one.volume_id, pool=flexvol.name)
        for export in held.exports:
            yield Item("export", export.volume_id, host=export.host)

    # Where things are

    def _named(self, pool: str) -> list[FlexVol]:
        return [flexvol for flexvol in self.pools.all() if flexvol.name == pool]

    def _policies(self, flexvol: FlexVol) -> PolicyGroups:
        return PolicyGroups(self.client, flexvol.svm.name)

    def _addresses(self) -> list[str]:
        """Where hosts mount. An interface that is down for a while counts: it comes back."""
        query = {"services": "data_nfs", "enabled": "true"}
        found = self.client.records("/network/ip/interfaces", query, fields=("ip.address",))
        if not found:
            raise TemporaryError(
                "No network interface of the SVM serves NFS.",
                retry_after=10.0,
                remedy="Add one with the service data_nfs, or enable it.",
            )
        return sorted(one["ip"]["address"] for one in found)

    def _address(self, flexvol: FlexVol) -> str:
        """FlexVols are spread over the interfaces."""
        addresses = self._addresses()
        return addresses[crc32(flexvol.uuid.encode()) % len(addresses)]

    def _node(self, flexvol: FlexVol, name: str) -> dict[str, Any]:
        """A file in the words of QEMU's NFS client."""
        return {
            "driver": "nfs",
            "server": {"type": "inet", "host": self._address(flexvol)},
            "path": f"{flexvol.nas.path.rstrip('/')}/{name}",
        }


def _gib(size: int) -> int:
    return -(-size // GIB)


def _check_fits(source: Volume | Snapshot | Image, size: int) -> None:
    if isinstance(source, Image):
        if source.virtual_bytes > size * GIB:
            raise PermanentError(
                f"The disk in the image has {source.virtual_bytes} bytes, more than {size} GiB."
            )
    elif size < source.size:
        raise PermanentError(f"{size} GiB is less than the source's {source.size}.")


def _file_of(source: Volume | Snapshot) -> str:
    if isinstance(source, Snapshot):
        return names.snapshot_file(source)
    return names.volume(source.id)
