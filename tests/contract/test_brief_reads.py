"""Reads of SQLite that are begun on the event loop's thread, and turn out to be long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import get_ident

import pytest
import sqlalchemy as sa

from breezeblock.store.store import ReadTx, Store

COUNT = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {}) "
BRIEF, LONG = (sa.text(COUNT.format(most) + "SELECT count(*) FROM t") for most in (10, 1000))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/test.sqlite")
    yield store
    store.close()


async def test_a_brief_one_stays_there(store: Store) -> None:
    assert await store.read(lambda tx: (tx.scalar(BRIEF), get_ident())) == (10, get_ident())


async def test_a_long_one_goes_to_a_thread(store: Store) -> None:
    asked: list[int] = []

    def count(tx: ReadTx) -> int:
        asked.append(get_ident())
        return int(tx.scalar(LONG))

    assert await store.read(count) == 1000
    assert asked[0] == get_ident() != asked[1]


async def test_what_was_refused_leaves_no_transaction_behind(store: Store) -> None:
    """SQLite counts a statement's steps over all its executions: in so many of them a ROLLBACK is
    one that it looks up at."""
    for _ in range(1000):
        assert await store.read(lambda tx: tx.scalar(LONG)) == 1000
    assert await store.read(lambda tx: tx.scalar(BRIEF)) == 10
