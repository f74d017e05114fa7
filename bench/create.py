"""How long a volume takes from the request to `available`, in one process and spread out.

    .venv/bin/python -m bench.create [--count 60] [--concurrency 1 8]

Both shapes run one after the other in one run, so compare their ratio; the machine is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from tests.e2e.deployment import Deployment, one_process, spread_out
from tests.engines.postgres import Postgres
from tests.engines.rabbitmq import RabbitMQ

POLL = 0.005


async def one(deployment: Deployment) -> tuple[float, float]:
    """(seconds of the POST, seconds until available)."""
    began = time.perf_counter()
    reply = await deployment.volume("POST", "/volumes", {"volume": {"size": 1}})
    posted = time.perf_counter() - began
    assert reply.status_code == 202, reply.text
    ident = reply.json()["volume"]["id"]
    while True:
        found = (await deployment.volume("GET", f"/volumes/{ident}")).json()["volume"]
        if found["status"] != "creating":
            assert found["status"] == "available", found
            return posted, time.perf_counter() - began
        await asyncio.sleep(POLL)


async def measure(name: str, deployment: Deployment, count: int, widths: list[int]) -> None:
    try:
        await deployment.start()
        await asyncio.gather(*(one(deployment) for _ in range(5)))
        for width in widths:
            gate = asyncio.Semaphore(width)

            async def gated(gate: asyncio.Semaphore = gate) -> tuple[float, float]:
                async with gate:
                    return await one(deployment)

            began = time.perf_counter()
            results = await asyncio.gather(*(gated() for _ in range(count)))
            rate = count / (time.perf_counter() - began)
            posted = 1000 * statistics.median(result[0] for result in results)
            whole = sorted(1000 * result[1] for result in results)
            p99 = whole[min(len(whole) - 1, int(0.99 * len(whole)))]
            print(
                f"{name:12} c={width:<3} POST p50 {posted:7.1f} ms   create->available "
                f"p50 {statistics.median(whole):7.1f} ms  p99 {p99:7.1f} ms   {rate:6.1f}/s",
                flush=True,
            )
    finally:
        await deployment.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8])
    arguments = parser.parse_args()
    asyncio.run(measure("one process", one_process(), arguments.count, arguments.concurrency))
    postgres, rabbitmq = Postgres(), RabbitMQ()
    try:
        postgres.start()
        rabbitmq.start()
        spread = spread_out(
            postgres.create_database("bench"),
            postgres.create_database("bench_compute"),
            rabbitmq.url,
        )
        asyncio.run(measure("spread out", spread, arguments.count, arguments.concurrency))
    finally:
        rabbitmq.remove()
        postgres.remove()


if __name__ == "__main__":
    main()
