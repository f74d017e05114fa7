"""Volume types in the database, on both engines: searching, and changing what others are using."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from breezeblock.model.encryptions import Encryption
from breezeblock.model.errors import BreezeblockError, Conflict, InvalidState, NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.listing import ListQuery
from breezeblock.model.qos_specs import QosSpecs
from breezeblock.model.usage import of_volume
from breezeblock.model.volume_types import VolumeType
from breezeblock.model.volumes import Volume
from breezeblock.store import default_types, encryptions, qos_specs, quotas, volume_types, volumes
from breezeblock.store.store import ReadTx, Store, WriteTx
from breezeblock.store.tables import metadata, quota_usages

PROJECT = "p1"
LONGEST_WAIT = 20.0


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "sqlite":
        opened = Store(f"sqlite:///{tmp_path / 'db.sqlite'}")
    else:
        postgres = request.getfixturevalue("postgres")
        opened = Store(postgres.create_database(f"types_{new_id().replace('-', '')}"))
    try:
        metadata.create_all(opened.engine)
        await opened.write(lambda tx: new_type(tx, "other"))
        yield opened
    finally:
        opened.close()


def new_type(tx: WriteTx, name: str, **specs: str) -> str:
    volume_type = VolumeType(id=new_id(), name=name, extra_specs=specs, created_at=tx.now)
    volume_types.insert(tx, volume_type)
    return volume_type.id


def new_qos(tx: WriteTx, name: str) -> str:
    qos = QosSpecs(id=new_id(), name=name, created_at=tx.now)
    qos_specs.insert(tx, qos)
    return qos.id


def encrypt(tx: WriteTx, type_id: str) -> None:
    made = Encryption(
        encryption_id=new_id(),
        volume_type_id=type_id,
        provider="luks",
        control_location="front-end",
        created_at=tx.now,
    )
    encryptions.insert(tx, made)


class SlowCreate:
    """A transaction that makes a volume of the type `gold`, and dawdles after it read the type."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.has_read = threading.Event()

    def __call__(self, tx: WriteTx) -> None:
        volume_type = volume_types.resolve(tx, "gold")
        self.has_read.set()
        self._until_somebody_waits(tx)
        volume = Volume(
            id=new_id(),
            project_id=PROJECT,
            user_id="u",
            size=3,
            status="creating",
            volume_type_id=volume_type.id,
            created_at=tx.now,
        )
        quotas.charge(tx, PROJECT, of_volume(3, volume_type.name), {})
        volumes.insert(tx, volume)

    def _until_somebody_waits(self, tx: WriteTx) -> None:
        if self.store.is_sqlite:
            return  # one writer: whoever else writes is waiting already
        deadline = time.monotonic() + LONGEST_WAIT
        while not tx.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            assert time.monotonic() < deadline, "nobody waits for the type"
            time.sleep(0.01)

    async def beside(self, change: Callable[[WriteTx], Any]) -> tuple[Any, Any]:
        """Run both at once, this one first; the results or errors."""
        mine = asyncio.create_task(self.store.write(self))
        await asyncio.to_thread(self.has_read.wait, LONGEST_WAIT)
        theirs = asyncio.create_task(self.store.write(change))
        both: tuple[Any, Any] = await asyncio.gather(mine, theirs, return_exceptions=True)
        return both


def usages(tx: ReadTx) -> dict[str, int]:
    return {row.resource: row.in_use for row in tx.rows(sa.select(quota_usages))}


async def test_a_volume_made_during_a_rename_counts_for_the_new_name(store: Store) -> None:
    ident = await store.write(lambda tx: new_type(tx, "gold"))
    both = SlowCreate(store).beside(lambda tx: volume_types.update(tx, ident, name="silver"))
    created, renamed = await both
    assert created is None
    assert not isinstance(renamed, Exception)
    used = await store.read(usages)
    assert used == {"volumes": 1, "gigabytes": 3, "volumes_silver": 1, "gigabytes_silver": 3}


async def test_a_type_cannot_go_while_a_volume_of_it_is_being_made(store: Store) -> None:
    ident = await store.write(lambda tx: new_type(tx, "gold"))
    created, deleted = await SlowCreate(store).beside(lambda tx: volume_types.delete(tx, ident))
    assert created is None
    assert isinstance(deleted, InvalidState)


async def test_a_type_that_is_a_projects_default_cannot_go(store: Store) -> None:
    def write(tx: WriteTx) -> str:
        ident = new_type(tx, "gold")
        default_types.assign(tx, PROJECT, "other")
        default_types.assign(tx, PROJECT, "gold")
        return ident

    ident = await store.write(write)
    with pytest.raises(InvalidState):
        await store.write(lambda tx: volume_types.delete(tx, ident))
    await store.write(lambda tx: default_types.forget(tx, PROJECT))
    await store.write(lambda tx: volume_types.delete(tx, ident))
    with pytest.raises(NotFound):
        await store.write(lambda tx: default_types.assign(tx, PROJECT, ident))


async def test_qos_specs_keep_their_types_apart(store: Store) -> None:
    def write(tx: WriteTx) -> tuple[str, dict[str, str], dict[str, str]]:
        first, second = new_qos(tx, "a"), new_qos(tx, "b")
        for name, qos in (("t1", first), ("t2", first), ("t3", second)):
            qos_specs.associate(tx, qos, new_type(tx, name))
        qos_specs.change(tx, second, {"x y": "1", "z": "2"}, "both")
        assert qos_specs.remove_keys(tx, second, ["z", "none"]) == "none"
        kept = qos_specs.get(tx, second)
        assert (kept.consumer, kept.specs) == ("both", {"x y": "1"})
        qos_specs.delete(tx, first, force=True)
        return first, qos_specs.types(tx, first), qos_specs.types(tx, second)

    first, of_first, of_second = await store.write(write)
    assert (list(of_first.values()), list(of_second.values())) == ([], ["t3"])
    with pytest.raises(NotFound):
        await store.read(lambda tx: qos_specs.get(tx, first))
    with pytest.raises(Conflict):
        await store.write(lambda tx: new_qos(tx, "b"))


async def test_extra_specs_cannot_change_while_a_volume_is_being_made(store: Store) -> None:
    ident = await store.write(lambda tx: new_type(tx, "gold"))
    created, changed = await SlowCreate(store).beside(
        lambda tx: volume_types.change_extra_specs(tx, ident, {"a": "b"})
    )
    assert created is None
    assert isinstance(changed, InvalidState)


async def test_a_type_cannot_become_encrypted_while_a_volume_is_being_made(store: Store) -> None:
    ident = await store.write(lambda tx: new_type(tx, "gold"))
    created, encrypted = await SlowCreate(store).beside(lambda tx: encrypt(tx, ident))
    assert created is None
    assert isinstance(encrypted, InvalidState)
    assert await store.read(lambda tx: encryptions.find(tx, ident)) is None


async def test_a_type_has_one_encryption_that_goes_with_it(store: Store) -> None:
    ident = await store.write(lambda tx: new_type(tx, "gold"))
    await store.write(lambda tx: encrypt(tx, ident))
    with pytest.raises(InvalidState):
        await store.write(lambda tx: encrypt(tx, ident))
    await store.write(lambda tx: encryptions.update(tx, ident, key_size=256))
    found = await store.read(lambda tx: encryptions.find(tx, ident))
    assert found is not None
    assert (found.provider, found.key_size) == ("luks", 256)
    await store.write(lambda tx: volume_types.delete(tx, ident))
    assert await store.read(lambda tx: encryptions.find(tx, ident)) is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"tier": "gold"}, ["gold"]),
        ({"tier": "go"}, []),
        ({"RESKEY:availability_zones": "west"}, ["gold"]),
        ({"RESKEY:availability_zones": "we%t"}, []),
        ({"ti.er": "1"}, ["dotted"]),
        ({'ti"er': "1"}, []),
        ({"tier": "gold", "ti.er": "1"}, []),
    ],
)
async def test_types_are_found_by_extra_specs(
    store: Store, wanted: dict[str, str], found: list[str]
) -> None:
    def write(tx: WriteTx) -> None:
        new_type(tx, "gold", tier="gold", **{"RESKEY:availability_zones": "east,west"})
        new_type(tx, "dotted", **{"ti.er": "1"})

    await store.write(write)
    query = ListQuery(limit=10, filters={"extra_specs": wanted})
    page = await store.read(lambda tx: volume_types.page(tx, query, PROJECT))
    assert [one.name for one in page.items] == found


async def test_renaming_onto_a_taken_name_changes_nothing(store: Store) -> None:
    ident = await store.write(lambda tx: new_type(tx, "gold"))
    with pytest.raises(BreezeblockError):
        await store.write(lambda tx: volume_types.update(tx, ident, name="other"))
    assert (await store.read(lambda tx: volume_types.get(tx, ident))).name == "gold"


async def test_limits_move_with_the_name(store: Store) -> None:
    def write(tx: WriteTx) -> dict[str, int]:
        ident = new_type(tx, "gold")
        quotas.set_limit(tx, PROJECT, "volumes_gold", 5)
        quotas.set_limit(tx, quotas.DEFAULT_CLASS, "gigabytes_gold", 50)
        volume_types.update(tx, ident, name="silver")
        return quotas.limits(tx, PROJECT, None, {})

    assert await store.write(write) == {"volumes_silver": 5, "gigabytes_silver": 50}


async def test_a_key_that_is_not_there_cannot_be_taken_away(store: Store) -> None:
    ident = await store.write(lambda tx: new_type(tx, "gold", a="1"))
    with pytest.raises(NotFound):
        await store.write(lambda tx: volume_types.remove_extra_spec(tx, ident, "b"))
    await store.write(lambda tx: volume_types.change_extra_specs(tx, ident, {"b": None}))
    assert (await store.read(lambda tx: volume_types.get(tx, ident))).extra_specs == {"a": "1"}
