"""Which files a volume is made of: one JSON manifest a volume.

Writing a manifest is the moment at which a change counts; files that no manifest leads to are not
needed (`sweep`). A manifest is written under the volume's lock, and while no sweep looks.

What was released has its manifest in `released` beside them: its files stay, and are not ours.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from breezeblock.drivers.base import PermanentError
from breezeblock.exports.files import Locks, remove, sync_directory, write_json

COMMITS = "commits"
"""The lock that commits share and a sweep has alone: it sees all manifests of one moment."""
TURNS_KEPT = 16
"""So many requests that gave a volume another content are remembered."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A snapshot: the layer with its content, and the volume's size then (GiB)."""

    layer: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A volume of `size` GiB. Only the head is written to, and it is no other volume's.

    `turns` are the last requests that gave it another content: none of them is served again.
    `taking` is the name of the operator's file that is about to become its head (`adoptable`).
    `volume`, of a released snapshot: which volume it is of.
    """

    size: int
    head: str
    snapshots: dict[str, Frozen] = field(default_factory=dict)
    turns: tuple[str, ...] = ()
    taking: str = ""
    volume: str = ""

    @property
    def layers(self) -> set[str]:
        """The layers it names; those may stand on others."""
        return {self.head, *(frozen.layer for frozen in self.snapshots.values())}

    def without(self, snapshot_id: str) -> Manifest:
        """With a snapshot less."""
        left = {one: frozen for one, frozen in self.snapshots.items() if one != snapshot_id}
        return replace(self, snapshots=left)

    def serving(self, turn: str, head: str) -> Manifest:
        """With another content, as that request asks."""
        return replace(self, head=head, turns=(*self.turns, turn)[-TURNS_KEPT:])


class Manifests:
    """The manifests of a backend."""

    def __init__(self, directory: Path, locks: Locks) -> None:
        self.directory = directory
        self.released_directory = directory.with_name("released")
        self._locks = locks
        self._sizes: dict[str, tuple[tuple[int, int], int]] = {}

    def get(self, volume_id: str) -> Manifest | None:
        """The volume's manifest, if there is one. Raises PermanentError when it is damaged."""
        return self._read(self._path(volume_id))

    def _read(self, path: Path) -> Manifest | None:
        try:
            told = json.loads(path.read_bytes())
            snapshots = {one: Frozen(**frozen) for one, frozen in told.pop("snapshots").items()}
            turns = tuple(told.pop("turns", ()))
            return Manifest(**told, snapshots=snapshots, turns=turns)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PermanentError(
                f"The manifest {path} cannot be read: {error}.",
                remedy=f"Restore {path}, or remove it (its files go to lost+found).",
            ) from error

    def of(self, volume_id: str) -> Manifest:
        """The volume's manifest. Raises PermanentError when there is no such volume."""
        manifest = self.get(volume_id)
        if manifest is None:
            raise PermanentError(f"There is no volume {volume_id}.")
        return manifest

    def save(self, volume_id: str, manifest: Manifest | None) -> None:
        """Commit. From here on the volume is what the manifest says, whatever happens; None: there
        is none."""
        with self._locks.hold(COMMITS, shared=True):
            self.commit(volume_id, manifest)

    def commit(self, volume_id: str, manifest: Manifest | None) -> None:
        """Save it, None: remove it. The caller holds the commits."""
        if manifest is None:
            remove(self._path(volume_id))
        else:
            write_json(self._path(volume_id), asdict(manifest))

    def all(self) -> dict[str, Manifest]:
        """Every volume's; one that is created or deleted meanwhile may be missing."""
        found = {}
        for path in self.directory.glob("*.json"):
            manifest = self.get(path.stem)
            if manifest is not None:
                found[path.stem] = manifest
        return found

    def release(self, volume_id: str) -> None:
        """Commit that the volume is not ours any more."""
        with self._locks.hold(COMMITS, shared=True):
            self._path(volume_id).rename(self._released_path(volume_id))
            sync_directory(self.released_directory)
            sync_directory(self.directory)

    def release_snapshot(self, volume_id: str, snapshot_id: str, manifest: Manifest) -> None:
        """Commit that the volume's snapshot is not ours any more.

        It is written down first that it is released. Should we die then, the volume's manifest
        still has it, and that counts.
        """
        frozen = manifest.snapshots[snapshot_id]
        with self._locks.hold(COMMITS, shared=True):
            freed = Manifest(frozen.size, frozen.layer, volume=volume_id)
            write_json(self._released_path(snapshot_id), asdict(freed))
            self.commit(volume_id, manifest.without(snapshot_id))

    def keep_snapshot(self, snapshot_id: str) -> None:
        """It was not released after all: who tried died before he committed it."""
        self._released_path(snapshot_id).unlink(missing_ok=True)

    def was_released(self, ident: str) -> bool:
        """Whether this volume or snapshot was ours once, and its files are still there."""
        return self._released_path(ident).exists()

    def released(self) -> list[Manifest]:
        """The files of all that was released. They stay as long as these manifests."""
        return list(self.papers().values())

    def papers(self) -> dict[str, Manifest]:
        """As `released`, by the ids that they had."""
        found = {path.stem: self._read(path) for path in self.released_directory.glob("*.json")}
        return {ident: manifest for ident, manifest in found.items() if manifest is not None}

    def paper(self, ident: str) -> Manifest | None:
        """The files of what had this id until it was released."""
        return self._read(self._released_path(ident))

    def forget_paper(self, ident: str) -> None:
        """It is ours again, as its volume's manifest says."""
        remove(self._released_path(ident))

    def take_back(self, volume_id: str, ident: str) -> None:
        """Commit that what was released is this volume now. The caller holds the commits."""
        self._released_path(ident).rename(self._path(volume_id))
        sync_directory(self.directory)
        sync_directory(self.released_directory)

    def provisioned(self) -> int:
        """GiB promised to all volumes. A manifest is read again only when it was written anew."""
        sizes: dict[str, tuple[tuple[int, int], int]] = {}
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if not entry.name.endswith(".json"):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat()
                    version = (found.st_ino, found.st_mtime_ns)
                    known = self._sizes.get(entry.name)
                    if known is None or known[0] != version:
                        manifest = self.get(entry.name.removesuffix(".json"))
                        known = (version, manifest.size if manifest else 0)
                    sizes[entry.name] = known
        self._sizes = sizes
        return sum(size for _version, size in sizes.values())

    def _path(self, volume_id: str) -> Path:
        return self.directory / f"{volume_id}.json"

    def _released_path(self, ident: str) -> Path:
        return self.released_directory / f"{ident}.json"
