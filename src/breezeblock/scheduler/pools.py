"""A pool as the scheduler sees it between two reports.

The scheduler service keeps one `Pool` for each `host@backend#pool`, built from the last report and
from the state of the volume service; `rank` reads them, and `booked` counts a placement until the
next report corrects it. Pools are never changed, only replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from breezeblock.scheduler.capacity import UNLIMITED, Capacity


@dataclass(frozen=True)
class Pool:
    """One pool; capacities are GiB.

    `name` is `host@backend#pool`, `backend` is `host@backend`. `capabilities` is the raw report,
    backend and pool merged (`pool_reports`). `reported` is False for a backend whose service is
    known but which has not reported yet. `backend_state` is what the driver says of itself; it is
    shown, it does not filter. `volumes` is the number of volumes in the pool.

    Which volumes lie where is not kept here: the two filters that ask look at
    `Request.locations`, so that pools need no change when a request names volumes.
    """

    name: str
    backend: str
    availability_zone: str
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    up: bool = True
    enabled: bool = True
    frozen: bool = False
    reported: bool = True
    backend_state: str = "up"
    volumes: int = 0

    @property
    def ready(self) -> bool:
        """Whether its service takes new work."""
        return self.up and self.enabled and self.reported and not self.frozen

    @cached_property
    def capacity(self) -> Capacity:
        """The report's figures, read once."""
        return Capacity.reported(self.capabilities)

    @cached_property
    def stats(self) -> Mapping[str, Any]:
        """What filter functions call `stats.*` and the JsonFilter `$*`: the report with its
        defaults, and what the scheduler knows besides."""
        return {
            "total_capacity_gb": 0.0,
            "free_capacity_gb": 0.0,
            "reserved_percentage": 0,
            "thin_provisioning_support": False,
            "thick_provisioning_support": False,
            "multiattach": False,
            "QoS_support": False,
            "online_extend_support": True,
            **self.capabilities,
            "allocated_capacity_gb": self.capacity.allocated,
            "provisioned_capacity_gb": self.capacity.provisioned,
            "max_over_subscription_ratio": self.capacity.ratio,
            "host": self.name,
            "backend_id": self.backend,
            "availability_zone": self.availability_zone,
            "backend_state": self.backend_state,
            "volumes": self.volumes,
            "capabilities": self.capabilities,
        }

    def booked(self, size_gb: float, *, volumes: int = 1) -> Pool:
        """The pool with a placement of `size_gb` counted, until the next report.

        `volumes` is 0 when a volume that is there already grows. A free space that is no number
        stays as it is.
        """
        now = self.capacity
        capabilities = {
            **self.capabilities,
            "allocated_capacity_gb": now.allocated + size_gb,
            "provisioned_capacity_gb": now.provisioned + size_gb,
        }
        if now.free is not None and now.free != UNLIMITED:
            capabilities["free_capacity_gb"] = now.free - size_gb
        return replace(self, capabilities=capabilities, volumes=self.volumes + volumes)


def pool_reports(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Split a backend's raw report into (pool name, capabilities of the pool).

    A pool inherits what the backend says and may say otherwise; null says nothing. A backend
    without pools is one pool named after its `volume_backend_name`, else `_pool0`.
    """
    shared = {key: value for key, value in report.items() if key != "pools"}
    pools = report.get("pools")
    if not pools:
        yield str(report.get("volume_backend_name") or "_pool0"), shared
        return
    for pool in pools:
        own = {key: value for key, value in pool.items() if value is not None or key not in shared}
        yield str(pool["pool_name"]), {**shared, **own}
