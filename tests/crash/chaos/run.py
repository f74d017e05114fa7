"""One run: stage, clients, nemesis and observer together; then quiet, then the checks."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from rich.console import Console

from tests.crash.chaos import checks, report
from tests.crash.chaos.api import VERSION, Api, Silent
from tests.crash.chaos.clients import Client
from tests.crash.chaos.guest import GuestClient
from tests.crash.chaos.nemesis import Nemesis
from tests.crash.chaos.observer import Observer, record
from tests.crash.chaos.reading import check_data
from tests.crash.chaos.report import Result
from tests.crash.chaos.stage import Stage
from tests.crash.chaos.sweep import sweep
from tests.crash.chaos.tally import Tally

PROJECTS = ("alpha", "beta", "gamma")
WARM_UP = 3.0
FINISHES_WITHIN = 240.0
COMPUTE_VERSION = "2.60"
"""Before 2.101 an attaching is answered when it is done."""


@dataclass(frozen=True)
class Wanted:
    """What to run."""

    seed: int
    seconds: float
    clients: int = 6
    guest: bool = True
    keys: bool = True
    kinds: tuple[str, ...] = ()


async def run(wanted: Wanted, console: Console) -> Result:
    """The whole of it. Violations are printed, and what may explain them is kept in a directory."""
    stage, tally = Stage(), Tally()
    try:
        console.print(f"chaos: seed {wanted.seed}: starting all services ...")
        await stage.start()
        async with _owners(wanted, stage, tally) as owners:
            tally.began = time.monotonic()
            samples = await _disturb(wanted, stage, owners, tally)
            seconds = time.monotonic() - tally.began
            console.print(f"chaos: {tally.faults.total()} faults in {seconds:.0f} s; now quiet ...")
            await _finish(owners, tally)
            until_quiet = await checks.wait_for_quiet(stage.urls, tally)
            await checks.check_hearing(stage, tally)
            await sweep(stage, tally)
            await asyncio.to_thread(checks.check_invariants, stage, tally)
            await checks.check_owners(owners, tally)
        for name in await stage.end_services():
            tally.wrong("does-not-stop", name, f"{name} did not stop on SIGTERM.")
        await checks.check_servers(stage, tally)
        await check_data(stage, owners, tally)
        history = await asyncio.to_thread(record, stage.urls)
        result = Result(wanted.seed, seconds, tally, history, until_quiet, samples)
        if result.violations:
            await asyncio.to_thread(_explain, result, stage, console)
        return result
    finally:
        await stage.stop()


@contextlib.asynccontextmanager
async def _owners(wanted: Wanted, stage: Stage, tally: Tally) -> AsyncIterator[list[Client]]:
    """The clients: several projects, more than one client in each; one has a server."""
    apis: list[Api] = []

    def api(project: str, *, compute: bool = False) -> Api:
        url = stage.deployment.compute_url if compute else stage.deployment.volume_url
        kind, version = ("compute", COMPUTE_VERSION) if compute else ("volume", VERSION)
        choice = random.Random(f"{wanted.seed} api {len(apis)}")
        keys = wanted.keys and not compute
        apis.append(Api(url, kind, version, project, tally, choice, keys=keys))
        return apis[-1]

    clients = []
    for number in range(wanted.clients):
        project = PROJECTS[number % len(PROJECTS)]
        name = f"{project}-{number}"
        clients.append(Client(name, project, api(project), wanted.seed, tally))
    if wanted.guest:
        server = await stage.deployment.create_server("chaos")
        project = "admin"  # the server's
        clients.append(
            GuestClient(
                "guest",
                project,
                api(project),
                wanted.seed,
                tally,
                compute=api(project, compute=True),
                server=server,
                inside=stage.deployment.inside,
            )
        )
    try:
        yield clients
    finally:
        for one in apis:
            await one.close()


async def _disturb(wanted: Wanted, stage: Stage, owners: Sequence[Client], tally: Tally) -> int:
    """Clients, nemesis and observer at once; all services are up again afterwards."""
    stop = asyncio.Event()
    observer = Observer(stage.urls, tally)
    watching = asyncio.create_task(observer.run())
    working = [asyncio.create_task(owner.run(stop)) for owner in owners]
    try:
        await asyncio.sleep(WARM_UP)
        nemesis = Nemesis(stage, wanted.seed, tally, wanted.kinds)
        await nemesis.run(tally.began + wanted.seconds)
        if not await stage.until_up():
            tally.wrong("not-up", "", "The services do not come up again.")
        stop.set()
        async with asyncio.timeout(FINISHES_WITHIN):
            await asyncio.gather(*working)
    except TimeoutError:
        tally.wrong("clients-stuck", "", "Some clients do not come to an end.")
    finally:
        for task in (watching, *working):
            task.cancel()
        await asyncio.gather(watching, *working, return_exceptions=True)
    return observer.samples


async def _finish(owners: Sequence[Client], tally: Tally) -> None:
    """Everybody lets go of everything."""
    try:
        async with asyncio.timeout(FINISHES_WITHIN):
            await asyncio.gather(*(owner.finish() for owner in owners))
    except (Silent, TimeoutError) as error:
        tally.wrong("clients-stuck", "", f"Some clients cannot tidy up: {error!r}.")


def _explain(result: Result, stage: Stage, console: Console) -> None:
    report.print_problems(result, stage.urls, console)
    directory = report.keep(result, stage.urls)
    stage.keep_logs(directory)
    console.print(f"chaos: logs and diary are in {directory}", soft_wrap=True)
