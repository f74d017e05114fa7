"""What a process counts and times: the figures behind `/metrics`, named as Prometheus has it.

One registry a Python process, as one such process is what a scrape asks about. Where tests run
several services in one, they share it, and look at how far a figure has moved. Requests are counted
in `telemetry/requests.py`. What is read at the time of a scrape (open operations, queues, the bus)
belongs to one service and is in `services/monitoring.py`.

Labels come from what is declared (routes, workflows, steps, drivers' methods) or configured
(backends, pools), never from what a client sends: no ids, no projects. So the number of series is
bounded by the deployment, not by its use.
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

# A series more for each one, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)
Info("breezeblock_build", "The version that runs.", registry=REGISTRY).info(
    {"version": version("breezeblock"), "python": platform.python_version()}
)

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
"""Upper bounds, in seconds, for what a client or a transaction waits for."""

SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Upper bounds, in seconds, for work on storage."""


def _counter(name: str, help_: str, *labels: str) -> Counter:
    return Counter(f"breezeblock_{name}", help_, labels, registry=REGISTRY)


def _gauge(name: str, help_: str, *labels: str) -> Gauge:
    return Gauge(f"breezeblock_{name}", help_, labels, registry=REGISTRY)


def _histogram(name: str, help_: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"breezeblock_{name}", help_, labels, buckets=bounds, registry=REGISTRY)


operation_seconds = _histogram(
    "operation_seconds",
    "Time from the request to the end of its operation.",
    SLOW,
    "workflow",
    "outcome",
)
operation_failures = _counter(
    "operation_failures", "Operations that failed, by the failure's code.", "workflow", "code"
)
step_seconds = _histogram(
    "step_seconds", "Time that a step of a workflow took.", SLOW, "workflow", "step", "outcome"
)
lease_takeovers = _counter(
    "lease_takeovers",
    "Operations taken over from a worker that did not end its step: it died, hung or was stopped.",
    "workflow",
)
fenced_writes = _counter(
    "fenced_writes", "Outcomes refused because another worker had gone on.", "workflow"
)

driver_call_seconds = _histogram(
    "driver_call_seconds", "Time that a driver's method took.", SLOW, "backend", "verb", "outcome"
)
driver_calls_in_flight = _gauge(
    "driver_calls_in_flight", "Driver calls that wait or run.", "backend"
)

pool_total = _gauge("pool_total_bytes", "Size of a pool.", "backend", "pool")
pool_free = _gauge("pool_free_bytes", "What is free in a pool.", "backend", "pool")
pool_provisioned = _gauge(
    "pool_provisioned_bytes", "What has been promised from a pool.", "backend", "pool"
)
pool_allocated = _gauge(
    "pool_allocated_bytes", "Sizes of our volumes in a pool.", "backend", "pool"
)

silent_processes = _gauge(
    "silent_processes",
    "Other processes of a service that have said nothing for service_down_time.",
    "binary",
    "host",
)

transaction_seconds = _histogram(
    "transaction_seconds",
    "Time of a database transaction, waiting for its turn included.",
    QUICK,
    "kind",
)
transaction_retries = _counter(
    "transaction_retries", "Transactions run again after a deadlock or a conflict."
)


reads, writes = transaction_seconds.labels("read"), transaction_seconds.labels("write")
