"""How a content comes to stand in a second place: clones, snapshots and back again, images.

The driver calls this for everything that has a source. There are three ways:

* overlays: the file is frozen, each side goes on in a qcow2 file of its own on top of it;
* reflinks: a second file that shares its blocks, of a file that may be written to meanwhile;
* a copy of the bytes, which may take long. A volume that is exported is copied by its storage
  daemon, which keeps for the copy what hosts overwrite in the meantime.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from breezeblock.drivers.base import Image, PermanentError, Snapshot, Volume
from breezeblock.drivers.local.layers import GIB, Layers, have_tools, kind_of
from breezeblock.drivers.local.layers import Format as LayerFormat
from breezeblock.drivers.local.manifests import Frozen, Manifest, Manifests
from breezeblock.drivers.local.options import Format
from breezeblock.drivers.local.sweep import dereference
from breezeblock.drivers.patience import Told
from breezeblock.exports.files import Locks
from breezeblock.exports.nbd import NbdExports

LONGEST_CHAIN = 16
"""Layers that a head may stand on; beyond, it gets a copy of its own (not while it is served)."""


class Copies:
    """Makes volumes from sources, and snapshots; takes the locks that it needs."""

    def __init__(
        self,
        layers: Layers,
        manifests: Manifests,
        exports: NbdExports,
        locks: Locks,
        wanted: Format,
    ) -> None:
        self._layers = layers
        self._manifests = manifests
        self._exports = exports
        self._locks = locks
        self._wanted = wanted

    def create(self, volume: Volume, source: Volume | Snapshot | Image, told: Told) -> None:
        """Make the volume with the source's content. Its lock is held by the caller."""
        if isinstance(source, Image):
            _check_fits(source, volume.size)
            with self._layers.draft("raw") as draft:
                self._layers.fill(draft, source, volume.size, told)
                self._manifests.save(volume.id, Manifest(volume.size, draft.name))
            return
        if volume.size < source.size:
            raise PermanentError(f"{volume.size} GiB is less than the source's {source.size}.")
        origin = source.volume_id if isinstance(source, Snapshot) else source.id
        with ExitStack() as held:
            held.enter_context(self._locks.hold(origin))
            manifest = self._manifests.of(origin)
            self._exports.follow(origin)  # only now is frozen what the manifest says is frozen
            frozen = self._frozen(origin, manifest, source, told)
            overlay = frozen is not None and self._may_stand_on(frozen)
            with self._layers.draft("qcow2" if overlay else "raw") as draft:
                if frozen is None:
                    self._copy_live(origin, manifest, draft, volume.size, told)
                elif overlay:
                    self._layers.overlay(draft, frozen, volume.size)
                else:
                    held.close()  # copying takes its time, and this layer does not change
                    self._layers.duplicate(draft, frozen, volume.size, told)
                self._manifests.save(volume.id, Manifest(volume.size, draft.name))

    def snapshot(self, snapshot: Snapshot, told: Told) -> None:
        """Keep the volume's content of this moment, unless the snapshot is there already."""
        with self._locks.hold(snapshot.volume_id):
            manifest = self._manifests.of(snapshot.volume_id)
            if snapshot.id in manifest.snapshots:
                self._exports.follow(snapshot.volume_id)
            elif self._manifests.was_released(snapshot.id):
                raise PermanentError(f"{snapshot.id} was released.")
            elif self._overlays:
                self._freeze(snapshot.volume_id, manifest, told, snapshot.id)
            else:
                with self._layers.draft("raw") as draft:
                    self._copy_live(snapshot.volume_id, manifest, draft, manifest.size, told)
                    kept = _keeping(manifest, snapshot.id, draft.name)
                    self._manifests.save(snapshot.volume_id, kept)

    def revert(self, volume: Volume, snapshot: Snapshot, turn: str, told: Told) -> None:
        """Give the volume its snapshot's content, in a new head. The caller holds its lock."""
        manifest = self._manifests.of(volume.id)
        if turn in manifest.turns:
            return
        frozen = manifest.snapshots.get(snapshot.id)
        if frozen is None:
            raise PermanentError(f"There is no snapshot {snapshot.id}.")
        if frozen.size != manifest.size:
            raise PermanentError(
                f"Volume {volume.id} has {manifest.size} GiB, and its snapshot {frozen.size}."
            )
        overlay = self._may_stand_on(frozen.layer)
        with self._new_head(volume.id, manifest, turn, "qcow2" if overlay else "raw") as draft:
            if overlay:
                self._layers.overlay(draft, frozen.layer, manifest.size)
            else:
                self._layers.duplicate(draft, frozen.layer, manifest.size, told)

    def overwrite(self, volume: Volume, image: Image, turn: str, told: Told) -> None:
        """Give the volume the image's content, in a new head. The caller holds its lock."""
        manifest = self._manifests.of(volume.id)
        if turn in manifest.turns:
            return
        _check_fits(image, manifest.size)
        with self._new_head(volume.id, manifest, turn, "raw") as draft:
            self._layers.fill(draft, image, manifest.size, told)

    @contextmanager
    def _new_head(
        self, volume_id: str, manifest: Manifest, turn: str, kind: LayerFormat
    ) -> Iterator[Path]:
        """A draft that becomes the volume's content once the body has filled it, for that turn.

        A host that was let in may have written what it still needs: then nothing is done.
        """
        if self._exports.follow(volume_id) is not None:
            raise PermanentError(f"Volume {volume_id} is exported.", remedy="Detach it first.")
        with self._layers.draft(kind) as draft:
            yield draft
            left = manifest.serving(turn, draft.name)
            dereference(self._layers, self._manifests, self._locks, volume_id, left)

    def _frozen(
        self, origin: str, manifest: Manifest, source: Volume | Snapshot, told: Told
    ) -> str | None:
        """A layer that holds the source's content for good; None if there is only the head."""
        if isinstance(source, Snapshot):
            if source.id not in manifest.snapshots:
                raise PermanentError(f"There is no snapshot {source.id}.")
            return manifest.snapshots[source.id].layer
        return self._freeze(origin, manifest, told) if self._overlays else None

    def _freeze(self, volume_id: str, manifest: Manifest, told: Told, snapshot_id: str = "") -> str:
        """Give the volume a new head, so that the present one does not change any more.

        Returns the frozen layer; with an id it becomes that snapshot in the same commit.
        """
        head = manifest.head
        below = self._layers.below(head)
        served = self._exports.served(volume_id)
        whole = below and (self._layers.size(below) or 0) >= manifest.size
        if below and whole and not served and self._layers.untouched(head):
            if snapshot_id:
                self._manifests.save(volume_id, _keeping(manifest, snapshot_id, below))
            return below
        self._layers.flush(head)  # so that hosts need not wait for it when the daemon does
        kept = _keeping(manifest, snapshot_id, head) if snapshot_id else manifest
        overlay = served or self._may_stand_on(head)
        with self._layers.draft("qcow2" if overlay else "raw") as draft:
            if overlay:
                self._layers.overlay(draft, head, manifest.size)
            else:
                self._layers.duplicate(draft, head, manifest.size, told)
            kept = replace(kept, head=draft.name)
            if overlay:
                self._manifests.save(volume_id, kept)
            else:  # nothing of the volume stands on its past any more
                dereference(self._layers, self._manifests, self._locks, volume_id, kept)
        self._exports.follow(volume_id)
        return head

    def _copy_live(
        self, volume_id: str, manifest: Manifest, draft: Path, size: int, told: Told
    ) -> None:
        """Copy the head as it is at one moment, though hosts may be writing to it."""
        head = manifest.head
        at_once = self._layers.reflinks and kind_of(head) == "raw"
        if at_once or not self._exports.served(volume_id):
            self._layers.duplicate(draft, head, size, told)
            return
        self._layers.blank(draft, manifest.size)
        self._exports.copy(volume_id, self._layers.image(head), draft, told)
        self._layers.blank(draft, size)

    @property
    def _overlays(self) -> bool:
        if self._wanted == "raw" or (self._wanted == "auto" and self._layers.reflinks):
            return False
        return have_tools()

    def _may_stand_on(self, base: str) -> bool:
        return self._overlays and len(self._layers.chain(base)) <= LONGEST_CHAIN


def _check_fits(image: Image, size: int) -> None:
    if image.virtual_bytes > size * GIB:
        raise PermanentError(
            f"The disk in the image has {image.virtual_bytes} bytes, more than {size} GiB."
        )


def _keeping(manifest: Manifest, snapshot_id: str, layer: str) -> Manifest:
    """The manifest with a snapshot more."""
    snapshots = {**manifest.snapshots, snapshot_id: Frozen(layer, manifest.size)}
    return replace(manifest, snapshots=snapshots)
