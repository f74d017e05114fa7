"""How long a start takes: from `exec` of `breezeblock run …` to the first 202 and the first volume.

    python bench/cold_start.py                    # all three cases, median of 5 starts each
    python bench/cold_start.py --cases one --runs 9
    python bench/cold_start.py --imports api      # the dearest imports of a process of that role

`one` is one process on a database that is there already, `empty` the same with an empty data
directory, `spread` three processes whose RabbitMQ, PostgreSQL and Keystone are up. A client asks
for a volume every few milliseconds from the start on, and then for its status.

On a machine with other work a start takes longer by what it waits for a core. The kernel knows that
time (`/proc/PID/schedstat`); seconds without it are those of a machine that has a core to spare for
each process. The processor time is that of our processes until the volume is available.
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from bench.free_driver import install  # noqa: E402
from bench.shapes import Shape, one_process, spread_out  # noqa: E402
from tests.e2e.deployment import BREEZEBLOCK, Deployment  # noqa: E402

ASK_EVERY = 0.005
PATIENCE = 30.0
TICKS = os.sysconf("SC_CLK_TCK")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@dataclass(frozen=True, slots=True)
class Start:
    """One start, in seconds; `undisturbed` is without what the API's process waited for a core."""

    accepted: float
    available: float
    accepted_undisturbed: float
    available_undisturbed: float
    processor: dict[str, float]


def compile_all() -> None:
    """What an installation does: the source compiled, so that no start pays for it."""
    for folder in (REPOSITORY / "src", REPOSITORY / "bench"):
        compileall.compile_dir(folder, quiet=2)


def processor_seconds(pid: int) -> float:
    """What a process has used so far, its threads included."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / TICKS


def waited_for_a_core(pid: int) -> float:
    """Seconds that a process's first thread, which does nearly all of a start, could have run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


class Client:
    """Asks until it is answered: plain connections, so that asking costs little."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.headers = {"X-Auth-Token": token, "Content-Type": "application/json"}

    def until_accepted(self) -> str:
        """The id of a volume that was asked for."""
        body = json.dumps({"volume": {"size": 1, "name": "cold"}})
        return str(self._until(202, "POST", "/v3/volumes", body)["id"])

    def until_available(self, volume: str) -> None:
        """Wait for it. Raises RuntimeError when it goes wrong, or takes for ever."""
        deadline = time.monotonic() + PATIENCE
        while (status := self._until(200, "GET", f"/v3/volumes/{volume}")["status"]) != "available":
            if status == "error" or time.monotonic() > deadline:
                raise RuntimeError(f"the volume is {status}")
            time.sleep(ASK_EVERY)

    def _until(self, wanted: int, method: str, path: str, body: str = "") -> dict[str, str]:
        deadline = time.monotonic() + PATIENCE
        said: object = None
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                connection.request(method, path, body, self.headers)
                reply = connection.getresponse()
                said = reply.status, reply.read()
                if reply.status == wanted:
                    return dict(json.loads(said[1])["volume"])
            except OSError as error:
                said = error
            finally:
                connection.close()
            time.sleep(ASK_EVERY)
        raise RuntimeError(f"no {wanted} within {PATIENCE:g} s: {said}")


def stop(deployment: Deployment) -> None:
    """End the processes and nothing else."""
    for process in deployment.processes.values():
        process.terminate()
    for process in deployment.processes.values():
        process.wait()
    deployment.processes.clear()


def timed_start(deployment: Deployment) -> Start:
    """Start all processes at once; they stay."""
    driver = install(deployment.home / "driver")
    client = Client(deployment.port, str(deployment.http.headers["X-Auth-Token"]))
    began = time.monotonic()
    for roles in deployment.roles:
        deployment.launch("-".join(roles) if len(roles) == 1 else "all", roles, **driver)
    first = next(iter(deployment.processes.values())).pid
    volume = client.until_accepted()
    accepted, before = time.monotonic() - began, waited_for_a_core(first)
    client.until_available(volume)
    available, after = time.monotonic() - began, waited_for_a_core(first)
    used = {name: processor_seconds(one.pid) for name, one in deployment.processes.items()}
    return Start(accepted, available, accepted - before, available - after, used)


async def starts(shape: Shape, runs: int, *, empty: bool = False) -> list[Start]:
    found = []
    for _ in range(runs):
        stop(shape.deployment)
        if empty:
            shutil.rmtree(shape.deployment.data)
        found.append(await asyncio.to_thread(timed_start, shape.deployment))
    return found


async def one(runs: int) -> list[Start]:
    async with one_process() as shape:
        return await starts(shape, runs)


async def empty(runs: int) -> list[Start]:
    async with one_process() as shape:
        return await starts(shape, runs, empty=True)


async def spread(runs: int) -> list[Start]:
    async with spread_out() as shape:
        return await starts(shape, runs)


CASES: dict[str, Callable[[int], Awaitable[list[Start]]]] = {
    "one": one,
    "empty": empty,
    "spread": spread,
}


def row(case: str, found: list[Start]) -> str:
    def told(values: list[float]) -> str:
        return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"

    used = ", ".join(
        f"{name} {statistics.median(one.processor[name] for one in found):.2f}"
        for name in found[0].processor
    )
    spans = (
        [one.accepted for one in found],
        [one.accepted_undisturbed for one in found],
        [one.available for one in found],
        [one.available_undisturbed for one in found],
    )
    return f"| {case} | {' | '.join(map(told, spans))} | {used} |"


def dearest_imports(role: str, count: int = 40) -> None:
    """Print what `-X importtime` says of a process that starts with the role, dearest first."""
    started = subprocess.run(
        [sys.executable, "-X", "importtime", str(BREEZEBLOCK), "run", role, "--config", os.devnull],
        env={**os.environ, "BREEZEBLOCK_BUS": "amqp://nobody@127.0.0.1:1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = re.findall(r"import time: +(\d+) \| +(\d+) \| ( *)(\S+)", started.stderr)
    print(f"{len(lines)} modules, {sum(int(own) for own, *_ in lines) / 1e3:.0f} ms")
    for own, whole, _, name in sorted(lines, key=lambda line: -int(line[1]))[:count]:
        print(
            f"{int(whole) / 1e3:8.1f} ms with what it imports, {int(own) / 1e3:6.1f} alone  {name}"
        )


async def measure(cases: list[str], runs: int) -> None:
    print(
        "| case | first 202, s | without waiting for a core"
        " | first available, s | without waiting for a core | processor time, s |"
    )
    print("|---" * 6 + "|")
    for case in cases:
        print(row(case, await CASES[case](runs)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="one,empty,spread")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--imports", metavar="ROLE", help="print the dearest imports and end")
    chosen = parser.parse_args()
    compile_all()
    if chosen.imports:
        dearest_imports(chosen.imports)
    else:
        asyncio.run(measure(chosen.cases.split(","), chosen.runs))


if __name__ == "__main__":
    main()
