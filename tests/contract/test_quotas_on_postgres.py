"""Usage that many transactions move at the same time, where rows can be locked one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from breezeblock.model.ids import new_id
from breezeblock.store import quotas, schema
from breezeblock.store.store import Store
from breezeblock.store.tables import quota_usages
from tests.engines.postgres import Postgres

IN_ORDER = ("gigabytes", "gigabytes_fast", "volumes", "volumes_fast")


@pytest.fixture
def store(postgres: Postgres) -> Iterator[Store]:
    """Its plans walk through the table as it lies, which PostgreSQL chooses to do now and then."""
    name = f"quotas_{new_id().replace('-', '')}"
    url = postgres.create_database(name)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for plan in ("indexscan", "bitmapscan"):
            connection.execute(sa.text(f"ALTER DATABASE {name} SET enable_{plan} = off"))
    engine.dispose()
    store = Store(url)
    schema.upgrade(store)
    yield store
    store.close()


async def test_rows_are_taken_in_the_order_of_their_names(store: Store) -> None:
    """Else two transactions could wait for each other until the database, a second later, has one
    of them begin anew: how rows lie in the table changes with each update."""
    for name in reversed(IN_ORDER):
        await store.write(lambda tx: quotas.record(tx, "p", {name: 1}))  # noqa: B023 - awaited
    with store.engine.connect() as other:
        other.execute(row(IN_ORDER[0]).with_for_update())
        moving = asyncio.create_task(
            store.write(lambda tx: quotas.record(tx, "p", dict.fromkeys(IN_ORDER, 1)))
        )
        while not other.scalar(WAITING):
            await asyncio.sleep(0.01)
        for name in IN_ORDER[1:]:
            other.execute(row(name).with_for_update(nowait=True))  # raises when it is locked
    assert await moving == dict.fromkeys(IN_ORDER, 2)


def row(name: str) -> sa.Select[tuple[str]]:
    return sa.select(quota_usages.c.resource).where(quota_usages.c.resource == name)


WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
