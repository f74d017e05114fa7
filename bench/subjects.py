"""What `bench/load.py` is run against: either shape of ours, Cinder, or a server that only answers.

A subject says where clients find it and whose processor time is counted; `measured` runs the load
script once, in a process of its own, and returns what it wrote.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from bench import cold_start, memory, shapes
from bench.cinder import ENVIRONMENT, Cinder, cinder
from bench.cold_start import Client, Start
from bench.figures import ALONE
from bench.machine import durability, durability_of_cinder
from tests.engines.process import PrivateServer, started

REPOSITORY = Path(__file__).parents[1]
PROJECT = "bec0bec0bec0bec0bec0bec0bec0bec0"
"""Where the load script's volumes are when callers are trusted."""


@dataclass(frozen=True)
class Subject:
    """One running deployment."""

    name: str
    base: str
    login: tuple[str, ...]
    services: Mapping[str, int]
    """Process groups of its own, by name."""
    engines: Mapping[str, int]
    """Process groups of what it runs on: broker, database server, Keystone."""
    check: Callable[[], None]
    """Raises when one of its processes has ended."""
    database: str = ""
    python: Path = Path(sys.executable)
    """With which its database can be reached."""
    poll_s: float = 0.005
    """How often the load script asks whether something is done."""
    token: str = ""
    """Of the same caller as the load script's."""
    durability: Mapping[str, str] = field(default_factory=dict)
    """What its database says of it."""
    restart: Callable[[], Start] | None = None
    """Stop its services, start them and time that; `services` are others then."""

    def memory_mb(self) -> dict[str, float]:
        """Of its own services together."""
        groups = set(self.services.values())
        found = [memory.pages(pid) for pid, group in _processes() if group in groups]
        return {
            "processes": len(found),
            "rss": round(sum(one["RSS"] for one in found), 1),
            "pss": round(sum(one["PSS"] for one in found), 1),
        }


def _processes() -> Iterator[tuple[int, int]]:
    """All process ids with their groups."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[2])
        except OSError:
            continue


async def measured(
    subject: Subject, scenario: str, options: Sequence[str] = ()
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """One run of one scenario: what was found by metric, and what is told of the run itself."""
    groups = {**subject.services, **subject.engines}
    watch = [text for name, group in groups.items() for text in ("--watch", f"{name}={group}")]
    with tempfile.TemporaryDirectory(prefix="breezeblock-bench-") as home:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.load_finely", "--base", subject.base, *subject.login),
            *("--scenarios", scenario, "--runs", "1", "--poll", str(subject.poll_s)),
            *("--out", f"{home}/load", *watch, *options),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:  # we are to end
                process.kill()
        subject.check()
        if process.returncode:
            raise RuntimeError(f"{subject.name}, {scenario}: {said.decode()[-2000:]}")
        told = _read(f"{home}/load.json")
    return {metric: row for metric, [row] in told["rows"].items()}, told["meta"][0]


def _read(path: str) -> Any:
    return json.loads(Path(path).read_text())


async def a_volume(subject: Subject) -> str:
    """The id of a new one that is available."""
    headers = {"X-Auth-Token": subject.token, "OpenStack-API-Version": "volume 3.70"}
    url = f"{subject.base}/v3/volumes"
    async with httpx2.AsyncClient(headers=headers, timeout=60) as client:
        reply = await client.post(url, json={"volume": {"size": 1, "name": "one of many"}})
        ident = str(reply.raise_for_status().json()["volume"]["id"])
        while True:
            found = (await client.get(f"{url}/{ident}")).raise_for_status().json()["volume"]
            if found["status"] == "available":
                return ident
            if found["status"] != "creating":
                raise RuntimeError(f"{subject.name}: a volume is {found['status']}")
            await asyncio.sleep(0.05)


async def multiply(subject: Subject, volume: str, count: int) -> None:
    """Have so many volumes like this one in its database; 0: not any more."""
    process = await asyncio.create_subprocess_exec(
        *(str(subject.python), str(REPOSITORY / "bench" / "multiply.py")),
        *(subject.database, volume, str(count)),
    )
    if await process.wait():
        raise RuntimeError(f"{subject.name}: no {count} volumes")


def of_shape(shape: shapes.Shape) -> Subject:
    """Breezeblock in one of its shapes."""
    deployment = shape.deployment

    def restart() -> Start:
        cold_start.stop(deployment)
        return cold_start.timed_start(deployment)

    return Subject(
        name=shape.name,
        base=deployment.volume_url.removesuffix("/v3"),
        login=shape.login,
        # The load script calls the sum "all".
        services={
            {"all": "breezeblock"}.get(name, name): group for name, group in shape.services.items()
        },
        engines={name: engine.pid for name, engine in shape.engines.items()},
        check=deployment.check,
        database=shape.database,
        token=f"admin:{PROJECT}" if "noauth" in shape.login else _token_of(shape),
        durability=durability(shape.database),
        restart=restart,
    )


def _token_of(shape: shapes.Shape) -> str:
    return str(shape.deployment.http.headers["X-Auth-Token"])


@asynccontextmanager
async def one_process() -> AsyncIterator[Subject]:
    async with shapes.one_process() as shape:
        yield of_shape(shape)


@asynccontextmanager
async def spread_out() -> AsyncIterator[Subject]:
    async with shapes.spread_out() as shape:
        yield of_shape(shape)


def of_cinder(running: Cinder) -> Subject:
    """The reference."""
    token = running.keystone.token("admin")

    def restart() -> Start:
        running.stop_services()
        client = Client(running.programs["api"].port, token)
        began = time.monotonic()
        running.start_programs()
        volume = client.until_accepted()
        accepted = time.monotonic() - began
        client.until_available(volume)
        available = time.monotonic() - began
        return Start(accepted, available, accepted, available, {})

    return Subject(
        name=running.name,
        base=running.base,
        login=running.login,
        services=running.services,
        engines={name: engine.pid for name, engine in running.engines.items()},
        check=running.check,
        database=running.mariadb.url,
        python=ENVIRONMENT / "bin" / "python",
        # Being asked costs it much, and what is made in 100 to 400 ms can be asked for less often.
        poll_s=0.02,
        token=token,
        durability=durability_of_cinder(running),
        restart=restart,
    )


@asynccontextmanager
async def cinder_29() -> AsyncIterator[Subject]:
    with cinder() as running:
        yield of_cinder(running)


class BareResponder(PrivateServer):
    """`bench/bare_responder.py` as a process."""

    def __init__(self) -> None:
        super().__init__("responder")
        self.url = f"http://127.0.0.1:{self.port}"

    def _command(self) -> Sequence[str]:
        server = str(REPOSITORY / "bench" / "bare_responder.py")
        return ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, server, str(self.port)]

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/v3/volumes?limit=1&", timeout=5).close()
        except OSError:
            return False
        return True

    def check(self) -> None:
        assert self.running, self.log()


@asynccontextmanager
async def bare_responder() -> AsyncIterator[Subject]:
    """What the client can do at most."""
    with started(BareResponder()) as server:
        yield Subject(
            name=ALONE,
            base=server.url,
            login=("--auth", "none"),
            services={"responder": server.pid},
            engines={},
            check=server.check,
        )
