"""Looks at the database during the run: what may never be, not even for a moment.

It reads by itself, past the services: epochs of operations, how long operations are open, and the
rules that hold at any time (`model/invariants`, LIVE), each time on one consistent view.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from breezeblock.model.invariants import check_live
from breezeblock.store import facts
from breezeblock.store.store import ReadTx, link_over
from breezeblock.store.tables import OPEN, operations
from tests.crash.chaos.tally import Tally

EVERY = 0.4
FACTS_EVERY = 4
"""So many looks at the operations for one at everything."""
PLANNED = frozenset({"hold_volume", "sweep_backend", "check_volume", "check_snapshot"})
"""Workflows that wait on purpose, for a client or for a time: how long they are open says
nothing."""


def snapshot_engine(url: str) -> sa.Engine:
    """Connections whose transactions see the database as it was when they began."""
    return sa.create_engine(
        url,
        isolation_level="REPEATABLE READ",
        poolclass=sa.NullPool,
        connect_args={"connect_timeout": 3, "options": "-c statement_timeout=5000"},
    )


@dataclass
class Observer:
    """Samples the databases (part → URL) until it is cancelled."""

    urls: dict[str, str]
    tally: Tally
    samples: int = 0
    _epochs: dict[str, int] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    async def run(self) -> None:
        engines = {part: snapshot_engine(url) for part, url in self.urls.items()}
        looks = 0
        while True:
            await asyncio.sleep(EVERY)
            looks += 1
            for part, engine in engines.items():
                everything = part == "block storage" and looks % FACTS_EVERY == 0
                try:
                    await asyncio.to_thread(self._sample, engine, everything)
                except sa.exc.DBAPIError:
                    continue  # the database is away, that is part of it
                self.samples += 1

    def _sample(self, engine: sa.Engine, everything: bool) -> None:
        with engine.connect() as connection:
            recent = sa.or_(
                operations.c.state == OPEN,
                operations.c.ended_at > sa.func.extract("epoch", sa.func.now()) - 5,
            )
            for row in connection.execute(sa.select(operations).where(recent)):
                self._compare(row)
            if everything:
                for found in check_live(facts.read(ReadTx(link_over(connection))), {}):
                    self.tally.wrong(f"live {found.rule}", found.subject, found.text)

    def _compare(self, row: sa.Row[Any]) -> None:
        before = self._epochs.get(row.id, 0)
        if row.epoch < before:
            text = f"The epoch of operation {row.id} went from {before} back to {row.epoch}."
            self.tally.wrong("epoch", row.resource_id, text)
        self._epochs[row.id] = row.epoch
        if row.state != OPEN:
            self._ended.add(row.id)
        elif row.id in self._ended:
            text = f"The operation {row.id} had ended, and is open again."
            self.tally.wrong("reopened", row.resource_id, text)


@dataclass(frozen=True)
class Record:
    """What the operations of a run come to."""

    by_workflow: Counter[str]
    by_state: Counter[str]
    longest_open: dict[str, float]
    begun_again: int


def record(urls: dict[str, str]) -> Record:
    """Count the operations of all databases, and how long each was open at most, in seconds."""
    workflows: Counter[str] = Counter()
    states: Counter[str] = Counter()
    longest: dict[str, float] = {}
    begun_again = 0
    for url in urls.values():
        with snapshot_engine(url).connect() as connection:
            now = ReadTx(link_over(connection)).clock()
            for row in connection.execute(sa.select(operations)):
                workflows[row.workflow] += 1
                if row.workflow in PLANNED:
                    continue
                states[row.state] += 1
                seconds = (row.ended_at or now) - row.opened_at
                longest[row.workflow] = round(max(seconds, longest.get(row.workflow, 0.0)), 2)
                # Each step that is written down was begun once; more beginnings were for nothing.
                begun_again += row.epoch > sum("epoch" in entry for entry in row.trail)
    return Record(workflows, states, longest, begun_again)
