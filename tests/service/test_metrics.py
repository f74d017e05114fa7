"""Each figure of /metrics moves by what it is about, and no label tells of single things."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.model.ids import new_id
from breezeblock.store import operations
from breezeblock.store.store import Store, WriteTx
from breezeblock.store.tables import operations as rows
from breezeblock.telemetry import metrics
from tests.engines.postgres import Postgres
from tests.service.watched import BACKEND, Watched, watch

NOBODY = "00000000-0000-4000-8000-000000000000"
GIB = 1 << 30
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watch(tmp_path) as made:
        yield made


async def test_requests_are_counted_by_route_and_status(watched: Watched) -> None:
    before = await watched.scrape()
    await watched.call("GET", f"/v3/volumes/{NOBODY}")
    await watched.call("POST", f"/v3/volumes/{NOBODY}/action", {"os-extend": {"new_size": 2}})
    await watched.call("GET", f"/nowhere/{NOBODY}")
    await watched.call("PROPFIND", "/v3/volumes")
    after = await watched.scrape()

    def more(name: str, **labels: str) -> float:
        name = f"breezeblock_{name}"
        return after.figure(name, api="volume", **labels) - before.figure(name, **labels)

    shown = {"method": "GET", "route": "/v3/volumes/{volume_id}"}
    assert more("requests_total", **shown, status="404") == 1
    assert more("request_seconds_count", **shown) == 1
    assert more("request_seconds_sum", **shown) > 0
    action = {"route": "/v3/volumes/{volume_id}/action", "action": "os-extend"}
    assert more("requests_total", **action, status="404") == 1
    assert more("requests_total", method="GET", route="", status="404") == 1
    assert more("requests_total", method="other") == 1
    assert NOBODY not in (await watched.ask("/metrics")).text


async def test_what_a_create_moves(watched: Watched) -> None:
    before = await watched.scrape()
    ident = await watched.create()
    after = await watched.scrape()

    def more(name: str, **labels: str) -> float:
        name = f"breezeblock_{name}"
        return after.figure(name, **labels) - before.figure(name, **labels)

    created = {"workflow": "create_volume"}
    assert more("operation_seconds_count", **created, outcome="succeeded") == 1
    assert more("operation_seconds_sum", **created) > 0
    assert more("step_seconds_count", **created, step="schedule", outcome="next") == 1
    assert more("step_seconds_count", **created, step="build", outcome="done") == 1
    assert more("driver_call_seconds_count", backend=BACKEND, verb="create", outcome="done") == 1
    assert more("transaction_seconds_count", kind="write") >= 3
    assert more("transaction_seconds_count", kind="read") >= 1
    assert more("bus_messages_total", outcome="published") >= 2
    assert more("bus_messages_total", outcome="consumed") >= 1
    text = (await watched.ask("/metrics")).text
    assert not [told for told in (ident, "ada", "p1", "req-") if f'"{told}' in text]


async def test_failures_are_counted_by_their_code(watched: Watched) -> None:
    before = await watched.scrape()
    watched.driver.failures["create"] = PermanentError("The array is full.")
    await watched.create("error")
    after = await watched.scrape()

    def more(name: str, **labels: str) -> float:
        return after.figure(name, **labels) - before.figure(name, **labels)

    failed = {"workflow": "create_volume"}
    assert more("breezeblock_operation_seconds_count", **failed, outcome="failed") == 1
    assert more("breezeblock_operation_failures_total", **failed, code="backend") == 1
    calls = "breezeblock_driver_call_seconds_count"
    assert more(calls, verb="create", outcome="permanent-error") == 1
    watched.driver.failures["stats"] = TemporaryError("It is busy.")
    down = await watched.until(lambda told: not told.figure("breezeblock_backend_up"))
    assert down.figure(calls, verb="stats", outcome="temporary-error") > after.figure(
        calls, verb="stats", outcome="temporary-error"
    )
    free = "breezeblock_pool_free_bytes"
    assert BACKEND in {one["backend"] for one in after.series(free)}
    assert BACKEND not in {one["backend"] for one in down.series(free)}


async def test_what_is_under_way_is_seen(watched: Watched) -> None:
    gate = watched.driver.gates["create"] = threading.Event()
    for _ in range(6):
        await watched.call("POST", "/v3/volumes", {"volume": {"size": 1}})
    running = {"workflow": "create_volume", "state": "running"}
    busy = await watched.until(
        lambda told: (
            told.figure("breezeblock_queue_messages", queue=f"volume.{BACKEND}") == 4
            and told.figure("breezeblock_operations_open", **running) == 2
        )
    )
    assert busy.figure("breezeblock_driver_calls_in_flight", backend=BACKEND) >= 2
    assert busy.figure("breezeblock_operations_open", workflow="create_volume", state="due") == 4
    assert busy.figure("breezeblock_operations_oldest_seconds", **running) > 0
    gate.set()
    await watched.until(
        lambda told: (
            told.figure("breezeblock_queue_messages", queue=f"volume.{BACKEND}") == 0
            and told.figure("breezeblock_operations_open", workflow="create_volume") == 0
            and told.figure("breezeblock_driver_calls_in_flight", backend=BACKEND) == 0
        )
    )


async def test_a_request_that_waits_is_in_flight(watched: Watched) -> None:
    ident = await watched.create()
    gate = watched.driver.gates["export"] = threading.Event()
    wish = {"attachment": {"volume_uuid": ident, "connector": {"host": "c1"}}}
    attached = asyncio.create_task(watched.call("POST", "/v3/attachments", wish))
    await watched.until(lambda told: told.figure("breezeblock_requests_in_flight") == 1)
    gate.set()
    assert (await attached).status_code == 200
    await watched.until(lambda told: told.figure("breezeblock_requests_in_flight") == 0)


async def test_pools_tell_their_capacity_and_vanish_when_they_are_gone(watched: Watched) -> None:
    watched.driver.pools["pool1"] = {}
    pools = {f"{BACKEND}#{name}" for name in ("pool0", "pool1")}

    def told(name: str) -> set[str]:
        return {one["pool"] for one in scrape.series(name) if one["backend"] == BACKEND}

    scrape = await watched.until(lambda now: len(now.series("breezeblock_pool_total_bytes")) == 2)
    assert told("breezeblock_pool_total_bytes") == pools
    total = scrape.figure("breezeblock_pool_total_bytes", pool=f"{BACKEND}#pool0")
    assert total == watched.driver.capacity * GIB
    await watched.create()
    # It is placed before it is made: one report may tell of the former only.
    await watched.until(lambda now: now.figure("breezeblock_pool_allocated_bytes") == GIB)
    await watched.until(lambda now: now.figure("breezeblock_pool_free_bytes") == 2 * total - GIB)
    del watched.driver.pools["pool1"]
    scrape = await watched.until(lambda now: len(now.series("breezeblock_pool_total_bytes")) == 1)
    for name in ("total", "free", "allocated"):
        assert told(f"breezeblock_pool_{name}_bytes") == {f"{BACKEND}#pool0"}


async def test_a_takeover_and_the_write_that_comes_late_are_counted(watched: Watched) -> None:
    before = await watched.scrape()
    gate = watched.driver.gates["create"] = threading.Event()
    await watched.call("POST", "/v3/volumes", {"volume": {"size": 1}})
    running = {"workflow": "create_volume", "state": "running"}
    await watched.until(lambda told: told.figure("breezeblock_operations_open", **running) == 1)
    store = Store(watched.process.config.database_url)
    try:
        await store.write(_take_from_silent_worker)
    finally:
        store.close()
    gate.set()
    for name in ("breezeblock_lease_takeovers_total", "breezeblock_fenced_writes_total"):
        moved = before.figure(name, workflow="create_volume") + 1
        await watched.until(
            lambda told, name=name, moved=moved: (  # type: ignore[misc]
                told.figure(name, workflow="create_volume") == moved
            )
        )


def _take_from_silent_worker(tx: WriteTx) -> None:
    """As another host does when the lease of this one has run out."""
    found = tx.first(rows.select().where(rows.c.workflow == "create_volume"))
    assert found is not None
    tx.run(rows.update().where(rows.c.id == found.id).values(lease_until=1.0))
    assert operations.claim(tx, found.id, found.queue, "elsewhere:1:1", 60.0) is not None


async def test_a_step_that_ends_in_time_is_no_takeover(watched: Watched) -> None:
    before = await watched.scrape()
    await watched.create()
    after = await watched.scrape()
    name = "breezeblock_lease_takeovers_total"
    assert after.figure(name) == before.figure(name)


async def test_dead_letters_and_a_lost_broker_are_seen(watched: Watched) -> None:
    bus = watched.process.bus
    await bus.publish("scheduler", b"no wake-up")
    await watched.until(
        lambda told: (
            told.figure("breezeblock_dead_letters") == 1
            and told.figure("breezeblock_bus_messages_total", outcome="unreadable") == 1
        )
    )
    assert (await watched.scrape()).figure("breezeblock_bus_connected") == 1
    await bus.close()
    away = await watched.scrape()
    assert away.figure("breezeblock_bus_connected") == 0
    assert away.series("breezeblock_bus_connected"), "0, not unknown"
    await bus.start()
    back = await watched.scrape()
    assert back.figure("breezeblock_bus_connected") == 1
    assert back.figure("breezeblock_bus_reconnects_total") == 1


async def test_the_build_and_the_process_are_told(watched: Watched) -> None:
    told = await watched.scrape()
    assert told.figure("breezeblock_build_info") == 1
    assert told.figure("process_resident_memory_bytes") > 1 << 20
    assert told.figure("process_cpu_seconds_total") > 0


async def test_openmetrics_for_who_asks_for_it(watched: Watched) -> None:
    reply = await watched.ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in text_string_to_metric_families(reply.text)}
    assert "breezeblock_request_seconds" in names


async def test_alarms_and_the_manual_name_figures_that_there_are(watched: Watched) -> None:
    told = (await watched.ask("/metrics")).text
    there = set(re.findall(r"^# TYPE (\S+)", told, re.MULTILINE))
    alarms = (REPOSITORY / "deploy" / "alerts.yaml").read_text()
    assert len(yaml.safe_load(alarms)["groups"][0]["rules"]) >= 4
    named = set(re.findall(r"\bbreezeblock_\w+", alarms))
    assert named
    assert named <= there
    manual = (REPOSITORY / "docs" / "operating.md").read_text().partition("## Watching it")[2]
    rows = re.findall(r"^\| (`[^|]+) \|", manual.partition("**Logs.**")[0], re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    ours = {name.removeprefix("breezeblock_") for name in there if name.startswith("breezeblock_")}
    assert names == ours


CONFLICT = sa.text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END $$")


async def test_a_transaction_that_is_run_again_is_counted(postgres: Postgres) -> None:
    store = Store(postgres.create_database(f"retries_{new_id().replace('-', '')}"))
    before = metrics.transaction_retries.collect()
    tries: list[int] = []

    def write(tx: WriteTx) -> None:
        tries.append(1)
        if len(tries) == 1:
            tx.run(CONFLICT)

    try:
        await store.write(write)
    finally:
        store.close()
    assert len(tries) == 2
    after = metrics.transaction_retries.collect()
    assert total(after) == total(before) + 1


def total(families: Iterable[Metric]) -> float:
    return sum(sample.value for family in families for sample in family.samples)
