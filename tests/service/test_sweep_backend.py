"""The inventory sweep: what it puts right, what it only reports, what it leaves alone."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest

from breezeblock.drivers.base import Item, PermanentError, Snapshot, Volume
from breezeblock.store import attachments, operations, quotas
from breezeblock.store.store import WriteTx
from breezeblock.store.tables import metadata
from breezeblock.store.tables import operations as rows
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.sweep_backend import SETTLED
from tests.service.fake_driver import FakeDriver
from tests.service.house import PROJECT, House, open_house
from tests.service.sweeps import BACKEND, rules, sweep, sweeps, used, violations

HOST = {"host": "compute1"}


# -- what nobody owns -----------------------------------------------------------------------------


async def test_a_backend_that_is_as_it_should_be_is_left_as_it_is(house: House) -> None:
    volume = await house.volume()
    await house.snapshot(volume)
    await house.in_use(volume)
    before = list(house.driver.calls)
    report = await sweep(house)
    assert rules(report) == []
    assert report.held == {"volume": 1, "snapshot": 1, "export": 1}
    assert house.driver.calls == before


async def test_what_a_late_create_left_of_a_deleted_volume_is_removed(house: House) -> None:
    volume = await house.volume()
    await house.member.delete(f"/volumes/{volume}")
    await house.quiet()
    house.driver.create(Volume(volume, 1, "pool0"), None)
    house.driver.export(Volume(volume, 1, "pool0"), HOST)
    assert rules(await sweep(house)) == [("leftover", volume)]
    assert house.driver.inventory() == []
    assert await violations(house) == []


async def test_an_export_that_outlived_its_volume_is_removed(house: House) -> None:
    volume = await house.volume()
    await house.member.delete(f"/volumes/{volume}")
    await house.quiet()
    house.driver.exports.add((volume, "compute1"))
    assert rules(await sweep(house)) == [("leftover", volume)]
    assert house.driver.inventory() == []


async def test_a_late_snapshot_of_a_living_volume_is_removed_and_the_volume_stays(
    house: House,
) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    await house.member.delete(f"/snapshots/{snapshot}")
    await house.quiet()
    house.driver.snapshot(Snapshot(snapshot, volume, 1, "pool0"))
    assert rules(await sweep(house)) == [("leftover", snapshot)]
    assert [item.id for item in house.driver.inventory()] == [volume]


async def test_snapshots_go_before_the_volume_they_belong_to(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    await house.member.delete(f"/volumes/{volume}?cascade=true")
    await house.quiet()
    house.driver.create(Volume(volume, 1, "pool0"), None)
    house.driver.snapshot(Snapshot(snapshot, volume, 1, "pool0"))
    house.driver.calls.clear()
    await sweep(house)
    assert house.driver.calls == [("delete_snapshot", snapshot), ("delete", volume)]


async def test_a_deleted_volume_stays_while_somebody_elses_snapshot_is_on_it(house: House) -> None:
    volume = await house.volume()
    await house.member.delete(f"/volumes/{volume}")
    await house.quiet()
    house.driver.create(Volume(volume, 1, "pool0"), None)
    house.driver.snapshot(Snapshot("not-ours", volume, 1, "pool0"))
    house.driver.calls.clear()
    assert sorted(rules(await sweep(house))) == sorted([("orphan", volume), ("orphan", "not-ours")])
    assert house.driver.calls == []
    assert len(house.driver.inventory()) == 2


async def test_what_a_pool_that_was_given_up_holds_is_removed_there_only(tmp_path: Path) -> None:
    drivers = [FakeDriver("first", 3000), FakeDriver("second")]
    drivers[0].failures["create"] = PermanentError("no licence")
    async with open_house(tmp_path, drivers) as house:
        volume = await house.volume()
        drivers[0].failures.clear()
        drivers[0].create(Volume(volume, 1, "pool0"), None)
        assert rules(await sweep(house, "node1@first")) == [("leftover", volume)]
        assert rules(await sweep(house, "node1@second")) == []
        assert drivers[0].inventory() == []
        assert [item.id for item in drivers[1].inventory()] == [volume]


async def test_what_the_last_pool_holds_of_a_volume_without_a_place_is_removed(
    house: House,
) -> None:
    house.driver.failures["create"] = PermanentError("no licence")
    volume = await house.volume()
    assert (await house.row(volume)).host is None
    house.driver.failures.clear()
    house.driver.create(Volume(volume, 1, "pool0"), None)
    assert rules(await sweep(house)) == [("leftover", volume)]
    assert house.driver.inventory() == []


class TwoPools(FakeDriver):
    """Says of one further volume that another pool of the same backend holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.other: dict[str, str] = {}
        self.removed: list[tuple[str, str]] = []

    def delete(self, volume: Volume) -> None:
        self.removed.append((volume.id, volume.pool))
        if self.other.get(volume.id) == volume.pool:
            del self.other[volume.id]

    def inventory(self) -> list[Item]:
        mine = [Item("volume", ident, size, pool="pool0") for ident, size in self.sizes.items()]
        return mine + [Item("volume", ident, 1, pool=pool) for ident, pool in self.other.items()]


async def test_in_another_pool_of_the_same_backend_only_what_was_tried_there_is_removed(
    tmp_path: Path,
) -> None:
    driver = TwoPools()
    async with open_house(tmp_path, [driver]) as house:
        volume = await house.volume()
        driver.other[volume] = "pool1"
        assert rules(await sweep(house)) == [("orphan", volume)]

        def tried(tx: WriteTx) -> None:
            (made,) = operations.of_resource(tx, volume)
            pool = {"pool": f"{BACKEND}#pool1", "error": "busy"}
            changed = {"data": made.data | {"tried": [pool]}}
            tx.run(rows.update().where(rows.c.id == made.id).values(changed))

        await house.app.store.write(tried)
        assert rules(await sweep(house)) == [("leftover", volume)]
        assert driver.removed == [(volume, "pool1")]
        assert list(driver.sizes) == [volume]


async def test_what_no_operation_of_ours_knows_is_an_orphan_and_stays(house: House) -> None:
    house.driver.create(Volume("not-ours", 7, "pool0"), None)
    house.driver.export(Volume("not-ours", 7, "pool0"), HOST)
    report = await sweep(house)
    assert rules(report) == [("orphan", "not-ours")]
    assert "not-ours" in report.found[0].text
    assert len(house.driver.inventory()) == 2


@pytest.mark.parametrize("table", ["snapshots", "volumes"])
async def test_what_lost_its_row_without_a_deletion_is_an_orphan_and_stays(
    house: House, table: str
) -> None:
    volume = await house.volume()
    lost = await house.snapshot(volume) if table == "snapshots" else volume

    def by_hand(tx: WriteTx) -> None:
        tx.run(metadata.tables[table].delete().where(metadata.tables[table].c.id == lost))

    await house.app.store.write(by_hand)
    held = house.driver.inventory()
    assert rules(await sweep(house)) == [("orphan", lost)]
    assert house.driver.inventory() == held


async def test_a_leftover_that_the_backend_will_not_remove_is_reported_with_its_words(
    house: House,
) -> None:
    volume = await house.volume()
    await house.member.delete(f"/volumes/{volume}")
    await house.quiet()
    house.driver.create(Volume(volume, 1, "pool0"), None)
    house.driver.failures["delete"] = PermanentError("it is locked")
    assert (await sweep(house)).refused == {volume: "it is locked"}


# -- exports and attachments ----------------------------------------------------------------------


async def test_an_export_without_an_attachment_is_closed(house: House) -> None:
    volume = await house.volume()
    await house.in_use(volume)
    house.driver.export(Volume(volume, 1, "pool0"), {"host": "stranger"})
    assert rules(await sweep(house)) == [("export-without-attachment", volume)]
    assert house.driver.exports == {(volume, "compute1")}
    assert await house.status(volume) == "in-use"
    assert await violations(house) == []


@pytest.mark.parametrize("status", ["available", "error", "maintenance"])
async def test_closing_a_stray_export_leaves_the_volumes_status(house: House, status: str) -> None:
    volume = await house.volume()
    await house.put(volume, status=status)
    house.driver.export(Volume(volume, 1, "pool0"), HOST)
    house.driver.failures["unexport"] = PermanentError("not now")
    await sweep(house)
    assert house.driver.exports == {(volume, "compute1")}
    house.driver.failures.clear()
    await sweep(house)
    assert house.driver.exports == set()
    assert await house.status(volume) == status
    assert (await house.member.get("/messages")).json()["messages"] == []


async def test_an_attachment_that_comes_while_a_stray_export_is_closed_waits_its_turn(
    house: House,
) -> None:
    volume = await house.volume()
    house.driver.export(Volume(volume, 1, "pool0"), HOST)
    gate = house.driver.gates["unexport"] = threading.Event()
    await house.app.store.write(lambda tx: sweep_backend.request(tx, BACKEND))
    while ("unexport", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    comes = asyncio.create_task(house.attachment(volume, "compute1"))
    await asyncio.sleep(0.05)
    gate.set()
    await comes
    assert house.driver.exports == {(volume, "compute1")}
    assert await violations(house) == []


async def test_a_connected_attachment_whose_export_was_lost_gets_it_again(house: House) -> None:
    volume = await house.volume()
    ident = await house.in_use(volume)
    before = await house.app.store.read(lambda tx: attachments.get(tx, ident))
    house.driver.unexport(Volume(volume, 1, "pool0"), "compute1")
    assert rules(await sweep(house)) == [("attachment-without-export", volume)]
    assert house.driver.exports == {(volume, "compute1")}
    after = await house.app.store.read(lambda tx: attachments.get(tx, ident))
    assert msgspec.structs.replace(after, updated_at=None) == msgspec.structs.replace(
        before, updated_at=None
    )
    assert await house.status(volume) == "in-use"
    assert await violations(house) == []


async def test_an_export_that_cannot_be_opened_again_changes_nothing_and_tells_nobody(
    house: House,
) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume, "compute1")
    house.driver.unexport(Volume(volume, 1, "pool0"), "compute1")
    house.driver.failures["export"] = PermanentError("no ports left")
    await sweep(house)
    after = await house.app.store.read(lambda tx: attachments.get(tx, ident))
    assert (await house.status(volume), after.attach_status) == ("attaching", "attaching")
    assert (await house.member.get("/messages")).json()["messages"] == []


# -- missing things and sizes ---------------------------------------------------------------------


async def test_what_is_missing_is_reported_and_stays_in_the_database(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    house.driver.sizes.clear()
    house.driver.snapshots.clear()
    assert rules(await sweep(house)) == [("missing", volume), ("missing", snapshot)]
    assert await house.status(volume) == "available"


async def test_a_growth_that_was_never_recorded_is_taken_over_and_charged(house: House) -> None:
    volume = await house.volume(size=1)
    await house.app.store.write(lambda tx: quotas.set_limit(tx, PROJECT, "gigabytes", 2))
    house.driver.extend(Volume(volume, 1, "pool0"), 5)
    assert rules(await sweep(house)) == [("grown", volume)]
    assert (await house.row(volume)).size == 5
    usage = await used(house)
    assert (usage["gigabytes"], usage["gigabytes___DEFAULT__"]) == (5, 5)
    assert await violations(house) == []


async def test_a_volume_that_shrank_is_only_reported(house: House) -> None:
    volume = await house.volume(size=5)
    house.driver.sizes[volume] = 2
    assert rules(await sweep(house)) == [("size", volume)]
    assert (await house.row(volume)).size == 5


# -- what goes on meanwhile -----------------------------------------------------------------------


async def test_a_difference_that_is_there_in_one_round_only_does_not_count(house: House) -> None:
    looks = iter([[Item("volume", "not-ours", 1)], []])
    house.driver.inventory = lambda: next(looks)  # type: ignore[method-assign]
    assert rules(await sweep(house)) == []


async def test_what_has_an_open_operation_is_left_alone_and_looked_at_again(
    tmp_path: Path,
) -> None:
    drivers = [FakeDriver("first", 3000), FakeDriver("second")]
    drivers[0].failures["create"] = PermanentError("no licence")
    gate = drivers[1].gates["create"] = threading.Event()
    async with open_house(tmp_path, drivers) as house:
        reply = await house.member.post("/volumes", {"volume": {"size": 1}})
        volume = reply.json()["volume"]["id"]
        while ("create", volume) not in drivers[1].calls:
            await asyncio.sleep(0.01)
        drivers[0].sizes[volume] = 1  # a frozen worker's create, late
        backend = "node1@first"
        await house.app.store.write(lambda tx: _forget_plans(tx, backend))
        ident = await house.app.store.write(
            lambda tx: sweep_backend.examine(tx, backend, dry_run=False)
        )
        while (await house.app.store.read(lambda tx: operations.get(tx, ident))).is_open:
            await asyncio.sleep(0.01)
        assert volume in drivers[0].sizes
        last = (await sweeps(house, backend))[-1]
        assert last.is_open and SETTLED - 5 < last.due_at - last.opened_at <= SETTLED
        gate.set()
        await house.quiet()
        assert rules(await sweep(house, backend)) == [("leftover", volume)]


def _forget_plans(tx: WriteTx, backend: str) -> None:
    found = operations.lock_open(tx, backend)
    if found is not None:
        operations.finish(tx, found.id, "not planned")


async def test_a_dry_run_reports_and_changes_nothing(house: House) -> None:
    volume = await house.volume(size=1)
    gone = await house.volume()
    await house.member.delete(f"/volumes/{gone}")
    await house.quiet()
    house.driver.create(Volume(gone, 1, "pool0"), None)
    house.driver.extend(Volume(volume, 1, "pool0"), 5)
    house.driver.export(Volume(volume, 1, "pool0"), HOST)
    before = (house.driver.inventory(), list(house.driver.calls))
    report = await sweep(house, dry_run=True)
    assert sorted(rules(report)) == sorted(
        [("leftover", gone), ("grown", volume), ("export-without-attachment", volume)]
    )
    assert (house.driver.inventory(), house.driver.calls) == before
    assert (await house.row(volume)).size == 1
