"""How many requests an API has answered, how, and how long that took: metrics at little cost.

Each request is counted on the event loop's thread, which is also where a scrape reads, so a few
additions are all that it takes; prometheus_client's own counters lock and unlock five times.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from breezeblock.telemetry.metrics import QUICK, REGISTRY

_LABELS = ("api", "method", "route", "action")

Kind = tuple[str, str, str, str]
"""What requests are told apart by, besides their status: `_LABELS`."""


@dataclass(slots=True)
class Times:
    """How long the requests of one kind took."""

    total: float = 0.0
    within: list[int] = field(default_factory=lambda: [0] * (len(QUICK) + 1))
    """By the smallest of the bounds that they kept; the last kept none."""


@dataclass(eq=False)
class Requests(Collector):
    """The requests to all APIs of this process."""

    in_flight: dict[str, int] = field(default_factory=dict)
    """By API."""
    _times: dict[Kind, Times] = field(default_factory=dict)
    _answers: dict[tuple[Kind, int], int] = field(default_factory=dict)

    def count(self, kind: Kind, status: int, seconds: float) -> None:
        """One more has been answered."""
        answer = (kind, status)
        self._answers[answer] = self._answers.get(answer, 0) + 1
        times = self._times.get(kind)
        if times is None:
            times = self._times[kind] = Times()
        times.total += seconds
        times.within[bisect_left(QUICK, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        answered = CounterMetricFamily(
            "breezeblock_requests", "Requests answered.", labels=(*_LABELS, "status")
        )
        for (kind, status), number in self._answers.items():
            answered.add_metric((*kind, str(status)), number)
        yield answered
        took = HistogramMetricFamily(
            "breezeblock_request_seconds", "Time until a request was answered.", labels=_LABELS
        )
        for kind, times in self._times.items():
            took.add_metric(kind, _buckets(times), times.total)
        yield took
        now = GaugeMetricFamily(
            "breezeblock_requests_in_flight", "Requests being answered.", labels=("api",)
        )
        for api, number in self.in_flight.items():
            now.add_metric((api,), number)
        yield now


def _buckets(times: Times) -> list[tuple[str, float]]:
    """As Prometheus has them: each holds those below it, too."""
    bounds = (*map(floatToGoString, QUICK), "+Inf")
    sums, below = [], 0
    for number in times.within:
        below += number
        sums.append(float(below))
    return list(zip(bounds, sums, strict=True))


requests = Requests()
REGISTRY.register(requests)
