"""What is read when a process is asked for its metrics: open operations, queues, the bus, backends.

It belongs to one process, unlike what `telemetry/metrics.py` counts. Each part is given a moment;
one that does not answer in it is left out of this scrape, which tells more than an old figure.

Open operations stand in the database that all processes share, so only schedulers tell of them (and
the compute API of those in a database of its own). Where several run, each tells the same: take
`max`, not `sum`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from breezeblock.bus.base import DEAD_LETTERS, Bus, BusUnavailable
from breezeblock.store import operations
from breezeblock.store.operations import Tally
from breezeblock.store.store import Store
from breezeblock.telemetry import metrics

if TYPE_CHECKING:
    from breezeblock.services.volume import VolumeService

PATIENCE = 2.0
"""Seconds that each part is given."""

FRESH = 1.0
"""Seconds that a count of the open operations is good for."""

log = structlog.get_logger()


class OpenOperations:
    """Counts a database's open operations, one query at a time and not too often."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asking: asyncio.Task[Sequence[Tally]] | None = None
        self._known: Sequence[Tally] = ()
        self._until = 0.0

    async def count(self) -> Sequence[Tally]:
        """By workflow and state; nothing when the database does not answer."""
        if monotonic() < self._until:
            return self._known
        if self._asking is None:
            self._asking = asyncio.create_task(self._store.read(operations.tally_open))
        asked = self._asking
        await asyncio.wait({asked}, timeout=PATIENCE)
        if not asked.done():
            return ()
        self._asking = None
        if error := asked.exception():
            log.warning("open operations not counted", error=str(error))
            return ()
        self._known, self._until = asked.result(), monotonic() + FRESH
        return self._known


class Figures:
    """What one process tells besides what it counts. `volume` and `databases` come at its start."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.volume: VolumeService | None = None
        self.databases: list[OpenOperations] = []

    async def collect(self) -> Collector:
        """All metrics as of now, to be encoded."""
        depths, tallies = await asyncio.gather(
            self._depths(), asyncio.gather(*(one.count() for one in self.databases))
        )
        families = [*self._bus(), *_queues(depths), *self._backends()]
        families += _open([tally for found in tallies for tally in found])
        return _Snapshot(families)

    async def _depths(self) -> Mapping[str, int]:
        try:
            return await asyncio.wait_for(self.bus.depths(), PATIENCE)
        except (BusUnavailable, TimeoutError):
            return {}

    def _bus(self) -> Iterable[Metric]:
        counted = asdict(self.bus.figures)
        connects = counted.pop("connects")
        yield GaugeMetricFamily(
            "breezeblock_bus_connected",
            "Whether the message broker answers.",
            value=int(self.bus.connected),
        )
        yield CounterMetricFamily(
            "breezeblock_bus_reconnects",
            "Times that the connection to the broker was made again.",
            value=max(connects - 1, 0),
        )
        messages = CounterMetricFamily(
            "breezeblock_bus_messages", "Messages, by what became of them.", labels=["outcome"]
        )
        for outcome, number in counted.items():
            messages.add_metric([outcome], number)
        yield messages

    def _backends(self) -> Iterable[Metric]:
        if self.volume is None:
            return
        up = GaugeMetricFamily(
            "breezeblock_backend_up", "Whether a backend can take work here.", labels=["backend"]
        )
        for name in self.volume.backends:
            up.add_metric([name], int(name not in self.volume.troubles))
        yield up


def _queues(depths: Mapping[str, int]) -> Iterable[Metric]:
    waiting = GaugeMetricFamily(
        "breezeblock_queue_messages", "Messages that wait, by queue served here.", labels=["queue"]
    )
    for queue, number in depths.items():
        if queue != DEAD_LETTERS:
            waiting.add_metric([queue], number)
    yield waiting
    if DEAD_LETTERS in depths:
        yield GaugeMetricFamily(
            "breezeblock_dead_letters",
            "Messages that nobody could handle.",
            value=depths[DEAD_LETTERS],
        )


def _open(tallies: Sequence[Tally]) -> Iterable[Metric]:
    labels = ["workflow", "state"]
    number = GaugeMetricFamily(
        "breezeblock_operations_open",
        "Open operations: running, due (nobody works on them), or waiting for their time.",
        labels=labels,
    )
    oldest = GaugeMetricFamily(
        "breezeblock_operations_oldest_seconds", "Age of the oldest of them.", labels=labels
    )
    for tally in tallies:
        number.add_metric([tally.workflow, tally.state], tally.number)
        oldest.add_metric([tally.workflow, tally.state], tally.oldest)
    yield number
    yield oldest


class _Snapshot(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        yield from metrics.REGISTRY.collect()
        yield from self._families
