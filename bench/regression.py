"""Whether a commit costs more processor time than another: both are measured in one run.

    python -m bench.regression BASE [COMMIT] [--bound 5] [--rounds 8]

Each commit gets a work tree in a temporary directory and runs out of it in the one-process shape,
with this environment and these benchmarks; COMMIT defaults to the files as they are here. They are
asked in turn, always the same few things, so that whatever else goes on hits both. What is compared
is processor time an operation, round by round. It ends with 1 when some kind of work costs more
than the bound allows, in per cent, and by more than the rounds differ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from bench.free_driver import install
from bench.shapes import SETTINGS
from tests.e2e.deployment import Deployment

REPOSITORY = Path(__file__).parents[1]
HERE = "the files here"
ROLES = ("api", "scheduler", "volume")
LISTED = 200
"""Volumes that are there when lists are asked for."""


@contextmanager
def source_of(commit: str, home: Path) -> Iterator[Path]:
    """A directory with the source of a commit."""
    if commit == HERE:
        yield REPOSITORY / "src"
        return
    tree = home / commit.replace("/", "_")
    git = ("git", "-C", str(REPOSITORY), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
    try:
        yield tree / "src"
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=False)


@dataclass
class Running:
    """One commit, running; `spent` is milliseconds an operation, by work, a value a round."""

    commit: str
    deployment: Deployment
    client: httpx2.AsyncClient
    spent: dict[str, list[float]] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)

    async def measure(self, work: str, do: Callable[[Running], Awaitable[int]]) -> None:
        before = self._processor()
        count = await do(self)
        self.spent.setdefault(work, []).append(1000 * (self._processor() - before) / count)
        self.deployment.check()

    def _processor(self) -> float:
        """Seconds of all its threads; the kernel counts them finer than its ticks."""
        [process] = self.deployment.processes.values()
        spent = 0
        for task in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # it has just ended
                spent += int(task.read_text().split()[0])
        return spent / 1e9

    async def until_nothing_is(self, status: str) -> None:
        while (await self._get(f"/volumes?limit=1&status={status}"))["volumes"]:
            await asyncio.sleep(0.02)

    async def _get(self, path: str) -> dict[str, list[object]]:
        reply = await self.client.get(path)
        return dict(reply.raise_for_status().json())


@asynccontextmanager
async def running(commit: str, source: Path) -> AsyncIterator[Running]:
    deployment = Deployment(SETTINGS, roles=(ROLES,))
    driver = install(deployment.home / "driver")
    driver["PYTHONPATH"] = f"{source}:{driver['PYTHONPATH']}"
    try:
        deployment.launch("all", ROLES, **driver)
        await deployment.until_ready()
        headers = {"X-Auth-Token": "admin:admin", "OpenStack-API-Version": "volume 3.70"}
        url = deployment.volume_url
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
            yield Running(commit, deployment, client)
    finally:
        await deployment.stop()


# -- what is asked -----------------------------------------------------------------------------


async def create(one: Running, count: int) -> int:
    """POST, and until all are available: as the work goes on, an operation is both."""
    for _ in range(count):
        reply = await one.client.post("/volumes", json={"volume": {"size": 1}})
        one.volumes.append(reply.raise_for_status().json()["volume"]["id"])
    await one.until_nothing_is("creating")
    return count


async def get(one: Running, count: int) -> int:
    for _ in range(count):
        (await one.client.get(f"/volumes/{one.volumes[0]}")).raise_for_status()
    return count


async def lists(one: Running, count: int) -> int:
    for _ in range(count):
        (await one.client.get(f"/volumes/detail?limit={LISTED}")).raise_for_status()
    return count


async def delete(one: Running, count: int) -> int:
    """DELETE, and until all are gone."""
    for _ in range(count):
        (await one.client.delete(f"/volumes/{one.volumes.pop()}")).raise_for_status()
    await one.until_nothing_is("deleting")
    return count


WORKS = {
    "create → available": (create, 40),
    "GET /volumes/ID": (get, 200),
    f"GET /volumes/detail, {LISTED} volumes": (lists, 10),
    "delete → gone": (delete, 40),
}


# -- the verdict -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """One kind of work: the ratio of its costs over the rounds, and how sure that is."""

    work: str
    base_ms: float
    now_ms: float
    ratio: float
    margin: float
    """Half of the range in which the ratio lies with 95 per cent."""

    @classmethod
    def of(cls, work: str, base: Sequence[float], now: Sequence[float]) -> Verdict:
        """Rounds are compared in pairs: what disturbs one commit disturbs the other beside it."""
        logs = [math.log(after / before) for before, after in zip(base, now, strict=True)]
        spread = statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else math.inf
        ratio = math.exp(statistics.median(logs))
        medians = statistics.median(base), statistics.median(now)
        return cls(work, *medians, ratio, ratio * _T95[min(len(logs), len(_T95)) - 1] * spread)

    def worse_than(self, per_cent: float) -> bool:
        return self.ratio - self.margin > 1 + per_cent / 100


_T95 = (math.inf, 12.7, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Student's t by the number of rounds."""


def table(verdicts: Sequence[Verdict], bound: float) -> str:
    lines = ["| work | base, CPU ms | now, CPU ms | ratio | ± | |", "|---|---|---|---|---|---|"]
    for one in verdicts:
        worse = "WORSE" if one.worse_than(bound) else ""
        figures = f"{one.base_ms:.2f} | {one.now_ms:.2f} | {one.ratio:.3f} | {one.margin:.3f}"
        lines.append(f"| {one.work} | {figures} | {worse} |")
    return "\n".join(lines)


async def compare(commits: Sequence[str], rounds: int, scale: float = 1.0) -> list[Verdict]:
    """The second commit against the first."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="breezeblock-bench-")))
        both = [
            await stack.enter_async_context(
                running(commit, stack.enter_context(source_of(commit, home / str(number))))
            )
            for number, commit in enumerate(commits)
        ]
        for one in both:
            await create(one, max(2, round(LISTED * scale)))
        for number in range(rounds + 1):
            for work, (do, usual) in WORKS.items():
                count = max(2, round(usual * scale))
                for one in both if number % 2 else reversed(both):
                    await one.measure(work, lambda asked, do=do, count=count: do(asked, count))
        base, now = both
        # The first round has warmed them up.
        return [Verdict.of(work, base.spent[work][1:], now.spent[work][1:]) for work in WORKS]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base")
    parser.add_argument("commit", nargs="?", default=HERE)
    parser.add_argument("--bound", type=float, default=5.0, help="per cent that it may cost more")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write what was found as JSON, too")
    wanted = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.monotonic()
    verdicts = asyncio.run(compare((wanted.base, wanted.commit), wanted.rounds))
    print(table(verdicts, wanted.bound))
    print(f"{wanted.rounds} rounds, {time.monotonic() - began:.0f} s; bound {wanted.bound:g} %.")
    if wanted.out:
        wanted.out.write_text(json.dumps([vars(one) for one in verdicts], indent=1) + "\n")
    sys.exit(any(one.worse_than(wanted.bound) for one in verdicts))


if __name__ == "__main__":
    main()
