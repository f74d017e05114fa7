"""A storage backend in memory that can be told to fail, and to wait in the middle of a call."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from breezeblock.drivers.base import (
    BackendConfig,
    BackendStats,
    ConnectionInfo,
    Driver,
    Image,
    Item,
    Manageable,
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
    were served; `released` is what is kept though it is ours no more; `types` are the extra specs
    and limits (`qos:…`) that were asked for last. `pools` maps a pool to what it says of itself
    besides; `places` says in which one a volume is: there is one of an id, whatever pool a call
    names. `strangers` and `strange_snapshots` are what it holds by names and is not ours: sizes by
    name, (volume id, size) by name; `adopted` says what was ours by which name.
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
        self.being_read: set[str] = set()
        self.types: dict[str, dict[str, str]] = {}
        self.pools: dict[str, dict[str, Any]] = {"pool0": {}}
        self.places: dict[str, str] = {}
        self.strangers: dict[str, int] = {}
        self.strange_snapshots: dict[str, tuple[str, int]] = {}
        self.adopted: dict[str, str] = {}
        self.snapshot_sizes: dict[str, int] = {}

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
        other.being_read = set(self.being_read)
        other.types = dict(self.types)
        other.pools = dict(self.pools)
        other.places = dict(self.places)
        other.strangers = dict(self.strangers)
        other.strange_snapshots = dict(self.strange_snapshots)
        other.adopted = dict(self.adopted)
        other.snapshot_sizes = dict(self.snapshot_sizes)
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
            frozenset(self.being_read),
            frozenset(self.failures),
            frozenset(self.places.items()),
            frozenset(self.strangers.items()),
            frozenset(self.strange_snapshots.items()),
            frozenset(self.adopted.items()),
            frozenset((ident, *sorted(asked.items())) for ident, asked in self.types.items()),
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
        pools = (
            PoolStats(
                name=name,
                total_capacity_gb=self.capacity,
                free_capacity_gb=self.capacity - self._used(name),
                thin_provisioning_support=True,
                multiattach=True,
                extra=told,
            )
            for name, told in self.pools.items()
        )
        return BackendStats("tests", "1", "fake", tuple(pools))

    def _used(self, pool: str) -> int:
        return sum(
            size for ident, size in self.sizes.items() if self.places.get(ident, "pool0") == pool
        )

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
        self.places[volume.id] = volume.pool
        self.types[volume.id] = _asked(volume)

    def delete(self, volume: Volume) -> None:
        self._enter("delete", volume.id)
        if volume.id in self.snapshots.values():
            raise PermanentError(f"Volume {volume.id} has snapshots.")
        if len(self.pools) > 1 and self.places.get(volume.id, volume.pool) != volume.pool:
            return
        self.sizes.pop(volume.id, None)
        self.places.pop(volume.id, None)
        self.types.pop(volume.id, None)
        self.contents.pop(volume.id, None)
        self.adopted.pop(volume.id, None)
        self.exports = {one for one in self.exports if one[0] != volume.id}

    def readable(self, volume: Volume) -> Readable:
        """Zeros, as many as there should be."""
        self._enter("readable", volume.id)
        self._require(volume.id)
        self.being_read.add(volume.id)
        size = self.sizes[volume.id] << 30
        zeros = {"driver": "null-co", "size": size, "read-zeroes": True}
        return Readable({"driver": "raw", "file": zeros})

    def done_reading(self, volume: Volume) -> None:
        self._enter("done_reading", volume.id)
        self.being_read.discard(volume.id)

    def release(self, volume: Volume) -> None:
        self._enter("release", volume.id)
        if volume.id in self.snapshots.values():
            raise PermanentError(f"Volume {volume.id} has snapshots.")
        if (size := self.sizes.pop(volume.id, None)) is not None:
            self.released.add(volume.id)
            self.strangers[self.adopted.pop(volume.id, volume.id)] = size
        self.places.pop(volume.id, None)
        self.types.pop(volume.id, None)
        self.exports = {one for one in self.exports if one[0] != volume.id}

    def release_snapshot(self, snapshot: Snapshot) -> None:
        self._enter("release_snapshot", snapshot.id)
        if (origin := self.snapshots.pop(snapshot.id, None)) is not None:
            self.released.add(snapshot.id)
            name = self.adopted.pop(snapshot.id, snapshot.id)
            size = self.snapshot_sizes.pop(snapshot.id, snapshot.size)
            self.strange_snapshots[name] = (origin, size)

    def manageable(self) -> list[Manageable]:
        self._enter("manageable", "")
        free = [_strange(name, size) for name, size in self.strangers.items()]
        ours = [
            replace(
                _strange(self.adopted.get(ident, ident), size), managed=ident, reason="It is ours."
            )
            for ident, size in self.sizes.items()
        ]
        return [*free, *ours]

    def adopt(self, volume: Volume, reference: Mapping[str, str]) -> int:
        self._enter("adopt", volume.id)
        if volume.id not in self.sizes:
            if volume.id in self.released:
                raise PermanentError(f"Volume {volume.id} was released.")
            name = self._free(reference, self.strangers)
            self.sizes[volume.id] = self.strangers.pop(name)
            self.places[volume.id] = volume.pool
            self.adopted[volume.id] = name
        return self.sizes[volume.id]

    def manageable_snapshots(self) -> list[Manageable]:
        self._enter("manageable_snapshots", "")
        named = {"source-name": "volume"}
        free = [
            replace(_strange(name, size), volume_reference=named)
            for name, (_, size) in self.strange_snapshots.items()
        ]
        ours = [
            replace(
                _strange(self.adopted.get(ident, ident), self.snapshot_sizes.get(ident, 1)),
                managed=ident,
                reason="It is ours.",
                volume_reference=named,
            )
            for ident in self.snapshots
        ]
        return [*free, *ours]

    def adopt_snapshot(self, snapshot: Snapshot, reference: Mapping[str, str]) -> int:
        self._enter("adopt_snapshot", snapshot.id)
        if snapshot.id not in self.snapshots:
            if snapshot.id in self.released:
                raise PermanentError(f"Snapshot {snapshot.id} was released.")
            name = self._free(reference, self.strange_snapshots)
            if self.strange_snapshots[name][0] != snapshot.volume_id:
                raise PermanentError(f"{name} is of another volume.")
            _, self.snapshot_sizes[snapshot.id] = self.strange_snapshots.pop(name)
            self.snapshots[snapshot.id] = snapshot.volume_id
            self.adopted[snapshot.id] = name
        return self.snapshot_sizes[snapshot.id]

    def _free(self, reference: Mapping[str, str], among: Mapping[str, Any]) -> str:
        """The name in the reference, of something that is nobody's."""
        name = reference.get("source-name", "")
        if name in self.adopted.values():
            raise PermanentError(f"{name} is ours already.")
        if name not in among:
            raise PermanentError(f"There is no {name}.")
        return name

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

    def retype(self, volume: Volume) -> None:
        self._enter("retype", volume.id)
        self._require(volume.id)
        self.types[volume.id] = _asked(volume)

    def move(self, volume: Volume, pool: str) -> None:
        self._enter("move", volume.id)
        self._require(volume.id)
        if volume.id in self.snapshots.values():
            raise PermanentError(f"Volume {volume.id} has snapshots.")
        if self.places.get(volume.id, volume.pool) in (volume.pool, pool):
            self.places[volume.id] = pool
            return
        raise PermanentError(f"Volume {volume.id} is not there.")

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
        self.adopted.pop(snapshot.id, None)

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
            *(
                Item("volume", ident, size, pool=self._pool(ident))
                for ident, size in self.sizes.items()
            ),
            *(Item("snapshot", ident, volume_id=one) for ident, one in self.snapshots.items()),
            *(Item("export", ident, host=host) for ident, host in self.exports),
        ]

    def _pool(self, ident: str) -> str:
        return self.places.get(ident, "") if len(self.pools) > 1 else ""


def _strange(name: str, size: int) -> Manageable:
    return Manageable({"source-name": name}, size, "pool0", extra={"colour": "blue"})


def _asked(volume: Volume) -> dict[str, str]:
    """What the volume's type asks of the backend."""
    return {**volume.extra_specs, **{f"qos:{key}": text for key, text in volume.qos.items()}}


def _content(image: Image) -> str:
    """What the image's file holds; where files are not real, which one it is."""
    if not image.path.exists():
        return str(image.path)
    return image.path.read_bytes()[:100].decode(errors="replace")
