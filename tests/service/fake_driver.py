"""A storage backend in memory that can be told to fail, and to wait in the middle of a call."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breezeblock.drivers.base import (
    BackendConfig,
    BackendStats,
    ConnectionInfo,
    Driver,
    Image,
    Item,
    PermanentError,
    PoolStats,
    Readable,
    Snapshot,
    Source,
    Volume,
)


class FakeDriver(Driver):
    """Holds volumes, snapshots and exports as plain sets.

    `failures` maps a verb to the error that it raises from now on; `gates` maps a verb to an event
    that its calls wait for; `calls` lists (verb, id) in order; `contents` says which snapshot a
    volume was put back to last, or what it has from an image, `turns` which requests of that kind
    were served; `released` is what is kept though it is ours no more.
    """

    def __init__(self, name: str = "fast", capacity: float = 1000.0) -> None:
        super().__init__(BackendConfig(name=name, host="node1", state_dir=Path("unused")))
        self.capacity = capacity
        self.failures: dict[str, Exception] = {}
        self.gates: dict[str, threading.Event] = {}
        self.calls: list[tuple[str, str]] = []
        self.sizes: dict[str, int] = {}
        self.origins: dict[str, str] = {}
        self.snapshots: dict[str, str] = {}
        self.exports: set[tuple[str, str]] = set()
        self.contents: dict[str, str] = {}
        self.turns: set[str] = set()
        self.released: set[str] = set()

    def copy(self) -> FakeDriver:
        """Another one that holds the same, and is told to fail in the same way; for tests that try
        what follows from one state in several ways."""
        other = FakeDriver(self.config.name, self.capacity)
        other.failures = dict(self.failures)
        other.calls = list(self.calls)
        other.sizes = dict(self.sizes)
        other.origins = dict(self.origins)
        other.snapshots = dict(self.snapshots)
        other.exports = set(self.exports)
        other.contents = dict(self.contents)
        other.turns = set(self.turns)
        other.released = set(self.released)
        return other

    def state(self) -> tuple[Any, ...]:
        """What it holds, as a value."""
        return (
            frozenset(self.sizes.items()),
            frozenset(self.snapshots.items()),
            frozenset(self.exports),
            frozenset(self.contents.items()),
            frozenset(self.turns),
            frozenset(self.released),
            frozenset(self.failures),
        )

    def _enter(self, verb: str, ident: str) -> None:
        self.calls.append((verb, ident))
        if verb in self.gates:
            assert self.gates[verb].wait(timeout=60), f"nobody let {verb} go on"
        if verb in self.failures:
            raise self.failures[verb]

    def _require(self, volume_id: str) -> None:
        if volume_id not in self.sizes:
            raise PermanentError(f"There is no volume {volume_id}.")

    def close(self) -> None:
        for gate in self.gates.values():
            gate.set()

    def setup(self) -> None:
        """There is nothing to connect to."""

    def stats(self) -> BackendStats:
        pool = PoolStats(
            name="pool0",
            total_capacity_gb=self.capacity,
            free_capacity_gb=self.capacity - sum(self.sizes.values()),
            thin_provisioning_support=True,
            multiattach=True,
        )
        return BackendStats("tests", "1", "fake", (pool,))

    def create(self, volume: Volume, source: Source) -> None:
        self._enter("create", volume.id)
        if volume.id in self.sizes:
            return  # it may have grown since
        if volume.id in self.released:
            raise PermanentError(f"Volume {volume.id} was released.")
        if isinstance(source, Image):
            self.contents[volume.id] = _content(source)
        elif source is not None:
            known = self.sizes if isinstance(source, Volume) else self.snapshots
            if source.id not in known:
                raise PermanentError(f"There is no {source.id} to start from.")
            self.origins[volume.id] = source.id
        self.sizes[volume.id] = volume.size

    def delete(self, volume: Volume) -> None:
        self._enter("delete", volume.id)
        if volume.id in self.snapshots.values():
            raise PermanentError(f"Volume {volume.id} has snapshots.")
        self.sizes.pop(volume.id, None)
        self.contents.pop(volume.id, None)
        self.exports = {one for one in self.exports if one[0] != volume.id}

    def readable(self, volume: Volume) -> Readable:
        """Zeros, as many as there should be."""
        self._enter("readable", volume.id)
        self._require(volume.id)
        size = self.sizes[volume.id] << 30
        zeros = {"driver": "null-co", "size": size, "read-zeroes": True}
        return Readable({"driver": "raw", "file": zeros})

    def done_reading(self, volume: Volume) -> None:
        self._enter("done_reading", volume.id)

    def release(self, volume: Volume) -> None:
        self._enter("release", volume.id)
        if volume.id in self.snapshots.values():
            raise PermanentError(f"Volume {volume.id} has snapshots.")
        if self.sizes.pop(volume.id, None) is not None:
            self.released.add(volume.id)
        self.exports = {one for one in self.exports if one[0] != volume.id}

    def release_snapshot(self, snapshot: Snapshot) -> None:
        self._enter("release_snapshot", snapshot.id)
        if self.snapshots.pop(snapshot.id, None) is not None:
            self.released.add(snapshot.id)

    def overwrite(self, volume: Volume, image: Image, *, turn: str) -> None:
        self._enter("overwrite", volume.id)
        self._require(volume.id)
        if turn in self.turns:
            return
        if any(ident == volume.id for ident, _ in self.exports):
            raise PermanentError(f"Volume {volume.id} is exported.")
        self.contents[volume.id] = _content(image)
        self.turns.add(turn)

    def revert(self, volume: Volume, snapshot: Snapshot, *, turn: str) -> None:
        self._enter("revert", volume.id)
        self._require(volume.id)
        if turn in self.turns:
            return
        if snapshot.id not in self.snapshots:
            raise PermanentError(f"There is no snapshot {snapshot.id}.")
        if any(ident == volume.id for ident, _ in self.exports):
            raise PermanentError(f"Volume {volume.id} is exported.")
        self.contents[volume.id] = snapshot.id
        self.turns.add(turn)

    def extend(self, volume: Volume, new_size: int) -> None:
        self._enter("extend", volume.id)
        self._require(volume.id)
        self.sizes[volume.id] = max(self.sizes[volume.id], new_size)

    def snapshot(self, snapshot: Snapshot) -> None:
        self._enter("snapshot", snapshot.id)
        self._require(snapshot.volume_id)
        if snapshot.id in self.released:
            raise PermanentError(f"Snapshot {snapshot.id} was released.")
        self.snapshots[snapshot.id] = snapshot.volume_id

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        self._enter("delete_snapshot", snapshot.id)
        self.snapshots.pop(snapshot.id, None)

    def export(
        self, volume: Volume, connector: Mapping[str, Any], *, mode: str = "rw"
    ) -> ConnectionInfo:
        self._enter("export", volume.id)
        self._require(volume.id)
        self.exports.add((volume.id, connector["host"]))
        data = {"address": f"{volume.id}@{connector['host']}", "volume_id": volume.id}
        return ConnectionInfo("fake", data, {"mount_point_base": "/mnt"})

    def unexport(self, volume: Volume, host: str) -> None:
        self._enter("unexport", volume.id)
        self.exports.discard((volume.id, host))

    def inventory(self) -> list[Item]:
        return [
            *(Item("volume", ident, size) for ident, size in self.sizes.items()),
            *(Item("snapshot", ident, volume_id=one) for ident, one in self.snapshots.items()),
            *(Item("export", ident, host=host) for ident, host in self.exports),
        ]


def _content(image: Image) -> str:
    """What the image's file holds; where files are not real, which one it is."""
    if not image.path.exists():
        return str(image.path)
    return image.path.read_bytes()[:100].decode(errors="replace")
