"""Keys in every database: one attempt at a time has a key, and an old one can write nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from breezeblock.model.idempotency import Answer, Claim, Remembered, Scope
from breezeblock.model.ids import new_id
from breezeblock.store import idempotency_keys as keys
from breezeblock.store import quotas, schema
from breezeblock.store.idempotency_keys import Taken
from breezeblock.store.store import Store, WriteTx
from breezeblock.store.tables import idempotency_keys as table

SCOPE = Scope("volume", "project", "user", "key")
CLAIM = Claim(SCOPE, "f" * 64, lease=20.0)
SECOND = msgspec.structs.replace(CLAIM, epoch=1)
LOG = [[["read", None], ["write", ["tuple", 1, ["datetime", "2026-01-01T00:00:00"]]]]]
ANSWER = Answer(202, {"content-type": "application/json"}, b'{"\xff": "not text"}')


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    url = f"sqlite:///{tmp_path}/test.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create_database(f"keys_{new_id()[:8]}")
    store = Store(url)
    schema.upgrade(store)
    yield store
    store.close()


async def begin(store: Store, claim: Claim = CLAIM) -> None:
    await store.write(lambda tx: keys.write(tx, claim, first=True, log=LOG))


async def go_on(store: Store, claim: Claim = CLAIM, **what: Any) -> None:
    await store.write(lambda tx: keys.write(tx, claim, first=False, **what))


async def find(store: Store, scope: Scope = SCOPE) -> Remembered | None:
    return await store.read(lambda tx: keys.find(tx, scope))


async def found(store: Store) -> Remembered:
    known = await find(store)
    assert known is not None
    return known


async def take_over(store: Store) -> Remembered | None:
    return await store.write(lambda tx: keys.take_over(tx, CLAIM))


async def lapse(store: Store) -> None:
    await store.write(lambda tx: keys.release(tx, CLAIM))


async def test_what_was_done_so_far_is_found(store: Store) -> None:
    assert await find(store) is None
    await begin(store)
    assert await find(store) == Remembered("f" * 64, 0, LOG, None, lapsed=False)


async def test_an_answer_is_found_byte_for_byte(store: Store) -> None:
    await begin(store)
    await go_on(store, answer=ANSWER)
    assert await find(store) == Remembered("f" * 64, 0, [], ANSWER, lapsed=False)


@pytest.mark.parametrize("part", SCOPE.__struct_fields__)
async def test_every_part_of_the_scope_sets_keys_apart(store: Store, part: str) -> None:
    await begin(store)
    another = msgspec.structs.replace(SCOPE, **{part: "another"})
    assert await find(store, another) is None
    await begin(store, msgspec.structs.replace(CLAIM, scope=another))


async def test_of_many_who_begin_at_once_one_does(store: Store) -> None:
    tried = await asyncio.gather(*(begin(store) for _ in range(12)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in tried) == ["NoneType"] + ["Taken"] * 11


async def test_who_comes_too_late_writes_nothing_at_all(store: Store) -> None:
    def charge_and_note(tx: WriteTx) -> None:
        quotas.charge(tx, "p", {"volumes": 1}, {})
        keys.write(tx, CLAIM, first=True)

    await store.write(charge_and_note)
    with pytest.raises(Taken):
        await store.write(charge_and_note)
    assert await store.read(lambda tx: quotas.usages(tx, "p")) == {"volumes": 1}


async def test_a_key_is_not_taken_over_while_it_is_held(store: Store) -> None:
    await begin(store)
    assert await take_over(store) is None


async def test_of_many_who_take_over_at_once_one_does(store: Store) -> None:
    await begin(store)
    await lapse(store)
    taken = [one for one in await asyncio.gather(*(take_over(store) for _ in range(12))) if one]
    assert taken == [Remembered("f" * 64, 1, LOG, None, lapsed=False)]


async def test_who_was_taken_over_is_refused(store: Store) -> None:
    await begin(store)
    await lapse(store)
    await take_over(store)
    with pytest.raises(Taken):
        await go_on(store, log=[])
    with pytest.raises(Taken):
        await go_on(store, answer=ANSWER)
    assert not await store.write(lambda tx: keys.renew(tx, CLAIM))
    await lapse(store)
    assert await find(store) == Remembered("f" * 64, 1, LOG, None, lapsed=False)
    await go_on(store, SECOND, answer=ANSWER)


async def test_an_answer_is_final(store: Store) -> None:
    await begin(store)
    await go_on(store, answer=ANSWER)
    await lapse(store)
    assert await take_over(store) is None
    with pytest.raises(Taken):
        await go_on(store, answer=Answer(200))


async def test_a_lease_is_prolonged_by_renewing_and_by_writing(store: Store) -> None:
    await begin(store, msgspec.structs.replace(CLAIM, lease=-1.0))
    assert (await found(store)).lapsed
    assert await store.write(lambda tx: keys.renew(tx, CLAIM))
    assert not (await found(store)).lapsed
    await lapse(store)
    await go_on(store, log=LOG)
    assert not (await found(store)).lapsed


async def test_what_has_expired_is_forgotten_and_nothing_else(store: Store) -> None:
    other = msgspec.structs.replace(SCOPE, key="other")
    await begin(store)
    await begin(store, msgspec.structs.replace(CLAIM, scope=other))
    statement = table.update().where(table.c.key == "key").values(expires_at=1.0)
    await store.write(lambda tx: tx.run(statement))
    assert await store.write(keys.forget_expired) == 1
    assert (await find(store), (await find(store, other)) is None) == (None, False)
