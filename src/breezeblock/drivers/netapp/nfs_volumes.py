"""Volumes and snapshots as files: what is done with them, each call in one FlexVol.

To overwrite and to revert is to clone over the volume's file, which the array does at once, and
then to leave a note that the turn was served. Notes of turns and exports are looked for right
before, so a call that comes late changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from breezeblock.drivers.base import PermanentError, Snapshot, TemporaryError
from breezeblock.drivers.netapp import nfs_names as names
from breezeblock.drivers.netapp.client import OntapError
from breezeblock.drivers.netapp.facts import FlexVol
from breezeblock.drivers.netapp.nfs_files import Files
from breezeblock.drivers.netapp.nfs_names import Export, Held

GIB = 1 << 30


class NfsVolumes:
    """Work on what is ours in FlexVols; PermanentError says what cannot be done."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def held(self, flexvol: FlexVol, ident: str = "") -> Held:
        """All that is ours in it; with an id, what has to do with that volume or snapshot."""
        return names.held(self._files.named(flexvol, f"*{ident}*" if ident else "*"))

    def present(self, flexvol: FlexVol, volume_id: str) -> Held:
        """What has to do with a volume, which must be there."""
        held = self.held(flexvol, volume_id)
        if volume_id not in held.volumes:
            raise PermanentError(f"There is no volume {volume_id}.")
        return held

    def promised(self, flexvol: FlexVol) -> float:
        """The bytes of all volumes of ours."""
        held = self.held(flexvol)
        return float(sum(size for ident, size in held.volumes.items() if ident in held.ours))

    # Making

    @contextmanager
    def making(self, flexvol: FlexVol, volume_id: str) -> Iterator[None]:
        """Until the body has ended well, here or in a later call, the volume is one that is being
        made: `is_made` says no, and inventories do not list it."""
        self._files.make(flexvol, names.new(volume_id))
        yield
        self.own(flexvol, volume_id)

    def own(self, flexvol: FlexVol, volume_id: str) -> None:
        """From here on it is a volume of ours."""
        self._files.make(flexvol, names.own(volume_id))
        self._files.remove(flexvol, names.new(volume_id))

    def is_made(self, flexvol: FlexVol, volume_id: str) -> bool:
        """PermanentError when it was released: a late call makes nothing anew."""
        held = self.held(flexvol, volume_id)
        if volume_id not in held.volumes and volume_id in held.unmanaged:
            raise PermanentError(f"Volume {volume_id} was released.")
        return volume_id in held.volumes and volume_id in held.ours

    def make(self, flexvol: FlexVol, volume_id: str) -> None:
        """An empty file for the volume; it is grown afterwards."""
        self._files.make(flexvol, names.volume(volume_id))

    def copy(self, flexvol: FlexVol, volume_id: str, origin: FlexVol, source: str) -> None:
        """A file for the volume with the content of another one, unless it is there."""
        if volume_id in self.held(flexvol, volume_id).volumes:
            return
        if self._files.find(origin, source) is None:
            raise PermanentError("What the volume is to be made from is not there.")
        if origin.uuid == flexvol.uuid:
            self._files.clone(flexvol, source, names.volume(volume_id))
            return
        # By way of a clone, to which no host writes.
        with self.draft(origin, volume_id) as still, self.draft(flexvol, volume_id) as arriving:
            self._files.clone(origin, source, still)
            self._files.copy((origin, still), (flexvol, arriving))
            self._files.clone(flexvol, arriving, names.volume(volume_id))

    @contextmanager
    def draft(self, flexvol: FlexVol, volume_id: str, size: int = 0) -> Iterator[str]:
        """The name of a file that is gone afterwards; of `size` GiB, or not there yet.

        What a process leaves that dies, goes when the volume goes.
        """
        name = names.making(volume_id)
        try:
            if size:
                self._files.make(flexvol, name)
                self._files.grow(flexvol, name, size * GIB)
            yield name
        finally:
            with suppress(OntapError, TemporaryError):
                self._files.remove(flexvol, name)

    def grow(self, flexvol: FlexVol, volume_id: str, size: int) -> None:
        """Make it at least `size` GiB."""
        if self.present(flexvol, volume_id).volumes[volume_id] < size * GIB:
            self._files.grow(flexvol, names.volume(volume_id), size * GIB)

    def limit(self, flexvol: FlexVol, volume_id: str, policy: str) -> None:
        """Let the policy group of that name hold for the volume; none if it is empty."""
        self._files.limit(flexvol, names.volume(volume_id), policy)

    def snapshot(self, flexvol: FlexVol, snapshot: Snapshot) -> None:
        held = self.held(flexvol, snapshot.volume_id)
        if snapshot.id in held.snapshots:
            return
        if snapshot.id in held.unmanaged:
            raise PermanentError(f"Snapshot {snapshot.id} was released.")
        if snapshot.volume_id not in held.volumes:
            raise PermanentError(f"There is no volume {snapshot.volume_id}.")
        source, name = names.volume(snapshot.volume_id), names.snapshot_file(snapshot)
        self._files.clone(flexvol, source, name)

    # Another content

    def may_replace(self, flexvol: FlexVol, volume_id: str, turn: str) -> bool:
        """Whether the volume may get another content: False, if that turn was served."""
        held = self.present(flexvol, volume_id)
        if names.turn(volume_id, turn) in held.turns:
            return False
        if held.exports:
            raise PermanentError(f"Volume {volume_id} is exported.", remedy="Detach it first.")
        return True

    def replace(self, flexvol: FlexVol, volume_id: str, draft: str, turn: str) -> None:
        """Give the volume the content of a draft of the same size, once a turn.

        First the draft, then this look at the notes, then the clone; an export does it the other
        way round: first its note, then it removes drafts. So a clone that comes late finds nothing
        to clone.
        """
        if self.may_replace(flexvol, volume_id, turn):
            self._files.replace(flexvol, draft, names.volume(volume_id))
            self._files.make(flexvol, names.turn(volume_id, turn))

    def revert(self, flexvol: FlexVol, snapshot: Snapshot, turn: str) -> None:
        volume_id = snapshot.volume_id
        if not self.may_replace(flexvol, volume_id, turn):
            return
        held = self.present(flexvol, volume_id)
        frozen, now = held.snapshots.get(snapshot.id), held.volumes[volume_id]
        if frozen is None:
            raise PermanentError(f"There is no snapshot {snapshot.id}.")
        if frozen.size != now:
            raise PermanentError(
                f"Volume {volume_id} has {now} bytes, and its snapshot {frozen.size}."
            )
        with self.draft(flexvol, volume_id) as draft:
            self._files.clone(flexvol, names.snapshot_file(snapshot), draft)
            self.replace(flexvol, volume_id, draft, turn)

    # Who was told

    def export(self, flexvol: FlexVol, export: Export) -> Export:
        """Note that the host was told; if it was already, what it was told."""
        held = self.present(flexvol, export.volume_id)
        told = next((known for known in held.exports if known.host == export.host), export)
        if told not in held.exports:
            self._files.make(flexvol, told.name)
            held = self.held(flexvol, export.volume_id)
        for draft in held.making:
            self._files.remove(flexvol, draft)
        return told

    def unexport(self, flexvol: FlexVol, volume_id: str, host: str | None = None) -> None:
        """Take the note of a host away, or of all."""
        for export in self.held(flexvol, volume_id).exports:
            if host is None or export.host == host:
                self._files.remove(flexvol, export.name)

    # The end

    def remove(self, flexvol: FlexVol, volume_id: str) -> None:
        """The volume's file first: who has it open cannot write to it any more."""
        held = self.held(flexvol, volume_id)
        if any(one.volume_id == volume_id for one in held.snapshots.values()):
            raise PermanentError(f"Volume {volume_id} has snapshots.")
        if volume_id in held.volumes:
            self._files.remove(flexvol, names.volume(volume_id))
        self._remove_notes(flexvol, held)

    def remove_snapshot(self, flexvol: FlexVol, snapshot: Snapshot) -> None:
        if snapshot.id in self.held(flexvol, snapshot.id).snapshots:
            self._files.remove(flexvol, names.snapshot_file(snapshot))

    def release(self, flexvol: FlexVol, volume_id: str) -> None:
        held = self.held(flexvol, volume_id)
        if any(one.volume_id == volume_id for one in held.snapshots.values()):
            raise PermanentError(f"Volume {volume_id} has snapshots.")
        if volume_id in held.volumes:
            name = names.volume(volume_id)
            self._files.rename(flexvol, name, names.unmanaged(name))
        self._remove_notes(flexvol, held)

    def release_snapshot(self, flexvol: FlexVol, snapshot: Snapshot) -> None:
        if snapshot.id in self.held(flexvol, snapshot.id).snapshots:
            name = names.snapshot_file(snapshot)
            self._files.rename(flexvol, name, names.unmanaged(name))

    def _remove_notes(self, flexvol: FlexVol, held: Held) -> None:
        exports = (export.name for export in held.exports)
        marks = (*map(names.new, held.new), *map(names.own, held.ours))
        for name in (*held.making, *held.turns, *exports, *marks):
            self._files.remove(flexvol, name)
