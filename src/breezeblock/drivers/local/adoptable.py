"""What the local driver can adopt: files that an operator has put into `adoptable`, and what was
released.

A file is a raw disk, alone under its name, and moved in: its manifest says first which file is
being taken (`taking`), then it is renamed, then the manifest says that it is taken. So whoever
comes after one that died finds out how far it got. A released volume becomes a manifest again by
one renaming; a released snapshot goes back into the manifest of the volume that it is of.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from breezeblock.drivers.base import Manageable, PermanentError, Snapshot, Volume
from breezeblock.drivers.local.layers import GIB, Layers
from breezeblock.drivers.local.manifests import COMMITS, Frozen, Manifest, Manifests
from breezeblock.drivers.local.sweep import leads_to
from breezeblock.exports.files import Locks, sync_directory

KEY = "source-name"
_QCOW2 = b"QFI\xfb"


class Adoptable:
    """The folder of a backend, and what it has released."""

    def __init__(
        self, directory: Path, layers: Layers, manifests: Manifests, locks: Locks, pool: str
    ) -> None:
        self.directory = directory
        self._layers = layers
        self._manifests = manifests
        self._locks = locks
        self._pool = pool

    def volumes(self) -> Iterator[Manageable]:
        """Those that are ours, those that were, and the files."""
        for ident, manifest in self._manifests.all().items():
            yield self._shown(ident, manifest.size, ours=ident)
        for ident, paper in self._manifests.papers().items():
            if not paper.volume:
                yield self._shown(ident, paper.size, why=self._why_not_again(ident, paper))
        for path in sorted(self.directory.iterdir()):
            if _is_text(path.name):
                status = path.lstat()
                why = _why_not(path, status)
                yield self._shown(path.name, _gib(status), why=why, bytes=status.st_size)

    def snapshots(self) -> Iterator[Manageable]:
        for volume_id, manifest in self._manifests.all().items():
            for ident, frozen in manifest.snapshots.items():
                yield self._shown(ident, frozen.size, ours=ident, of=volume_id)
        for ident, paper in self._manifests.papers().items():
            if paper.volume:
                yield self._shown(ident, paper.size, of=paper.volume)

    def adopt(self, volume: Volume, reference: Mapping[str, str]) -> int:
        """See the contract. The volume's lock is held by the caller."""
        manifest = self._manifests.get(volume.id)
        if manifest is None:
            name = _name(reference)
            if volume.pool != self._pool:
                raise PermanentError(f"There is no {name} in pool {volume.pool}.")
            manifest = self._take_back(volume.id, name) or self._begin(volume.id, name)
        if manifest.taking:
            manifest = self._take(volume.id, manifest)
        return manifest.size

    def adopt_snapshot(self, snapshot: Snapshot, reference: Mapping[str, str]) -> int:
        """See the contract. The volume's lock is held by the caller."""
        manifest, name = self._manifests.of(snapshot.volume_id), _name(reference)
        paper = self._manifests.paper(name)
        frozen = manifest.snapshots.get(snapshot.id)
        if frozen is None:
            if paper is None or paper.volume != snapshot.volume_id:
                raise PermanentError(f"There is no snapshot {name} of {snapshot.volume_id}.")
            if self._layers.size(paper.head) is None:
                raise PermanentError(f"The files of {name} are missing.")
            frozen = Frozen(paper.head, paper.size)
            kept = {**manifest.snapshots, snapshot.id: frozen}
            self._manifests.save(snapshot.volume_id, replace(manifest, snapshots=kept))
        if paper is not None and paper.head == frozen.layer:
            self._manifests.forget_paper(name)
        return frozen.size

    def is_taken(self, manifest: Manifest) -> bool:
        """Whether its file has been moved in; false for one that is only about to be."""
        return not manifest.taking or (self._layers.directory / manifest.head).exists()

    def _begin(self, volume_id: str, name: str) -> Manifest:
        """Write down which file is to be taken."""
        path = self.directory / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            raise PermanentError(f"There is no {name} that could be adopted.") from None
        if why := _why_not(path, status):
            raise PermanentError(f"{name} cannot be adopted: {why}")
        manifest = Manifest(_gib(status), f"{uuid.uuid4().hex}.raw", taking=name)
        self._manifests.save(volume_id, manifest)
        return manifest

    def _take(self, volume_id: str, manifest: Manifest) -> Manifest:
        """Move the file in, and fill its last GiB up with zeros."""
        name, path = manifest.taking, self._layers.directory / manifest.head
        if not path.exists():
            try:
                (self.directory / name).rename(path)
            except OSError as error:  # somebody was quicker; or it is on another file system
                self._manifests.save(volume_id, None)
                raise PermanentError(f"{name} cannot be moved in: {error.strerror}.") from error
        # Looked at once more here, where nobody else can change what the name stands for.
        status = path.lstat()
        if why := _why_not(path, status):
            path.rename(self.directory / name)
            self._manifests.save(volume_id, None)
            raise PermanentError(f"{name} cannot be adopted: {why}")
        path.chmod(0o600)
        self._layers.grow(manifest.head, _gib(status))
        sync_directory(self.directory)
        taken = replace(manifest, size=_gib(status), taking="")
        self._manifests.save(volume_id, taken)
        return taken

    def _take_back(self, volume_id: str, ident: str) -> Manifest | None:
        """Make a released volume ours again; None when none of this id was released."""
        with self._locks.hold(COMMITS):
            paper = self._manifests.paper(ident)
            if paper is None:
                return None
            if why := self._why_not_again(ident, paper):
                raise PermanentError(f"{ident} cannot be adopted: {why}")
            self._manifests.take_back(volume_id, ident)
        return paper

    def _why_not_again(self, ident: str, paper: Manifest) -> str:
        """Why what was released cannot be a volume once more."""
        if paper.volume:
            return "It is a snapshot."
        if self._layers.size(paper.head) is None:
            return "Its files are missing."
        others = [one for name, one in self._manifests.papers().items() if name != ident]
        named = {one for each in (*self._manifests.all().values(), *others) for one in each.layers}
        return "Others stand on it." if paper.head in leads_to(self._layers, named) else ""

    def _shown(
        self,
        name: str,
        size: int,
        *,
        ours: str | None = None,
        why: str = "",
        of: str = "",
        **extra: int,
    ) -> Manageable:
        return Manageable(
            {KEY: name},
            size,
            self._pool,
            managed=ours,
            reason="It is ours already." if ours else why,
            volume_reference={KEY: of} if of else None,
            extra=extra,
        )


def _name(reference: Mapping[str, str]) -> str:
    """The name in a reference, which leads nowhere else. Raises PermanentError."""
    name = reference.get(KEY)
    if not name or len(reference) != 1:
        raise PermanentError(f"A reference is {KEY} with a name.")
    if not _is_text(name) or "/" in name or "\0" in name or name in (".", ".."):
        raise PermanentError(f"{name!r} is no file's name.")
    return name


def _is_text(name: str) -> bool:
    """Whether the name can be told, in JSON and to an operator."""
    return name.isprintable() and len(os.fsencode(name)) <= 200


def _why_not(path: Path, status: os.stat_result) -> str:
    """Why a file cannot become a volume; nothing: it can."""
    if not stat.S_ISREG(status.st_mode):
        return "It is no regular file."
    if status.st_nlink != 1:
        return "It has several names (hard links)."
    if not status.st_size:
        return "It is empty."
    if not os.access(path, os.R_OK | os.W_OK):
        return "The service may not read and write it."
    with path.open("rb") as file:
        if file.read(4) == _QCOW2:
            return "It is a qcow2 image; make it raw with qemu-img convert."
    return ""


def _gib(status: os.stat_result) -> int:
    return -(-status.st_size // GIB)
