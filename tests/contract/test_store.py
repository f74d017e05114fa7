"""What every database promises: transactions as functions, honest under contention."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from breezeblock.model.errors import Conflict, OverQuota
from breezeblock.model.ids import new_id
from breezeblock.model.operation import Operation
from breezeblock.store import operations, postgresql, quotas, schema
from breezeblock.store.store import ReadTx, Store, StoreUnavailable, Wake, WriteTx
from breezeblock.store.tables import quota_usages
from tests.engines.postgres import Postgres


def used(store: Store, project: str) -> int | None:
    statement = sa.select(quota_usages.c.in_use).where(quota_usages.c.project_id == project)
    with store.engine.connect() as connection:
        return connection.execute(statement).scalar()


def charge(project: str, number: int, limit: int = -1):
    return lambda tx: quotas.charge(tx, project, {"volumes": number}, {"volumes": limit})


async def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    def fails(tx: WriteTx) -> None:
        charge("p", 1)(tx)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        await store.write(fails)
    assert used(store, "p") is None


async def test_what_was_to_be_written_is_not_in_the_error(store: Store) -> None:
    """Errors are logged, and it may be a secret."""

    def write(tx: WriteTx) -> None:
        tx.run(sa.text("CREATE TABLE doors (id INTEGER PRIMARY KEY, code TEXT, CHECK (id > 1))"))
        insert = sa.text("INSERT INTO doors (id, code) VALUES (:id, :code)")
        tx.run(insert, id=1, code="hunter" + str(2))

    with pytest.raises(sa.exc.IntegrityError) as refused:
        await store.write(write)
    told = "".join(traceback.format_exception(refused.value))
    assert "doors" in told and "hunter2" not in told


async def test_a_failing_transaction_does_not_harm_those_committed_beside_it(store: Store) -> None:
    def fails(tx: WriteTx) -> None:
        charge("bad", 1)(tx)
        raise RuntimeError

    results = await asyncio.gather(
        *(store.write(fails if number % 2 else charge("good", 1)) for number in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, RuntimeError) for result in results) == 10
    assert used(store, "good") == 10
    assert used(store, "bad") is None


async def test_who_is_refused_for_what_a_neighbour_wrote_can_read_it(store: Store) -> None:
    def first(tx: WriteTx) -> None:
        time.sleep(0.05)  # so that the others wait, and are committed together
        charge("first", 1)(tx)

    async def what_a_refused_one_reads() -> int | None:
        try:
            await store.write(charge("p", 1, limit=1))
        except OverQuota:
            return used(store, "p")
        return 0

    _, *seen = await asyncio.gather(
        store.write(first), *(what_a_refused_one_reads() for _ in range(20))
    )
    assert sorted(seen) == [0] + [1] * 19


async def test_wake_ups_are_sent_after_the_commit_and_only_then(store: Store) -> None:
    sent: list[tuple[Wake, int | None]] = []

    async def send(wakes: list[Wake]) -> None:
        sent.extend((wake, used(store, "p")) for wake in wakes)

    store.on_commit = send

    def works(tx: WriteTx) -> None:
        charge("p", 1)(tx)
        tx.wake("scheduler", "one")

    def fails(tx: WriteTx) -> None:
        tx.wake("scheduler", "two")
        raise RuntimeError

    await store.write(works)
    with pytest.raises(RuntimeError):
        await store.write(fails)
    assert sent == [(Wake("scheduler", "one"), 1)]


async def test_concurrent_charges_never_pass_the_limit(store: Store) -> None:
    results = await asyncio.gather(
        *(store.write(charge("p", 1, limit=7)) for _ in range(30)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 7
    assert all(isinstance(result, OverQuota) for result in results if result is not None)
    assert used(store, "p") == 7


async def test_a_resource_has_one_open_operation_and_who_comes_second_is_told(
    store: Store,
) -> None:
    def opened(number: int) -> Operation:
        return Operation(
            id=f"operation-{number}",
            workflow="detach_volume",
            resource_type="export",
            resource_id="volume@host",
            project_id="p",
            user_id="u",
            request_id="req-1",
            step="unexport",
            queue="volume.here@local",
            data={},
        )

    results = await asyncio.gather(
        *(store.write(lambda tx, n=n: operations.insert(tx, opened(n))) for n in range(6)),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 5
    with pytest.raises(Conflict):
        await store.write(lambda tx: operations.insert(tx, opened(7)))


async def test_who_stands_still_reads_all_of_one_moment(store: Store) -> None:
    await store.write(charge("p", 1))
    other = Store(store.url)

    def both(tx: ReadTx) -> list[dict[str, int]]:
        tx.stand_still()
        first = quotas.usages(tx, "p")
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, other.write(charge("p", 1))).result(30)
        return [first, quotas.usages(tx, "p")]

    first, second = await store.read(both)
    assert first == second == {"volumes": 1}
    assert used(store, "p") == 2
    other.close()


async def test_a_long_read_does_not_hold_up_the_event_loop(store: Store) -> None:
    numbers = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < 300_000))
    threads = []

    def count(tx: ReadTx) -> int:
        threads.append(threading.current_thread())
        return int(tx.scalar(sa.select(sa.func.sum(numbers.c.n))))

    assert await store.read(count) == 300_000 * 300_001 // 2
    assert threads[-1] is not threading.main_thread()
    assert await store.read(lambda tx: quotas.usages(tx, "p")) == {}


async def test_a_database_that_cannot_be_opened_is_not_available(tmp_path: Path) -> None:
    for url in (
        f"sqlite:///{tmp_path}/nowhere/db.sqlite",
        "postgresql+psycopg://postgres@127.0.0.1:1/none",
    ):
        store = Store(url)
        with pytest.raises(StoreUnavailable):
            await store.read(lambda tx: quotas.usages(tx, "p"))
        with pytest.raises(StoreUnavailable):
            await store.write(charge("p", 1))
        store.close()
        with pytest.raises(RuntimeError, match="closed"):
            await store.read(lambda tx: quotas.usages(tx, "p"))


async def test_a_caller_who_gives_up_does_not_harm_the_store(store: Store) -> None:
    def slow(tx: WriteTx) -> None:
        time.sleep(0.05)

    waiting = [asyncio.create_task(store.write(slow)) for _ in range(10)]
    await asyncio.sleep(0.02)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await store.write(charge("p", 1))
    assert used(store, "p") == 1


async def test_a_process_frozen_in_a_transaction_does_not_hold_up_others_for_long(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "IDLE_IN_TRANSACTION_MILLISECONDS", 500)
    url = postgres.create_database(f"store_{new_id().replace('-', '')[:12]}")
    frozen, other = Store(url), Store(url)
    schema.upgrade(frozen)
    await other.write(charge("p", 1))
    inside, thawed = threading.Event(), threading.Event()

    def freezes(tx: WriteTx) -> None:
        charge("p", 1)(tx)
        inside.set()
        thawed.wait(60)

    late = asyncio.create_task(frozen.write(freezes))
    await asyncio.to_thread(inside.wait, 60)
    async with asyncio.timeout(30):
        await other.write(charge("p", 1))
    thawed.set()
    with pytest.raises(StoreUnavailable):
        await late
    assert used(other, "p") == 2
    frozen.close()
    other.close()


async def test_the_limit_of_the_project_goes_before_the_default_class(store: Store) -> None:
    def limits(tx: WriteTx) -> dict[str, int]:
        quotas.set_limit(tx, quotas.DEFAULT_CLASS, "volumes", 5)
        quotas.set_limit(tx, quotas.DEFAULT_CLASS, "gigabytes", 50)
        quotas.set_limit(tx, "p", "volumes", 2)
        return quotas.limits(tx, "p", None, {"volumes": 10, "snapshots": 10})

    assert await store.write(limits) == {"volumes": 2, "gigabytes": 50, "snapshots": 10}


async def test_the_database_clock_is_close_to_ours_and_has_fractions(store: Store) -> None:
    clock = await store.read(lambda tx: tx.clock())
    assert abs(clock - time.time()) < 5
    assert clock != int(clock)


async def test_upgrading_twice_and_from_several_processes_at_once_is_harmless(store: Store) -> None:
    others = [Store(store.url) for _ in range(3)]
    await asyncio.gather(*(asyncio.to_thread(schema.upgrade, other) for other in others))
    await asyncio.gather(*(schema.ensure_default_type(other, "__DEFAULT__") for other in others))
    assert await store.read(lambda tx: tx.scalar(sa.text("SELECT count(*) FROM volume_types"))) == 1
    for other in others:
        other.close()


async def test_the_migrations_make_the_tables_that_the_code_declares(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from breezeblock.store.tables import metadata

    with store.engine.connect() as connection:
        ours = {schema.REVISION, schema.OLDEST_CODE}
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": False,
                "include_name": lambda name, kind, _: kind != "table" or name not in ours,
            },
        )
        assert compare_metadata(context, metadata) == []
