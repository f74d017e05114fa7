"""The capacity of a backend's pools as metrics, told with each of its reports.

A pool that is not reported any more, or whose backend is down, has no figures: none are better than
old ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import Gauge

from breezeblock.telemetry import metrics

GIB = 1 << 30

_REPORTED: tuple[tuple[Gauge, str], ...] = (
    (metrics.pool_total, "total_capacity_gb"),
    (metrics.pool_free, "free_capacity_gb"),
    (metrics.pool_provisioned, "provisioned_capacity_gb"),
)


class PoolFigures:
    """Those of one backend."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._told: set[str] = set()

    def tell(
        self, reports: Mapping[str, Mapping[str, Any]], placed: Mapping[str, tuple[int, int]]
    ) -> None:
        """`reports` by full pool name, and how many volumes of how many GiB are placed in each."""
        self._forget(self._told - set(reports))
        for pool, report in reports.items():
            for gauge, field in _REPORTED:
                if (figure := _bytes(report.get(field))) is not None:
                    gauge.labels(self._backend, pool).set(figure)
            metrics.pool_allocated.labels(self._backend, pool).set(
                placed.get(pool, (0, 0))[1] * GIB
            )
        self._told = set(reports)

    def forget(self) -> None:
        """The backend is down, or somebody else's."""
        self._forget(self._told)
        self._told = set()

    def _forget(self, pools: set[str]) -> None:
        for pool in pools:
            for gauge in (*(gauge for gauge, _ in _REPORTED), metrics.pool_allocated):
                gauge.remove_by_labels({"backend": self._backend, "pool": pool})


def _bytes(gigabytes: float | str | None) -> float | None:
    """None for what is not known; a pool may be infinite."""
    try:
        return None if gigabytes is None else float(gigabytes) * GIB
    except ValueError:
        return None
