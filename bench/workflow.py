"""What each operation costs: statements, transactions, messages, processor time; in both shapes.

    .venv/bin/python -m bench.workflow [--shape one spread] [--count 40] [--statements] [--profile]

Each operation is made `--count` times, one after the other, with nothing else going on: services
report and poll once in ten minutes. Its end is looked for in the database, by a client of its own,
so what is counted is the operation and not the waiting for it. BEGIN and COMMIT are no statements
but make a transaction; messages are what the bus was given. `--statements` lists what was sent to
the database, `--profile` says what our processes were busy with.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from bench import shapes
from bench.profiling import profiled
from bench.shapes import Shape

from breezeblock.model.ids import new_id

QUIET = {
    "report_interval": 600.0,
    "service_down_time": 3600.0,
    "operations": {"lease": 60.0, "poll": 600.0},
}
"""Nothing happens in a process but what it is asked for."""
WATCHING = "bench watches"
"""Marks the statements that are ours, not the product's."""
BRACKETS = re.compile(r"(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET TRANSACTION|PRAGMA)\b", re.I)
LOGGED = re.compile(r"LOG: +(?:statement|execute [^:]*): (.*)")
"""A statement in PostgreSQL's log; those of several lines go on with tabs."""


class Watch:
    """Looks into the database from outside until something has come about."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")

    async def until(self, condition: str, ident: str) -> None:
        query = sa.text(f"/* {WATCHING} */ SELECT count(*) FROM {condition}")
        deadline = time.monotonic() + 30
        while not await asyncio.to_thread(self._holds, query, ident):
            assert time.monotonic() < deadline, f"{condition}: {ident}"
            await asyncio.sleep(0.003)

    def _holds(self, query: sa.TextClause, ident: str) -> bool:
        with self._engine.connect() as connection:
            return bool(connection.execute(query, {"id": ident}).scalar())

    async def until_quiet(self) -> None:
        """No operation is open but those that wait for a time far away."""
        await self.until(
            "(SELECT 1) AS one WHERE NOT EXISTS (SELECT 1 FROM operations WHERE state = 'open' "
            "AND due_at < :id)",
            str(time.time() + 5),
        )


@dataclass
class Figures:
    """Counts of one kind of work, over all repetitions."""

    number: int = 0
    milliseconds: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    messages: float = 0.0

    @property
    def statements(self) -> int:
        return sum(number for text, number in self.sent.items() if not BRACKETS.match(text))

    @property
    def transactions(self) -> int:
        return sum(number for text, number in self.sent.items() if text.upper().startswith("BEGIN"))

    def row(self, shape: str, work: str) -> str:
        per = (self.statements, self.transactions, self.messages, self.milliseconds.total())
        cells = [f"{value / self.number:.1f}" for value in per]
        parts = ", ".join(
            f"{name} {self.milliseconds[name] / self.number:.1f}" for name in self.milliseconds
        )
        return f"| {shape} | {work} | {' | '.join(cells)} | {parts} |"


class Meter:
    """Reads, before and after, what a deployment has done."""

    def __init__(self, shape: Shape, statements: Path) -> None:
        self.shape = shape
        engine = shape.engines.get("postgres")
        self._log = engine.home / "output.log" if engine else statements

    async def measure(self, figures: Figures, work: Callable[[], Awaitable[None]]) -> None:
        processor, messages, read = self._processor(), await self._messages(), self._size()
        await work()
        for name, seconds in self._processor().items():
            figures.milliseconds[name] += round(1000 * (seconds - processor[name]))
        figures.messages += await self._messages() - messages
        await asyncio.sleep(0.2)  # the server writes its log when it likes
        figures.sent += self._sent(read)

    def _processor(self) -> dict[str, float]:
        hertz = os.sysconf("SC_CLK_TCK")
        spent = dict.fromkeys(self.shape.services, 0.0)
        names = {pid: name for name, pid in self.shape.services.items()}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if name := names.get(int(fields[2])):
                spent[name] += (int(fields[11]) + int(fields[12])) / hertz
        return spent

    async def _messages(self) -> float:
        total = 0.0
        for address in self.shape.monitoring.values():
            told = (await self.shape.deployment.http.get(f"{address}/metrics")).text
            for line in told.splitlines():
                if line.startswith("breezeblock_bus_messages_total") and '"published"' in line:
                    total += float(line.rpartition(" ")[2])
        return total

    def _size(self) -> int:
        return self._log.stat().st_size

    def _sent(self, since: int) -> Counter[str]:
        with self._log.open("rb") as log:
            log.seek(since)
            text = log.read().decode(errors="replace")
        if "postgres" not in self.shape.engines:
            lines = [_bare(line) for line in text.splitlines()]
        else:
            lines = [found[1] for found in LOGGED.finditer(text.replace("\n\t", " "))]
        return Counter(" ".join(line.split()) for line in lines if WATCHING not in line)


def _bare(statement: str) -> str:
    """Without the values that SQLite's trace shows in it."""
    return re.sub(r"'(?:[^']|'')*'|\b\d[\d.e+-]*\b", "?", statement)


class Works:
    """What clients do. Each is done and then waited for until the last transaction has ended."""

    def __init__(self, shape: Shape, watch: Watch) -> None:
        self.call = shape.deployment.volume
        self.watch = watch
        self.volumes: list[str] = []
        self.snapshots: list[str] = []

    async def create(self) -> None:
        reply = await self.call("POST", "/volumes", {"volume": {"size": 1}})
        assert reply.status_code == 202, reply.text
        self.volumes.append(reply.json()["volume"]["id"])
        await self.watch.until("volumes WHERE id = :id AND status = 'available'", self.volumes[-1])

    async def attach(self) -> None:
        wanted = {"volume_uuid": self.volumes[0], "instance_uuid": new_id()}
        reply = await self.call("POST", "/attachments", {"attachment": wanted})
        assert reply.status_code == 200, reply.text
        path = f"/attachments/{reply.json()['attachment']['id']}"
        connector = {"host": "somewhere", "initiator": "iqn.1993-08.org.debian:01:somewhere"}
        reply = await self.call("PUT", path, {"attachment": {"connector": connector}})
        assert reply.status_code == 200, reply.text
        reply = await self.call("POST", f"{path}/action", {"os-complete": {}})
        assert reply.status_code == 204, reply.text
        reply = await self.call("DELETE", path)
        assert reply.status_code == 200, reply.text

    async def snapshot(self) -> None:
        reply = await self.call(
            "POST", "/snapshots", {"snapshot": {"volume_id": self.volumes[0], "force": True}}
        )
        assert reply.status_code == 202, reply.text
        self.snapshots.append(reply.json()["snapshot"]["id"])
        where = "snapshots WHERE id = :id AND status = 'available'"
        await self.watch.until(where, self.snapshots[-1])

    async def delete_snapshot(self) -> None:
        ident = self.snapshots.pop()
        reply = await self.call("DELETE", f"/snapshots/{ident}")
        assert reply.status_code == 202, reply.text
        await self._gone("snapshots", ident)

    async def delete(self) -> None:
        ident = self.volumes.pop()
        reply = await self.call("DELETE", f"/volumes/{ident}")
        assert reply.status_code == 202, reply.text
        await self._gone("volumes", ident)

    async def _gone(self, table: str, ident: str) -> None:
        where = f"(SELECT 1) AS one WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE id = :id)"
        await self.watch.until(where, ident)

    @property
    def all(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "create volume": self.create,
            "attach flow, 4 calls": self.attach,
            "create snapshot": self.snapshot,
            "delete snapshot": self.delete_snapshot,
            "delete volume": self.delete,
        }


async def run(
    opened: AbstractAsyncContextManager[Shape], home: Path, arguments: argparse.Namespace
) -> None:
    async with opened as shape:
        if "postgres" in shape.engines:
            _log_statements(shape.database)
        watch = Watch(shape.database)
        works, meter = Works(shape, watch), Meter(shape, home)
        for _ in range(5):  # warm
            await works.create()
        await works.attach()
        await watch.until_quiet()
        with profiled(shape.services) if arguments.profile else nullcontext() as shares:
            for name, work in works.all.items():
                figures = Figures(arguments.count)

                async def repeat(work: Callable[[], Awaitable[None]] = work) -> None:
                    for _ in range(arguments.count):
                        await work()
                    await watch.until_quiet()

                await meter.measure(figures, repeat)
                print(figures.row(shape.name, name), flush=True)
                if arguments.statements:
                    for text, number in figures.sent.most_common():
                        if number >= arguments.count / 2:
                            print(f"    {number / arguments.count:4.1f}  {text[:400]}")
        if shares:
            print(f"\n{shares.table()}\n")


def _log_statements(url: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("ALTER SYSTEM SET log_statement = 'all'"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", nargs="+", choices=("one", "spread"), default=["one", "spread"])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--statements", action="store_true")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    made = {"one": shapes.one_process, "spread": shapes.spread_out}
    head = ("shape", "operation", "statements", "transactions", "messages", "CPU ms", "of which")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    with tempfile.NamedTemporaryFile() as file:
        os.environ["BENCH_STATEMENTS"] = file.name
        for name in arguments.shape:
            asyncio.run(run(made[name](**QUIET), Path(file.name), arguments))


if __name__ == "__main__":
    main()
