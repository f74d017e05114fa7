"""The local driver: volumes as files of one machine's file system, exported over NBD.

Services load it as `local`. A volume begins as a sparse raw file. Where the file system shares
blocks between files (XFS, btrfs), snapshots and clones are such copies. Elsewhere the volume's file
is frozen and a qcow2 overlay put on top of it for each side, which takes milliseconds, too. Without
QEMU's tools, or with `format = "raw"` and no reflinks, the bytes are copied.

A manifest a volume (`manifests`) says which files count; the storage daemons of the exports follow
it. Every change is: make the new file, commit the manifest, let the daemon follow, remove what is
not needed any more (`sweep`). A process may die between any two of these.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from breezeblock.drivers import base
from breezeblock.drivers.base import (
    BackendConfig,
    BackendStats,
    ConnectionInfo,
    Driver,
    Item,
    Manageable,
    PermanentError,
    PoolStats,
    Readable,
    Snapshot,
    Source,
    TemporaryError,
    Volume,
)
from breezeblock.drivers.local.adoptable import Adoptable
from breezeblock.drivers.local.copies import Copies
from breezeblock.drivers.local.layers import GIB, Layers
from breezeblock.drivers.local.manifests import COMMITS, Manifest, Manifests
from breezeblock.drivers.local.options import LocalOptions
from breezeblock.drivers.local.sweep import dereference, sweep
from breezeblock.drivers.patience import LongCalls, Told
from breezeblock.exports.errors import ExportBusy, ExportRefused
from breezeblock.exports.files import Locks, read_json, write_json
from breezeblock.exports.nbd import NbdExports
from breezeblock.exports.storage_daemon import Image
from breezeblock.exports.supervisor import Supervisor

VERSION = "1.0"

LOCK_PATIENCE = 30.0
COPY_PATIENCE = 2.0
"""Seconds after which a call that copies says how far it is, and goes on in the background."""


@contextmanager
def _in_our_words() -> Iterator[None]:
    """What went wrong, as the driver's two errors."""
    try:
        yield
    except ExportRefused as error:
        raise PermanentError(str(error), remedy=error.remedy) from error
    except ExportBusy as error:
        raise TemporaryError(str(error), remedy=error.remedy) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Free space in the backend's directory, or add a backend."
            raise PermanentError(f"The file system is full: {error}.", remedy=remedy) from error
        raise TemporaryError(f"{type(error).__name__}: {error}.") from error


class LocalDriver(Driver):
    """Volumes as files. See `options` for what can be configured."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self.options = LocalOptions.of(config)
        path = self.options.path
        self._locks = Locks(path / "locks", LOCK_PATIENCE)
        self._manifests = Manifests(path / "manifests", self._locks)
        self._layers = Layers(path / "layers")
        self._calls = LongCalls(COPY_PATIENCE)
        self._supervisor: Supervisor | None = None
        self._exports = NbdExports(
            config.state_dir / "exports",
            self.options.socket_dir,
            self.options.nbd_listen,
            self._locks,
            self._image,
            write_back=self.options.qcow2_write_back,
        )
        self._copies = Copies(
            self._layers, self._manifests, self._exports, self._locks, self.options.format
        )
        self._adoptable = Adoptable(
            path / "adoptable", self._layers, self._manifests, self._locks, self.options.pool
        )

    @_in_our_words()
    def setup(self) -> None:
        self.close()
        parts = [part.directory for part in (self._locks, self._manifests, self._layers)]
        released, adoptable = self._manifests.released_directory, self._adoptable.directory
        beside = (self._layers.marks, released, adoptable)
        for directory in (self.config.state_dir, *parts, *beside):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locks.hold("setup"):
            _recognise(self.options.path, self.config.state_dir)
        _own_directory(self.options.socket_dir)
        self._layers.probe()
        sweep(self._layers, self._manifests, self._locks)
        self._supervisor = Supervisor(self._exports)
        self._supervisor.start()

    def close(self) -> None:
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None

    def stop_all(self) -> None:
        """End the exports' daemons, as a machine that is switched off does (tests, demo).

        The exports themselves stay granted: the next `setup` serves them again.
        """
        self.close()
        self._exports.stop_all()

    @_in_our_words()
    def stats(self) -> BackendStats:
        options = self.options
        total, free = self._capacity()
        with self._layers.draft("raw") as probe:
            self._layers.blank(probe, 0)
            probe.unlink()
        functions = {
            "filter_function": options.filter_function,
            "goodness_function": options.goodness_function,
        }
        pool = PoolStats(
            name=options.pool,
            total_capacity_gb=round(total, 2),
            free_capacity_gb=round(free, 2),
            provisioned_capacity_gb=self._provisioned(),
            reserved_percentage=options.reserved_percentage,
            max_over_subscription_ratio=options.max_over_subscription_ratio,
            thin_provisioning_support=True,
            multiattach=True,
            extra={key: value for key, value in functions.items() if value is not None},
        )
        extra = {"volume_backend_name": options.volume_backend_name}
        return BackendStats("Breezeblock", VERSION, "nbd", (pool,), extra)

    @_in_our_words()
    def create(self, volume: Volume, source: Source) -> None:
        if source is None:
            with self._locks.hold(volume.id):
                self._create_empty(volume)
        else:
            origin = source
            self._calls.run(volume.id, lambda told: self._create_from(volume, origin, told))

    @_in_our_words()
    def overwrite(self, volume: Volume, image: base.Image, *, turn: str) -> None:
        self._calls.run(turn, lambda told: self._overwrite(volume, image, turn, told))

    @_in_our_words()
    def revert(self, volume: Volume, snapshot: Snapshot, *, turn: str) -> None:
        self._calls.run(turn, lambda told: self._revert(volume, snapshot, turn, told))

    @_in_our_words()
    def delete(self, volume: Volume) -> None:
        with self._locks.hold(volume.id):
            manifest = self._manifests.get(volume.id)
            if manifest is not None and manifest.snapshots:
                raise PermanentError(f"Volume {volume.id} has snapshots.")
            self._exports.revoke(volume.id)
            shares = self._remove(volume.id, manifest) if manifest is not None else False
            self._locks.forget(volume.id)
        if shares:
            self._sweep()

    @_in_our_words()
    def extend(self, volume: Volume, new_size: int) -> None:
        with self._locks.hold(volume.id):
            manifest = self._manifests.of(volume.id)
            if new_size <= manifest.size:
                return
            self._check_room(new_size - manifest.size)
            with self._exports.interrupted(volume.id):
                self._layers.grow(manifest.head, new_size)
                self._manifests.save(volume.id, replace(manifest, size=new_size))

    @_in_our_words()
    def retype(self, volume: Volume) -> None:
        """Volumes of all types are alike here: what they ask is ignored as when one is made."""
        self._manifests.of(volume.id)

    @_in_our_words()
    def snapshot(self, snapshot: Snapshot) -> None:
        self._calls.run(snapshot.id, lambda told: self._copies.snapshot(snapshot, told))

    @_in_our_words()
    def delete_snapshot(self, snapshot: Snapshot) -> None:
        with self._locks.hold(snapshot.volume_id):
            manifest = self._manifests.get(snapshot.volume_id)
            if manifest is None or snapshot.id not in manifest.snapshots:
                return
            self._manifests.keep_snapshot(snapshot.id)
            self._dereference(snapshot.volume_id, manifest.without(snapshot.id))
        self._sweep()

    @_in_our_words()
    def release(self, volume: Volume) -> None:
        with self._locks.hold(volume.id):
            manifest = self._manifests.get(volume.id)
            if manifest is not None and manifest.snapshots:
                raise PermanentError(f"Volume {volume.id} has snapshots.")
            self._exports.revoke(volume.id)
            if manifest is not None:
                if self._adoptable.is_taken(manifest):
                    self._manifests.release(volume.id)
                else:
                    self._manifests.save(volume.id, None)
            self._locks.forget(volume.id)

    @_in_our_words()
    def release_snapshot(self, snapshot: Snapshot) -> None:
        with self._locks.hold(snapshot.volume_id):
            manifest = self._manifests.get(snapshot.volume_id)
            if manifest is not None and snapshot.id in manifest.snapshots:
                self._manifests.release_snapshot(snapshot.volume_id, snapshot.id, manifest)

    @_in_our_words()
    def manageable(self) -> list[Manageable]:
        with self._locks.hold(COMMITS, shared=True):  # no sweep takes away what a manifest named
            return list(self._adoptable.volumes())

    @_in_our_words()
    def adopt(self, volume: Volume, reference: Mapping[str, str]) -> int:
        with self._locks.hold(volume.id):
            self._refuse_released(volume.id)
            return self._adoptable.adopt(volume, reference)

    @_in_our_words()
    def manageable_snapshots(self) -> list[Manageable]:
        with self._locks.hold(COMMITS, shared=True):
            return list(self._adoptable.snapshots())

    @_in_our_words()
    def adopt_snapshot(self, snapshot: Snapshot, reference: Mapping[str, str]) -> int:
        with self._locks.hold(snapshot.volume_id):
            self._refuse_released(snapshot.id)
            return self._adoptable.adopt_snapshot(snapshot, reference)

    @_in_our_words()
    def readable(self, volume: Volume) -> Readable:
        with self._locks.hold(volume.id):
            head = self._manifests.of(volume.id).head
            if self._exports.follow(volume.id) is not None:
                raise PermanentError(f"Volume {volume.id} is exported.", remedy="Detach it first.")
        image = self._layers.image(head)
        file = {"driver": "file", "filename": image.path}
        return Readable({"driver": image.format, "file": file})

    @_in_our_words()
    def export(
        self, volume: Volume, connector: Mapping[str, Any], *, mode: Literal["rw", "ro"] = "rw"
    ) -> ConnectionInfo:
        host = connector.get("host")
        if not isinstance(host, str) or not host:
            raise PermanentError("The connector names no host.")
        with self._locks.hold(volume.id):
            self._manifests.of(volume.id)
            data = self._exports.grant(volume.id, host, mode, str(connector.get("ip") or ""))
        return ConnectionInfo("nbd", data)

    @_in_our_words()
    def unexport(self, volume: Volume, host: str) -> None:
        with self._locks.hold(volume.id):
            self._exports.revoke(volume.id, host)

    @_in_our_words()
    def inventory(self) -> list[Item]:
        found = [Item("export", one, host=host) for one, host in self._exports.granted()]
        with self._locks.hold(COMMITS, shared=True):  # no sweep takes away what a manifest named
            for volume_id, manifest in self._manifests.all().items():
                found += self._really_there(volume_id, manifest)
        return found

    def _really_there(self, volume_id: str, manifest: Manifest) -> Iterator[Item]:
        """The volume and its snapshots, with the sizes that their files have."""
        size = self._layers.size(manifest.head)
        if size is not None:
            yield Item("volume", volume_id, size)
        for one, frozen in manifest.snapshots.items():
            size = self._layers.size(frozen.layer)
            if size is not None:
                yield Item("snapshot", one, min(size, frozen.size), volume_id)

    def _create_empty(self, volume: Volume) -> None:
        if self._manifests.get(volume.id) is not None:
            return
        self._refuse_released(volume.id)
        self._check_room(volume.size)
        with self._layers.draft("raw") as draft:
            self._layers.blank(draft, volume.size)
            self._manifests.save(volume.id, Manifest(volume.size, draft.name))

    def _remove(self, volume_id: str, manifest: Manifest) -> bool:
        """Commit that the volume is gone; returns whether its head stood on other layers."""
        try:
            below = self._layers.below(manifest.head)
        except FileNotFoundError:
            below = None
        if below is not None:
            self._dereference(volume_id, None)
        else:
            with self._locks.hold(COMMITS, shared=True):  # no sweep looks in between
                self._layers.mark([manifest.head])
                self._manifests.commit(volume_id, None)
        self._layers.remove(manifest.head)  # nothing stands on a head
        return below is not None

    def _create_from(
        self, volume: Volume, source: Volume | Snapshot | base.Image, told: Told
    ) -> None:
        with self._locks.hold(volume.id):
            if self._manifests.get(volume.id) is None:
                self._refuse_released(volume.id)
                self._check_room(volume.size)
                self._copies.create(volume, source, told)

    def _revert(self, volume: Volume, snapshot: Snapshot, turn: str, told: Told) -> None:
        with self._locks.hold(volume.id):
            self._copies.revert(volume, snapshot, turn, told)
        self._sweep()

    def _overwrite(self, volume: Volume, image: base.Image, turn: str, told: Told) -> None:
        with self._locks.hold(volume.id):
            self._copies.overwrite(volume, image, turn, told)
        self._sweep()

    def _refuse_released(self, ident: str) -> None:
        """A call that comes late makes nothing anew of what is not ours any more."""
        if self._manifests.was_released(ident):
            raise PermanentError(f"{ident} was released.")

    def _image(self, volume_id: str) -> Image | None:
        manifest = self._manifests.get(volume_id)
        return self._layers.image(manifest.head) if manifest else None

    def _dereference(self, volume_id: str, left: Manifest | None) -> None:
        dereference(self._layers, self._manifests, self._locks, volume_id, left)

    def _sweep(self) -> None:
        sweep(self._layers, self._manifests, self._locks)

    def _capacity(self) -> tuple[float, float]:
        """GiB there are, and GiB that are free."""
        disk = os.statvfs(self.options.path)
        total, free = disk.f_blocks * disk.f_frsize / GIB, disk.f_bavail * disk.f_frsize / GIB
        limit = self.options.capacity_gb
        if limit is None:
            return total, free
        return min(limit, total), max(0.0, min(free, limit - self._layers.used_bytes() / GIB))

    def _provisioned(self) -> float:
        return float(self._manifests.provisioned())

    def _check_room(self, more: int) -> None:
        """Refuse what the pool must not promise. Raises PermanentError."""
        ratio = self.options.max_over_subscription_ratio
        if isinstance(ratio, str):
            return
        promised, most = self._provisioned() + more, self._capacity()[0] * ratio
        if promised > most:
            raise PermanentError(
                f"The pool would have promised {promised:.0f} GiB, its limit is {most:.0f}.",
                remedy="Delete volumes, or raise max_over_subscription_ratio or the capacity.",
            )


def _recognise(path: Path, state_dir: Path) -> None:
    """Make sure that these are the volumes we know. Raises PermanentError.

    Were their file system not mounted, all volumes would look deleted, and their exports end.
    """
    known, found = read_json(state_dir / "backend.json"), read_json(path / "backend.json")
    if known is None:
        known = found or {"id": uuid.uuid4().hex}
        write_json(path / "backend.json", known)
        write_json(state_dir / "backend.json", known)
    elif known != found:
        raise PermanentError(
            f"{path} does not hold the volumes of this backend.",
            remedy="Mount their file system; or remove backend.json in the state directory.",
        )


def _own_directory(path: Path) -> None:
    """Make a directory that nobody else can look into. Raises PermanentError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.geteuid():
        raise PermanentError(
            f"{path} belongs to somebody else.", remedy="Set socket_dir to another directory."
        )
