"""Whatever the order, pages one after another bring each row once, as one long list has them; and
what texts begin with is found as it is written. On both kinds of database.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import cmp_to_key
from itertools import product
from typing import Any

import pytest

from breezeblock.model.ids import new_id
from breezeblock.model.listing import Direction, ListQuery
from breezeblock.model.volumes import Volume
from breezeblock.store import schema, shown_volumes, tables, volumes
from breezeblock.store.store import ReadTx, Store, WriteTx
from tests.new_database import new_store

BEGAN = datetime(2026, 1, 1)  # noqa: DTZ001 - as the database has it, UTC without zone
TYPE = new_id()
HOSTS = (None, "a@b#p", "a@b#p%", "a@b#px", "A@b#p", "a@bb#p", "a@b_#p", "a@b%#p", "ab@b#p")
PLACES = ("a", "A", "a@b", "a@b_", "a@b%", "a@b#p", "a@b#p%")

Sort = tuple[tuple[str, Direction], ...]
ROWS = [
    Volume(
        id=new_id(),
        project_id="ours" if number % 7 else "theirs",
        user_id="u",
        size=1 + number % 2,
        status=("available", "in-use")[number % 3 == 0],
        volume_type_id=TYPE,
        # Times repeat, so that the last word is the id's.
        created_at=BEGAN + timedelta(seconds=number % 5),
        name=name,
        host=host,
    )
    for number, (name, host) in enumerate(product((None, "a", "B", "b", ""), HOSTS))
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Any:
    if request.param == "sqlite":
        made = new_store(tmp_path_factory.mktemp("pages") / "volumes.sqlite")
    else:
        made = Store(request.getfixturevalue("postgres").create_database(f"pages_{new_id()[-12:]}"))
        schema.upgrade(made)

    def fill(tx: WriteTx) -> None:
        tx.insert(tables.volume_types, {"id": TYPE, "name": "any", "created_at": BEGAN})
        for row in ROWS:
            volumes.insert(tx, row)

    asyncio.run(made.write(fill))
    yield made
    made.close()


def in_order(rows: list[Volume], sort: Sort) -> list[str]:
    """Ids in the order: nulls before all else ascending, after it descending."""

    def compare(one: Volume, other: Volume) -> int:
        for key, way in sort:
            mine, yours = getattr(one, key), getattr(other, key)
            if mine == yours:
                continue
            less = mine is None or (yours is not None and mine < yours)
            return -1 if less == (way == "asc") else 1
        return 0

    return [row.id for row in sorted(rows, key=cmp_to_key(compare))]


def pages(tx: ReadTx, sort: Sort, project: str | None, size: int) -> list[str]:
    found: list[str] = []
    marker = None
    while True:
        query = ListQuery(limit=size, marker=marker, sort=sort)
        page = [row.id for row in shown_volumes.names(tx, query, project).items]
        found += page
        if len(page) < size:
            return found
        marker = page[-1]


ORDERS: tuple[Sort, ...] = (
    (("created_at", "desc"), ("id", "desc")),
    (("created_at", "asc"), ("id", "asc")),
    (("name", "asc"), ("created_at", "asc"), ("id", "asc")),
    (("name", "desc"), ("created_at", "desc"), ("id", "desc")),
    (("host", "desc"), ("name", "asc"), ("created_at", "desc"), ("id", "desc")),
    (("name", "asc"), ("host", "desc"), ("created_at", "asc"), ("id", "asc")),
    (("status", "asc"), ("name", "desc"), ("created_at", "asc"), ("id", "asc")),
    (("size", "asc"), ("status", "desc"), ("created_at", "asc"), ("id", "asc")),
    (("id", "desc"), ("created_at", "desc")),
)


@pytest.mark.parametrize("sort", ORDERS, ids=lambda sort: "-".join(f"{k}:{w}" for k, w in sort))
async def test_pages_are_the_list_cut_up(store: Store, sort: Sort) -> None:
    for project in ("ours", None):
        rows = [row for row in ROWS if project in (None, row.project_id)]
        expected = in_order(rows, sort)
        for size in (2, 7, 1000):
            found = await store.read(lambda tx, p=project, n=size: pages(tx, sort, p, n))
            assert found == expected


@pytest.mark.parametrize("way", ["asc", "desc"])
async def test_an_offset_counts_nulls_too(store: Store, way: Direction) -> None:
    sort: Sort = (("name", way), ("created_at", way), ("id", way))
    expected = in_order(ROWS, sort)
    for offset, marker in ((3, None), (len(HOSTS) + 1, None), (4, expected[6])):
        query = ListQuery(limit=5, offset=offset, marker=marker, sort=sort)
        page = await store.read(lambda tx, q=query: shown_volumes.names(tx, q, None))
        first = offset + (7 if marker else 0)
        assert [row.id for row in page.items] == expected[first : first + 5]


@pytest.mark.parametrize("place", PLACES)
async def test_a_place_is_found_by_how_it_begins(store: Store, place: str) -> None:
    """A host, one of its backends or a pool: no letter stands for others, and case matters."""
    marks = "" if "#" in place else "#" if "@" in place else "@#"
    expected = {
        row.id
        for row in ROWS
        if row.host and (row.host == place or row.host.startswith(tuple(place + m for m in marks)))
    }
    query = ListQuery(limit=1000, filters={"host": place})
    page = await store.read(lambda tx: shown_volumes.names(tx, query, None))
    assert {row.id for row in page.items} == expected != set()


async def test_a_count_is_of_all_pages(store: Store) -> None:
    query = ListQuery(limit=2, filters={"status": "in-use"}, with_count=True)
    page = await store.read(lambda tx: shown_volumes.page(tx, query, "ours"))
    assert page.total == sum(row.status == "in-use" and row.project_id == "ours" for row in ROWS)
    assert len(page.items) == 2
