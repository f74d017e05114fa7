"""What lies on a host, by project: the sums that os-hosts shows."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from breezeblock.store.store import ReadTx
from breezeblock.store.tables import snapshots, volumes
from breezeblock.store.volumes import on_host


@dataclass(frozen=True, slots=True)
class Load:
    """Numbers and GiB of volumes, and of snapshots by the size of their volumes."""

    volumes: int = 0
    volume_gigabytes: int = 0
    snapshots: int = 0
    snapshot_gigabytes: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(
            self.volumes + other.volumes,
            self.volume_gigabytes + other.volume_gigabytes,
            self.snapshots + other.snapshots,
            self.snapshot_gigabytes + other.snapshot_gigabytes,
        )


def load_by_project(tx: ReadTx, host: str) -> dict[str, Load]:
    """Project → what it has on the host, on all of its backends; in the order of project ids."""
    here = on_host(host)
    of_volumes = _sums(volumes.c.project_id, volumes.c.size).where(here)
    of_snapshots = (
        _sums(snapshots.c.project_id, snapshots.c.size)
        .join(volumes, volumes.c.id == snapshots.c.volume_id)
        .where(here)
    )
    found: dict[str, Load] = {}
    for row in tx.rows(of_volumes):
        found[row.project_id] = Load(int(row.number), int(row.gigabytes))
    for row in tx.rows(of_snapshots):
        more = Load(0, 0, int(row.number), int(row.gigabytes))
        found[row.project_id] = found.get(row.project_id, Load()) + more
    return dict(sorted(found.items()))


def _sums(project: sa.Column[str], size: sa.Column[int]) -> sa.Select[str, int, int]:
    number, gigabytes = sa.func.count().label("number"), sa.func.sum(size).label("gigabytes")
    return sa.select(project, number, gigabytes).select_from(project.table).group_by(project)
