"""The doors that block storage steps make their effects through (design, law 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from breezeblock.drivers.backend import Backend
from breezeblock.drivers.base import Snapshot, TemporaryError
from breezeblock.drivers.base import Volume as DriverVolume
from breezeblock.images.base import ImageService
from breezeblock.images.packing import Packing
from breezeblock.images.staging import Staging
from breezeblock.model.snapshots import Snapshot as SnapshotRow
from breezeblock.model.volumes import Volume
from breezeblock.scheduler.filters import Filter
from breezeblock.scheduler.weighers import Weigher
from breezeblock.store.store import Store
from breezeblock.workflows.pool_view import PoolView

SCHEDULER = "scheduler"
"""The topic that all schedulers take work from."""


class ServerEvents(Protocol):
    """The compute service as far as block storage needs it: it is told what became of volumes."""

    async def volume_extended(self, servers: list[str], volume_id: str) -> None:
        """Raises when the compute API cannot be told."""

    async def volume_reimaged(self, servers: list[str], volume_id: str) -> None:
        """That a volume which is reserved for them has its new content. Raises as the other."""


@dataclass(frozen=True, slots=True)
class Scheduling:
    """How a scheduler chooses: its filters and weighers, and how many pools may be tried."""

    filters: Sequence[Filter]
    weighers: Sequence[Weigher]
    max_candidates: int = 10


@dataclass
class Doors:
    """What a process offers its steps. A scheduler has `pools`; a volume service `backends`,
    `images`, and `staging` and `packing` for those on their way in and out."""

    store: Store
    pools: PoolView | None = None
    scheduling: Scheduling | None = None
    backends: Mapping[str, Backend] = field(default_factory=dict)
    servers: ServerEvents | None = None
    images: ImageService | None = None
    staging: Staging | None = None
    packing: Packing | None = None

    def backend(self, name: str) -> Backend:
        """The backend, which this process must serve: the queue brought the work here."""
        backend = self.backends[name]
        if not backend.ready:
            raise TemporaryError(f"backend {name} is starting")
        return backend

    async def call(
        self, backend: str, method: Callable[[Any], Callable[..., Any]], *args: Any, **kwargs: Any
    ) -> Any:
        """Call one method of a backend's driver: `doors.call(name, lambda d: d.delete, volume)`."""
        served = self.backend(backend)
        return await served.call(method(served.driver), *args, **kwargs)


def queue_of(pool_or_backend: str) -> str:
    """The topic of the backend that a pool belongs to."""
    return f"volume.{pool_or_backend.partition('#')[0]}"


def as_driver_volume(
    volume: Volume,
    *,
    extra_specs: Mapping[str, str] | None = None,
    qos: Mapping[str, str] | None = None,
    pool: str | None = None,
) -> DriverVolume:
    """A volume as drivers see it; `pool` is the full pool name when it is not placed yet."""
    return DriverVolume(
        id=volume.id,
        size=volume.size,
        pool=(pool or volume.host or "").partition("#")[2],
        project_id=volume.project_id,
        extra_specs=dict(extra_specs or {}),
        qos=dict(qos or {}),
    )


def as_driver_snapshot(snapshot: SnapshotRow, volume: Volume) -> Snapshot:
    """A snapshot as drivers see it."""
    return Snapshot(
        id=snapshot.id, volume_id=snapshot.volume_id, size=snapshot.size, pool=volume.pool
    )
