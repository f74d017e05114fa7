"""How much memory our processes take: idle after a start, and after 1,000 volumes.

    python bench/memory.py                        # both shapes
    python bench/memory.py --shapes one --creates 5000
    python bench/memory.py --modules api          # what the modules of a process of that role take

RSS counts shared pages in each process, PSS divides them among those that share them, private pages
are the process's own (`/proc/PID/smaps_rollup`, MiB). One process is everything we run; spread out
they are three, beside RabbitMQ, PostgreSQL and Keystone, which are not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from bench.shapes import Shape, one_process, spread_out  # noqa: E402

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

SETTLED = 3.0
"""Seconds after which a process that has nothing to do is idle."""

AT_ONCE = 16
PATIENCE = 120.0
PAGE = os.sysconf("SC_PAGE_SIZE")

SHAPES: dict[str, Callable[[], AbstractAsyncContextManager[Shape]]] = {
    "one": one_process,
    "spread": spread_out,
}


def pages(pid: int) -> dict[str, float]:
    """MiB of a process, by kind."""
    told = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        kind, _, amount = line.partition(":")
        told[kind] = int(amount.split()[0]) / 1024
    private = told["Private_Clean"] + told["Private_Dirty"]
    return {"RSS": told["Rss"], "PSS": told["Pss"], "private": private}


def memory(groups: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """MiB by name and kind, of all processes of these process groups."""
    found: dict[str, dict[str, float]] = {name: dict.fromkeys(_KINDS, 0.0) for name in groups}
    for pid in (int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is none of ours
            group = os.getpgid(pid)
            for name in (name for name, leader in groups.items() if leader == group):
                for kind, amount in pages(pid).items():
                    found[name][kind] += amount
    return found


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def table_rows(when: str, services: dict[str, int]) -> list[str]:
    """A row a process, and one for all of them."""
    found = {name: pages(pid) for name, pid in services.items()}
    counted = {name: threads(pid) for name, pid in services.items()}
    if len(found) > 1:
        found["together"] = {kind: sum(one[kind] for one in found.values()) for kind in _KINDS}
        counted["together"] = sum(counted.values())
    return [
        f"| {when} | {name} | {' | '.join(f'{told[kind]:.1f}' for kind in _KINDS)} "
        f"| {counted[name]} |"
        for name, told in found.items()
    ]


_KINDS = ("RSS", "PSS", "private")


async def create_many(shape: Shape, count: int) -> None:
    """Have so many volumes made, and wait for the last."""
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            reply = await shape.deployment.volume("POST", "/volumes", {"volume": {"size": 1}})
            assert reply.status_code == 202, reply.text

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    deadline = time.monotonic() + PATIENCE
    while True:
        reply = await shape.deployment.volume("GET", "/volumes?status=creating&limit=1")
        if not reply.json()["volumes"]:
            return
        assert time.monotonic() < deadline, "volumes are still creating"
        await asyncio.sleep(0.2)


async def measure(shapes: list[str], creates: int) -> None:
    print("| shape, when | process | RSS | PSS | private | threads |")
    print("|---" * 6 + "|")
    for name in shapes:
        async with SHAPES[name]() as shape:
            await asyncio.sleep(SETTLED)
            print(*table_rows(f"{shape.name}, idle", shape.services), sep="\n", flush=True)
            if creates:
                await create_many(shape, creates)
                await asyncio.sleep(SETTLED)
                rows = table_rows(f"{shape.name}, after {creates:,} creates", shape.services)
                print(*rows, sep="\n", flush=True)


# -- what the modules of one process take ------------------------------------------------------


class Weighing:
    """Notes by how much the process grows while a module is executed, without what that imports."""

    def __init__(self) -> None:
        self.grown: Counter[str] = Counter()
        self.count: Counter[str] = Counter()
        self._inner = [0]
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)

    def _private(self) -> int:
        _, resident, shared, *_ = os.pread(self._statm, 100, 0).split()
        return (int(resident) - int(shared)) * PAGE

    def around(self, execute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def weighed(loader: Any, module: Any) -> Any:
            before = self._private()
            self._inner.append(0)
            try:
                return execute(loader, module)
            finally:
                whole = self._private() - before
                package = self._package(module.__name__)
                self.grown[package] += whole - self._inner.pop()
                self.count[package] += 1
                self._inner[-1] += whole

        return weighed

    @staticmethod
    def _package(name: str) -> str:
        first, _, rest = name.partition(".")
        return f"{first}.{rest.partition('.')[0]}" if first == "breezeblock" else first

    def tell(self, longest: int = 40) -> None:
        print(f"{len(sys.modules)} modules, {sum(self.grown.values()) / 2**20:.1f} MiB")
        for package, grown in self.grown.most_common(longest):
            print(f"{grown / 2**20:7.2f} MiB  {self.count[package]:4} modules  {package}")


def run_weighed(arguments: list[str]) -> None:
    """`breezeblock` with these arguments, its imports weighed; ends when it has been up a while."""
    import _frozen_importlib_external as loaders
    import signal
    import threading

    weighing = Weighing()
    for loader in (loaders.SourceFileLoader, loaders.ExtensionFileLoader):
        loader.exec_module = weighing.around(loader.exec_module)

    def end() -> None:
        try:
            weighing.tell()
            sys.stdout.flush()
        finally:
            os._exit(0)

    threading.Timer(SETTLED, end).start()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv = ["breezeblock", *arguments]
    from breezeblock.cli.main import main as breezeblock

    breezeblock()


async def weigh(role: str) -> None:
    """One process of a shape that runs, with its imports weighed."""
    async with SHAPES["one" if role == "all" else "spread"]() as shape:
        deployment = shape.deployment
        name = "all" if role == "all" else role
        deployment.processes[name].terminate()
        deployment.processes[name].wait()
        roles = next(one for one in deployment.roles if role in (*one, "all"))
        config = str(deployment.home / "config.json")
        weighed = await asyncio.create_subprocess_exec(
            *[
                sys.executable,
                __file__,
                "--inside",
                json.dumps(["run", *roles, "--config", config]),
            ],
            env={**os.environ, "PYTHONPATH": f"{deployment.home / 'driver'}:{REPOSITORY}"},
            stderr=subprocess.DEVNULL,
        )
        await weighed.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="one,spread")
    parser.add_argument("--creates", type=int, default=1000)
    parser.add_argument("--modules", metavar="ROLE", help="api, scheduler, volume, or all")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        run_weighed(json.loads(chosen.inside))
    elif chosen.modules:
        asyncio.run(weigh(chosen.modules))
    else:
        asyncio.run(measure(chosen.shapes.split(","), chosen.creates))


if __name__ == "__main__":
    main()
