"""Short ways to say "a pool" and "a request" in the scheduler's tests."""

from __future__ import annotations

from typing import Any

from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request

VOLUME_1 = "0a8f7e4c-6a0e-4b0c-9d5e-000000000001"
VOLUME_2 = "0a8f7e4c-6a0e-4b0c-9d5e-000000000002"

STATE = frozenset(
    {"up", "enabled", "frozen", "reported", "volumes", "availability_zone", "backend_state"}
)


def a_pool(name: str = "h1@lvm#p1", **told: Any) -> Pool:
    """A thick pool of 100 GiB, all free, in zone nova; what is told replaces or adds."""
    state = {key: value for key, value in told.items() if key in STATE}
    report = {key: value for key, value in told.items() if key not in STATE}
    return Pool(
        name=name,
        backend=name.partition("#")[0],
        capabilities={"total_capacity_gb": 100, "free_capacity_gb": 100, **report},
        **{"availability_zone": "nova", **state},
    )


def a_thin_pool(name: str = "h1@lvm#p1", **told: Any) -> Pool:
    return a_pool(name, **{"thin_provisioning_support": True, **told})


def asking(size: float = 0, **told: Any) -> Request:
    return Request(size=size, **told)
