"""What it costs to choose a pool for a volume among 10,000, with the default filters and weigher.

    python bench/scheduling.py                    # the rules, and the whole step on SQLite
    python bench/scheduling.py --postgres         # the whole step on PostgreSQL, too
    python bench/scheduling.py --pools 1000

`each pool asked` is `rank`, the rules as they are written, which looks at every pool; `table` is
`choose`, which a scheduler uses. The whole step is what a scheduler does for a create besides its
operation: see what backends have told since the last request, choose, count the placement, and make
the record of the choice; in a transaction of its own, on the store's thread, with what that costs.
Half of the pools are refused, for several reasons. Milliseconds of processor time a request,
medians.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.ranking import choose, rank
from breezeblock.scheduler.registry import load_filters, load_weighers
from breezeblock.scheduler.request import Request
from breezeblock.store import schema, services
from breezeblock.store.store import ReadTx, Store, WriteTx
from breezeblock.workflows.placing import record_of
from breezeblock.workflows.pool_view import PoolView

ROUNDS = 40
POOLS_OF_A_BACKEND = 10
CANDIDATES = 10
FILTERS, WEIGHERS = load_filters(), load_weighers()

Sizes = Callable[[], int]


def made_up_pools(count: int) -> list[Pool]:
    chance = random.Random(1)
    return [_pool(number, chance) for number in range(count)]


def _pool(number: int, chance: random.Random) -> Pool:
    backend = f"host{number // 50}@backend{number // POOLS_OF_A_BACKEND % 5}"
    total = chance.choice((1_000.0, 10_000.0, 50_000.0))
    used = total * chance.random()
    return Pool(
        name=f"{backend}#pool{number % POOLS_OF_A_BACKEND}",
        backend=backend,
        availability_zone=("nova", "nova", "nova", "nova", "az2")[number // 50 % 5],
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


def asked(size: int) -> Request:
    return Request(
        size=size,
        volume={"display_name": "bench", "id": random.random()},
        extra_specs={"volume_backend_name": "fast", "multiattach": "<is> True"},
        availability_zones=("nova",),
    )


def always_20() -> int:
    return 20


def any_size() -> int:
    return random.randrange(1, 400)


def milliseconds(do: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median processor time of this thread."""
    spent = []
    for _ in range(rounds):
        began = time.thread_time()
        do()
        spent.append(time.thread_time() - began)
    return 1e3 * statistics.median(spent)


def row(what: str, spent: float) -> None:
    print(f"| {what} | {spent:.2f} |", flush=True)


def of_the_rules(pools: list[Pool]) -> None:
    """Without any database."""

    def place(table: PoolTable, size: int) -> None:
        best = choose(table, asked(size), FILTERS, WEIGHERS, CANDIDATES).candidates[0].pool
        if chosen := table.get(best):
            table.put(chosen.booked(size))

    def just_reported() -> list[Pool]:
        return [replace(pool) for pool in pools]

    row(
        "each pool asked, just reported",
        milliseconds(lambda: rank(just_reported(), asked(20), FILTERS, WEIGHERS), 5),
    )
    row(
        "each pool asked, seen before",
        milliseconds(lambda: rank(pools, asked(20), FILTERS, WEIGHERS), 5),
    )
    table = PoolTable(pools)
    row("table, first request", milliseconds(lambda: place(table, 20), 1))
    row("table, same size again", milliseconds(lambda: place(table, 20)))
    row("table, any of 400 sizes", milliseconds(lambda: place(table, any_size())))


# -- the whole step ----------------------------------------------------------------------------


def populate(tx: WriteTx, pools: list[Pool]) -> None:
    by_backend: dict[str, list[Pool]] = {}
    for pool in pools:
        by_backend.setdefault(pool.backend, []).append(pool)
    for backend, own in by_backend.items():
        report(tx, backend, own)


def report(tx: WriteTx, backend: str, own: list[Pool]) -> None:
    """What a volume service writes with each report."""
    zone = own[0].availability_zone
    services.report(tx, services.VOLUME, backend, zone, backend_state="up")
    services.report_pools(tx, backend, {pool.name: pool.capabilities for pool in own})


async def of_the_step(url: str, name: str, pools: list[Pool]) -> None:
    store = Store(url)
    try:
        schema.upgrade(store)
        await store.write(lambda tx: populate(tx, pools))
        view = PoolView(store, down_time=3600.0)

        def step(tx: ReadTx, size: int) -> None:
            seen, request = view.seen(tx), asked(size)
            ranking = choose(seen, request, FILTERS, WEIGHERS, CANDIDATES)
            record_of(ranking, CANDIDATES)
            view.book(ranking.candidates[0].pool, size)

        async def measured(what: str, sizes: Sizes, rounds: int = ROUNDS) -> None:
            spent = []
            for _ in range(rounds):
                size = sizes()
                began = time.process_time()
                await store.read(lambda tx, size=size: step(tx, size))
                spent.append(time.process_time() - began)
            row(f"whole step on {name}, {what}", 1e3 * statistics.median(spent))

        await measured("first request", always_20, 1)
        await measured("same size again", always_20)
        await measured("any of 400 sizes", any_size)
        view.max_age = 0.0
        await measured("all backends looked at, none has reported", always_20)
        spent = []
        for _ in range(ROUNDS):
            own = [one for one in pools if one.backend == random.choice(pools).backend]
            await store.write(lambda tx, own=own: report(tx, own[0].backend, own))
            began = time.process_time()
            await store.read(lambda tx: step(tx, 20))
            spent.append(time.process_time() - began)
        row(f"whole step on {name}, one backend has reported", 1e3 * statistics.median(spent))
    finally:
        store.close()


@contextmanager
def databases(postgres: bool) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="breezeblock-bench-") as home:
        urls = {"SQLite": f"sqlite:///{home}/scheduling.sqlite"}
        if not postgres:
            yield urls
            return
        from tests.engines.postgres import Postgres
        from tests.engines.process import started

        with started(Postgres()) as server:
            yield {**urls, "PostgreSQL": server.create_database("scheduling")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pools", type=int, default=10_000)
    parser.add_argument("--postgres", action="store_true")
    chosen = parser.parse_args()
    pools = made_up_pools(chosen.pools)
    found = choose(PoolTable(pools), asked(20), FILTERS, WEIGHERS, CANDIDATES)
    print(f"{found.fit} of {len(pools)} pools fit, refused by {dict(found.refused_by)}\n")
    print("| what | ms |\n|---|---|")
    gc.freeze()
    of_the_rules(pools)
    with databases(chosen.postgres) as urls:
        for name, url in urls.items():
            asyncio.run(of_the_step(url, name, pools))


if __name__ == "__main__":
    main()
