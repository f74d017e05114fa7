"""How fast the scheduler ranks: 5,000 pools, all default filters, one request after the other.

Run it with `.venv/bin/python bench/scheduling.py [pools]`. It takes no part in the tests: figures
depend on the machine. The reports are made up of what real ones carry; a third of the pools is
refused, for several reasons, because words cost more than a yes.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from dataclasses import replace

from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.ranking import Ranking, rank
from breezeblock.scheduler.registry import load_filters, load_weighers
from breezeblock.scheduler.request import Request

ROUNDS = 10


def made_up_pools(count: int) -> list[Pool]:
    chance = random.Random(1)
    return [_pool(number, chance) for number in range(count)]


def _pool(number: int, chance: random.Random) -> Pool:
    backend = f"host{number // 50}@backend{number // 10 % 5}"
    total = chance.choice((1_000.0, 10_000.0, 50_000.0))
    used = total * chance.random()
    return Pool(
        name=f"{backend}#pool{number % 10}",
        backend=backend,
        availability_zone=chance.choice(("nova", "nova", "nova", "nova", "az2")),
        volumes=chance.randrange(1_000),
        up=chance.random() > 0.02,
        capabilities={
            "volume_backend_name": chance.choice(("fast", "fast", "fast", "fast", "slow")),
            "storage_protocol": chance.choice(("iSCSI", "NFS", "ceph")),
            "total_capacity_gb": total,
            "free_capacity_gb": total - used,
            "allocated_capacity_gb": used,
            "provisioned_capacity_gb": used * 1.5,
            "reserved_percentage": 5,
            "max_over_subscription_ratio": 20.0,
            "thin_provisioning_support": number % 2 == 0,
            "multiattach": True,
            "filter_function": "volume.size < 500 and capabilities.total_capacity_gb > 10",
        },
    )


def _fresh(pools: list[Pool]) -> list[Pool]:
    """Pools as after a report, with nothing computed yet."""
    return [replace(pool) for pool in pools]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    pools = made_up_pools(count)
    request = Request(
        size=20,
        volume={"display_name": "bench"},
        extra_specs={"volume_backend_name": "fast", "multiattach": "<is> True"},
        availability_zones=("nova",),
    )
    filters, weighers = load_filters(), load_weighers()

    def timed(offered: list[Pool]) -> tuple[float, Ranking]:
        began = time.perf_counter()
        ranking = rank(offered, request, filters, weighers)
        return time.perf_counter() - began, ranking

    first = statistics.median(timed(_fresh(pools))[0] for _ in range(ROUNDS))
    again = statistics.median(timed(pools)[0] for _ in range(ROUNDS))
    ranking = timed(pools)[1]
    print(f"{len(ranking.candidates)} of {count} pools fit, {len(ranking.refusals)} refused")
    for label, seconds in (("just reported", first), ("seen before", again)):
        print(f"{label}: {seconds * 1e3:.1f} ms a request, {count / seconds:,.0f} pools/s")


if __name__ == "__main__":
    main()
