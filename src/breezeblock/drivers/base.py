"""The driver contract: what a storage backend must be able to do.

A driver is one class of plain synchronous methods, called from the backend's own bounded threads,
several at a time. It knows volumes and snapshots by their UUIDs, keeps no state that it cannot
rebuild from the backend, and never sees the database, the bus or the API. The suite in
`tests/contract/test_driver.py` holds every driver to the following:

* **Again.** Every method may be called again with the same arguments, after it succeeded, after it
  failed, or after the process died half-way, by this process or another one: `create` of what
  exists returns the same answer, `delete` of what is gone succeeds.
* **Late.** A doubled or late call is harmless: objects are named by UUIDs that are never reused.
  An `extend` to a size below or equal to the present one changes nothing.
* **Whole or not at all.** A create that fails leaves nothing that a later `delete` of the same UUID
  does not remove.
* **In parallel.** Calls for different volumes run at the same time, also from two processes that
  serve the same backend. Calls for one volume are serialised by the core, but a late one may
  overlap: the driver must not corrupt data then.
* **Bounded.** No method blocks longer than `BLOCKS_AT_MOST` seconds without raising TemporaryError.

Errors: `TemporaryError` when the same call may succeed later (`StillWorking` when it is only slow,
as a copy of many bytes: it is then repeated without end), `PermanentError` when it will not
(the walk then goes on to the next pool). Anything else counts as permanent and as a bug. Users read
these texts (without file paths): name no hosts in them.
Sizes are GiB unless the name says bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from breezeblock.model.inventory import Item as Item  # part of the contract


class DriverError(Exception):
    """A backend refused or failed. `remedy` tells a human what would help."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class TemporaryError(DriverError):
    """The same call may succeed after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class StillWorking(TemporaryError):
    """The work goes on in the background; the same call, repeated, waits for it. No failure.

    `progress` is percent, where the driver knows it.
    """

    def __init__(
        self, message: str, *, retry_after: float = 1.0, progress: int | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.progress = progress


class PermanentError(DriverError):
    """The same call will not succeed; another backend may."""


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """One backend as the operator configured it.

    `name` is the backend's name (the part behind @), `host` the service's host name (before @),
    `state_dir` a directory of its own on local disk that outlives the process; `options` are the
    driver's own settings, which the driver checks in its constructor (ValueError names the key).
    """

    name: str
    host: str
    state_dir: Path
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as a driver sees it.

    `extra_specs` are its type's. `qos` is what the type's QoS specs ask of the backend; both are
    told when the volume is made, grown, retyped and exported. A driver that cannot keep a limit
    ignores it, and its documentation says so. `project_id` is the owner's at the time of the call:
    a transfer changes it and drivers are not told, so nothing may be named or found by it.
    """

    id: str
    size: int
    pool: str
    project_id: str = ""
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    qos: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as a driver sees it; `size` is the volume's when it was taken."""

    id: str
    volume_id: str
    size: int
    pool: str


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image in a file on this host, as a driver sees it.

    The file was inspected: it is of this format, and leads to no other file. It stays until the
    call that reads it has ended, and does not change. `virtual_bytes` is the size of the disk in
    it.
    """

    path: Path
    format: str
    virtual_bytes: int


@dataclass(frozen=True, slots=True)
class Readable:
    """How QEMU on this host reads a volume.

    `node` is in the words of its `BlockdevOptions`: `{"driver": "raw", "file": {…}}`. `secrets` are
    what the node refers to by id (`"password-secret": "chap"`): whoever runs QEMU hands them over
    in files, never on a command line.
    """

    node: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Manageable:
    """A volume or snapshot that the backend holds, as a list of what could be adopted shows it.

    `reference` is what `adopt` takes (`{"source-name": …}`); `size` GiB, rounded up. `managed` is
    the UUID that it has with us already. `reason` says why it cannot be adopted; empty: it can.
    `volume_reference`, of snapshots, is the volume's reference.
    """

    reference: Mapping[str, str]
    size: int
    pool: str
    managed: str | None = None
    reason: str = ""
    volume_reference: Mapping[str, str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


Source = Volume | Snapshot | Image | None
"""What a new volume starts from: a volume (clone), a snapshot, an image, or nothing (zeros)."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """One pool's report to the scheduler; capacities are GiB, or "infinite" or "unknown"."""

    name: str
    total_capacity_gb: float | str
    free_capacity_gb: float | str
    provisioned_capacity_gb: float | None = None
    reserved_percentage: int = 0
    max_over_subscription_ratio: float | str = 20.0
    thin_provisioning_support: bool = False
    thick_provisioning_support: bool = False
    multiattach: bool = False
    online_extend_support: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackendStats:
    """A backend's report: who it is, and its pools (at least one)."""

    vendor_name: str
    driver_version: str
    storage_protocol: str
    pools: tuple[PoolStats, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """How a host reaches an exported volume.

    `driver_volume_type` and `data` are the wire's words (shared facts, connection_info.md);
    `top_level` holds keys that stand beside `data` in the nested form. Secrets in it are meant for
    the granted host only.
    """

    driver_volume_type: str
    data: Mapping[str, Any]
    top_level: Mapping[str, Any] = field(default_factory=dict)


class Driver(ABC):
    """A storage backend. See the module's text for the rules that hold for every method."""

    BLOCKS_AT_MOST: ClassVar[float] = 60.0

    def __init__(self, config: BackendConfig) -> None:
        """Check the options (ValueError names a bad one); touches no backend yet."""
        self.config = config

    @abstractmethod
    def setup(self) -> None:
        """Connect, check, and take up what an earlier process left running (exports!).

        Called once before all else, and again after it raised. Must not disturb a second process
        that serves the same backend.
        """

    def close(self) -> None:  # noqa: B027 - many drivers have nothing to stop
        """The process ends: stop threads. Exports stay up: guests go on without us."""

    @abstractmethod
    def stats(self) -> BackendStats:
        """Report pools and capacities; also the self-test that lets the backend count as up."""

    @abstractmethod
    def create(self, volume: Volume, source: Source) -> None:
        """Make the volume, `volume.size` GiB, reading as zeros or as its source.

        The volume may be larger than its source; what lies beyond reads as zeros. Source and volume
        do not influence each other afterwards.
        """

    def overwrite(self, volume: Volume, image: Image, *, turn: str) -> None:
        """Give the volume the image's content, and zeros beyond it; nobody has it attached.

        All of it or nothing: a reader sees the old content until the new one is complete. `turn`
        names the request: one that has been served changes nothing when it comes again, however
        late, because guests may have written since.
        """
        raise PermanentError("This backend cannot put an image into an existing volume.")

    def revert(self, volume: Volume, snapshot: Snapshot, *, turn: str) -> None:
        """Give the volume the content that its snapshot holds; nobody has it attached.

        All of it or nothing, and once a turn, as `overwrite`. The snapshot stays, and the volume
        keeps its size, which is the snapshot's.
        """
        raise PermanentError("This backend cannot revert a volume to a snapshot.")

    def release(self, volume: Volume) -> None:
        """Forget the volume, whose bytes stay where they are, and end every export of it.

        From then on it is not ours: no inventory lists it. `delete` of it afterwards removes
        nothing. Snapshots of it are already gone or released.
        """
        raise PermanentError("This backend cannot let go of a volume.")

    def release_snapshot(self, snapshot: Snapshot) -> None:
        """Forget the snapshot, whose bytes stay where they are."""
        raise PermanentError("This backend cannot let go of a snapshot.")

    def manageable(self) -> list[Manageable]:
        """All volumes that the backend holds in its pools, ours and those that could become so."""
        raise PermanentError("This backend cannot take over volumes.")

    def adopt(self, volume: Volume, reference: Mapping[str, str]) -> int:
        """Make what the reference names our volume, with the bytes it has; returns its GiB.

        It lies in `volume.pool`. Sizes that are no whole GiB are rounded up; `volume.size` says
        nothing here. Raises PermanentError when there is no such thing, it is in another pool, is
        ours already, or may not be taken (the text says why). Repeating it after it succeeded
        returns the same, also while the volume is in use.
        """
        raise PermanentError("This backend cannot take over volumes.")

    def manageable_snapshots(self) -> list[Manageable]:
        """All snapshots of volumes that the backend holds, ours and those that could become so."""
        raise PermanentError("This backend cannot take over snapshots.")

    def adopt_snapshot(self, snapshot: Snapshot, reference: Mapping[str, str]) -> int:
        """Make what the reference names our snapshot of that volume of ours; as `adopt`."""
        raise PermanentError("This backend cannot take over snapshots.")

    def retype(self, volume: Volume) -> None:
        """Make the volume, where it is, what `volume.extra_specs` and `volume.qos` ask now.

        Works while exported. Whether the pool itself fits the new type was looked at before. Not
        asked when nothing changes that a backend would read. Raises PermanentError for what cannot
        be changed on a volume that is there. The last call counts: one that has come late, or
        failed half-way, is followed by one that says what the type asks in truth.
        """
        raise PermanentError("This backend cannot change the type of a volume.")

    def move(self, volume: Volume, pool: str) -> None:
        """Bring the volume from `volume.pool` to another pool of this backend.

        Works while exported, without the hosts noticing. Until it is done the volume is in its old
        pool and whole; then `delete` and all other calls name the new one. Snapshots stay behind:
        a volume that has some is not moved. Repeating it after it succeeded changes nothing; one
        that moves back later is asked for with the pools exchanged. It raises PermanentError when
        the volume is in neither pool.

        `volume.pool` says where the core believes the volume to be. A call that was under way
        while it moved, or comes late, may name the wrong pool of the backend: it is about the
        volume wherever it is, but for `delete`, which keeps to the pool that it names. At any
        moment the inventory lists the volume once, in the pool whose content counts. A move that
        came late, or ended after it was given up, is found there, and the database then takes that
        place over. What a move that never ends has made elsewhere is the driver's to remove, at
        the latest when the volume is deleted.
        """
        raise PermanentError("This backend cannot move volumes between its pools.")

    def snapshot_together(self, snapshots: Sequence[Snapshot]) -> None:
        """Freeze several volumes at the same moment: no write is in one and missing in another.

        Each becomes a snapshot as `snapshot` makes it. All of them or none; repeating it after it
        succeeded freezes nothing newer.
        """
        raise PermanentError("This backend cannot freeze several volumes at the same moment.")

    def readable(self, volume: Volume) -> Readable:
        """How to read the content on this host; nobody writes to the volume meanwhile.

        It holds until `done_reading`; both may be called again.
        """
        raise PermanentError("This backend cannot be read on this host.")

    def done_reading(self, volume: Volume) -> None:  # noqa: B027 - files need nothing
        """Nobody reads what `readable` gave any more."""

    @abstractmethod
    def delete(self, volume: Volume) -> None:
        """Remove the volume and every export of it. Snapshots of it are already gone.

        What another pool of the backend holds under the same UUID is not touched: while a volume
        moves, or after a creation that was handed on, `volume.pool` says which one is meant.
        """

    @abstractmethod
    def extend(self, volume: Volume, new_size: int) -> None:
        """Grow to `new_size` GiB; works while exported, without the hosts losing a write."""

    @abstractmethod
    def snapshot(self, snapshot: Snapshot) -> None:
        """Freeze the volume's present content under the snapshot's UUID; works while exported.

        Holds every write that was acknowledged before the call. Repeating it after it succeeded
        must not freeze a newer content.
        """

    @abstractmethod
    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Remove the snapshot; volumes made from it are not harmed."""

    @abstractmethod
    def export(
        self, volume: Volume, connector: Mapping[str, Any], *, mode: Literal["rw", "ro"] = "rw"
    ) -> ConnectionInfo:
        """Let the connector's host (`connector["host"]`) reach the volume, and say how.

        Only that host gains access. Other hosts' exports of the same volume stay as they are. The
        same answer each time as long as the export stands; it survives the process.
        """

    @abstractmethod
    def unexport(self, volume: Volume, host: str) -> None:
        """Take the host's access away, at once, also from connections that are open."""

    @abstractmethod
    def inventory(self) -> list[Item]:
        """All that the backend holds of ours: volumes, snapshots, exports.

        The inventory sweep compares it with the database (`workflows/sweep_backend.py`). It lists
        what is there, from when the call that makes it has answered until the call that removes it
        has: an export also while the daemon behind it is down, a volume also while it is copied
        from. Volumes and snapshots name their pool unless the backend has only one; their size is
        the real one, in GiB. Objects that are being made, and what is not ours, are left out.
        """
