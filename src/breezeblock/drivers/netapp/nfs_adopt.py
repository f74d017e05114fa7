"""Files that an administrator made, or that were ours once, become volumes and snapshots.

They are named by `source-name`, the file's name in the FlexVol that is the pool. A file becomes
ours by being renamed, which the array does for one of two that want it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from breezeblock.drivers.base import Manageable, PermanentError, Snapshot, Volume
from breezeblock.drivers.netapp import nfs_names as names
from breezeblock.drivers.netapp.facts import FlexVol
from breezeblock.drivers.netapp.nfs_files import Files
from breezeblock.drivers.netapp.nfs_names import File, Held
from breezeblock.drivers.netapp.nfs_volumes import GIB, NfsVolumes

NAME = "source-name"


class Adoptions:
    """Lists what could be adopted, and adopts."""

    def __init__(self, files: Files, volumes: NfsVolumes) -> None:
        self._files = files
        self._volumes = volumes

    def volumes(self, flexvols: Sequence[FlexVol]) -> list[Manageable]:
        """All files in the pools that are volumes of ours, or could become such."""
        found = []
        for flexvol in flexvols:
            files = self._files.named(flexvol, "*")
            held = names.held(files)
            found += [
                _volume(flexvol, file, held)
                for file in files
                if not names.is_hidden(file.name) and names.snapshot_in(file.name) is None
            ]
        return found

    def snapshots(self, flexvols: Sequence[FlexVol]) -> list[Manageable]:
        """Snapshots of what is ours; those whose volume was released are nobody's."""
        found = []
        for flexvol in flexvols:
            for file in self._files.named(flexvol, "*snapshot-*"):
                known = names.snapshot_in(file.name)
                if known is not None:
                    found.append(_snapshot(flexvol, file, *known))
        return found

    def adopt(self, flexvol: FlexVol, volume: Volume, reference: Mapping[str, str]) -> int:
        name = _name(reference)
        held = self._volumes.held(flexvol, volume.id)
        if volume.id not in held.volumes:
            self._check_free(flexvol, name)
            self._take(flexvol, name, names.volume(volume.id), "volume")
            held = self._volumes.present(flexvol, volume.id)
        size = _gib(held.volumes[volume.id])
        self._volumes.grow(flexvol, volume.id, size)
        if volume.id not in held.ours:
            self._volumes.own(flexvol, volume.id)
        return size

    def adopt_snapshot(
        self, flexvol: FlexVol, snapshot: Snapshot, reference: Mapping[str, str]
    ) -> int:
        name = _name(reference)
        held = self._volumes.held(flexvol, snapshot.volume_id)
        if snapshot.id not in held.snapshots:
            known = names.snapshot_in(name)
            if snapshot.volume_id not in held.volumes or known is None:
                raise PermanentError(f"{name!r} is no snapshot of volume {snapshot.volume_id}.")
            if known[1] != snapshot.volume_id or not _is_unmanaged(name):
                raise PermanentError(f"{name!r} is of another volume, or managed already.")
            self._take(flexvol, name, names.snapshot_file(snapshot), "snapshot")
            held = self._volumes.held(flexvol, snapshot.volume_id)
        return _gib(held.snapshots[snapshot.id].size)

    def _check_free(self, flexvol: FlexVol, name: str) -> None:
        """A file that has the name of a volume is ours if a note says so (as Cinder's are not)."""
        known = names.volume_in(name)
        held = self._volumes.held(flexvol, known) if known else None
        if held is not None and known in held.ours | held.new:
            raise PermanentError(f"{name!r} is managed already.")
        if names.is_hidden(name) or names.snapshot_in(name):
            raise PermanentError(f"{name!r} is no volume.")

    def _take(self, flexvol: FlexVol, name: str, new: str, kind: str) -> None:
        if self._files.find(flexvol, name) is None or not self._files.rename(flexvol, name, new):
            raise PermanentError(f"FlexVol {flexvol.name} holds no {kind} {name!r}.")


def _volume(flexvol: FlexVol, file: File, held: Held) -> Manageable:
    ident = names.volume_in(file.name)
    managed = ident if ident in held.ours | held.new else None
    reason = "It is managed already." if managed else ""
    return Manageable({NAME: file.name}, _gib(file.size), flexvol.name, managed, reason)


def _is_unmanaged(name: str) -> bool:
    return name.startswith(names.unmanaged(""))


def _snapshot(flexvol: FlexVol, file: File, ident: str, volume_id: str) -> Manageable:
    is_ours = not _is_unmanaged(file.name)
    return Manageable(
        {NAME: file.name},
        _gib(file.size),
        flexvol.name,
        managed=ident if is_ours else None,
        reason="It is managed already." if is_ours else "",
        volume_reference={NAME: names.volume(volume_id)},
    )


def _name(reference: Mapping[str, str]) -> str:
    name = reference.get(NAME)
    if not isinstance(name, str) or not name or "/" in name:
        raise PermanentError(f"The reference must be {{{NAME!r}: the file's name}}.")
    return name


def _gib(size: int) -> int:
    return max(1, -(-size // GIB))
