"""`os-migrate_volume`: a volume is brought to another pool of its backend."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError, StillWorking
from breezeblock.drivers.base import Volume as DriverVolume
from breezeblock.store import operations
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house
from tests.service.sweeps import rules, sweep, sweeps, violations

HERE, THERE = "node1@fast#pool0", "node1@fast#pool1"


async def placed(house: House) -> str:
    """A volume in the first pool, and a second pool."""
    volume = await house.volume()
    await house.add_pool()
    return volume


async def migrate(
    house: House, volume: str, host: Any = THERE, version: str = "3.71", **how: Any
) -> Any:
    return await house.act(volume, "os-migrate_volume", {"host": host, **how}, house.admin, version)


async def state(house: House, volume: str) -> tuple[str, str | None, str]:
    shown = await house.show(volume, house.admin)
    return shown["status"], shown["migration_status"], shown["os-vol-host-attr:host"]


async def begun(house: House, volume: str, **how: Any) -> threading.Event:
    """A migration that the backend is at; set the event to let it go on."""
    gate = house.driver.gates["move"] = threading.Event()
    reply = await migrate(house, volume, **how)
    assert reply.status_code == 202, reply.text
    while ("move", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    return gate


# -- how it goes ----------------------------------------------------------------------------------


async def test_a_volume_is_moved_to_the_pool(house: House) -> None:
    volume = await placed(house)
    gate = await begun(house, volume)
    assert await state(house, volume) == ("available", "migrating", HERE)
    gate.set()
    await house.quiet()
    assert await state(house, volume) == ("available", "success", THERE)
    assert house.driver.places[volume] == "pool1"
    assert await violations(house) == []


async def test_and_back(house: House) -> None:
    volume = await placed(house)
    for target in (THERE, HERE):
        await migrate(house, volume, target)
        await house.quiet()
        assert await state(house, volume) == ("available", "success", target)
    assert await violations(house) == []


async def test_one_in_use_is_moved_under_its_hosts(house: House) -> None:
    volume = await placed(house)
    await house.in_use(volume)
    await migrate(house, volume, lock_volume=True)
    await house.quiet()
    assert await state(house, volume) == ("in-use", "success", THERE)
    assert house.driver.exports == {(volume, "compute1")}
    assert await violations(house) == []


async def test_a_locked_one_is_in_maintenance(house: House) -> None:
    volume = await placed(house)
    gate = await begun(house, volume, lock_volume="yes")
    assert await state(house, volume) == ("maintenance", "migrating", HERE)
    for action, value in (("os-reserve", None), ("os-extend", {"new_size": 2})):
        assert (await house.act(volume, action, value)).status_code == 400
    assert (await house.member.put(f"/volumes/{volume}", {"volume": {}})).status_code == 400
    gate.set()
    await house.quiet()
    assert await state(house, volume) == ("available", "success", THERE)


async def test_progress_is_told_and_the_work_goes_on(house: House) -> None:
    volume = await placed(house)
    house.driver.failures["move"] = StillWorking("moving", retry_after=3600.0, progress=40)
    await migrate(house, volume)
    await house.quiet()
    assert await state(house, volume) == ("available", "migrating", HERE)
    (found,) = [
        one
        for one in await house.app.store.read(lambda tx: operations.of_resource(tx, volume))
        if one.is_open
    ]
    assert found.progress == 40
    del house.driver.failures["move"]
    await house.come_due("migrate_volume")
    assert await state(house, volume) == ("available", "success", THERE)


async def test_who_names_a_backend_leaves_the_choice_of_its_pools(house: House) -> None:
    volume = await placed(house)
    await migrate(house, volume, "node1@fast")
    await house.quiet()
    assert await state(house, volume) == ("available", "success", THERE)


async def test_a_backend_that_has_no_other_pool_is_said_to_have_none(house: House) -> None:
    volume = await house.volume()
    assert (await migrate(house, volume, "node1@fast")).status_code == 202
    await house.quiet()
    assert await state(house, volume) == ("available", "error", HERE)
    (told,) = await house.messages(house.admin)
    assert "no other pool" in told


async def test_one_that_is_detached_meanwhile_is_available_then(house: House) -> None:
    volume = await placed(house)
    attachment = await house.in_use(volume)
    gate = await begun(house, volume)
    assert (await house.member.delete(f"/attachments/{attachment}")).status_code == 200
    assert await state(house, volume) == ("in-use", "migrating", HERE)
    gate.set()
    await house.quiet()
    assert await state(house, volume) == ("available", "success", THERE)
    assert house.driver.exports == set()
    assert await violations(house) == []


async def test_users_do_not_see_where_and_whether(house: House) -> None:
    volume = await placed(house)
    await migrate(house, volume)
    await house.quiet()
    shown = await house.show(volume)
    assert not {"migration_status", "os-vol-host-attr:host"} & shown.keys()


# -- how it fails ---------------------------------------------------------------------------------


async def failed(house: House, volume: str) -> str:
    """The message that a migration left, with the volume as it was."""
    await house.quiet()
    assert await state(house, volume) == ("available", "error", HERE)
    assert await violations(house) == []
    (told,) = await house.messages(house.admin)
    assert "fast" not in told and "pool1" not in told
    return told


async def test_a_backend_that_refuses_leaves_it_where_it_is(house: House) -> None:
    volume = await placed(house)
    house.driver.failures["move"] = PermanentError("the aggregate is away")
    await migrate(house, volume, lock_volume=True)
    assert "the aggregate is away" in await failed(house, volume)
    del house.driver.failures["move"]
    await migrate(house, volume)
    await house.quiet()
    assert await state(house, volume) == ("available", "success", THERE)


async def test_a_pool_without_room_is_refused(house: House) -> None:
    volume = await house.volume()
    await house.add_pool(free_capacity_gb=0, provisioned_capacity_gb=1e9)
    await migrate(house, volume, lock_volume=True)
    told = await failed(house, volume)
    assert "does not take it" in told and "CapacityFilter" in told
    assert ("move", volume) not in house.driver.calls


async def test_nothing_is_copied_through_the_host(house: House) -> None:
    volume = await placed(house)
    assert (await migrate(house, volume, force_host_copy=True)).status_code == 202
    assert "force_host_copy" in await failed(house, volume)


async def test_nothing_goes_to_another_backend(tmp_path: Path) -> None:
    drivers = [FakeDriver("fast", 3000), FakeDriver("slow")]
    async with open_house(tmp_path, drivers) as house:
        volume = await house.volume()
        reply = await migrate(house, volume, "node1@slow#pool0", lock_volume=True)
        assert reply.status_code == 202
        assert "one backend to another" in await failed(house, volume)


# -- what an administrator interrupts, and what comes late ----------------------------------------


async def test_a_reset_cuts_it_short_and_the_place_is_found_out(house: House) -> None:
    volume = await placed(house)
    gate = await begun(house, volume, lock_volume=True)
    wish = {"migration_status": "none"}
    assert (await house.act(volume, "os-reset_status", wish, house.admin)).status_code == 202
    assert await state(house, volume) == ("available", None, HERE)
    gate.set()
    while not await sweeps(house):  # the worker has found that its work was cut short
        await asyncio.sleep(0.01)
    await house.quiet()
    await house.come_due("check_volume")
    assert await state(house, volume) == ("available", None, THERE)
    assert await violations(house) == []


async def test_deleting_by_force_is_refused_no_longer_than_it_lasts(house: House) -> None:
    volume = await placed(house)
    gate = await begun(house, volume)
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 400
    assert (await house.act(volume, "os-force_delete", None, house.admin)).status_code == 400
    gate.set()
    await house.quiet()
    assert (await house.act(volume, "os-force_delete", None, house.admin)).status_code == 202
    await house.quiet()
    assert await house.status(volume) == "gone"
    await sweep(house)
    assert house.driver.inventory() == []


async def test_a_late_move_is_taken_over_by_the_database(house: House) -> None:
    volume = await placed(house)
    for target in (THERE, HERE):
        await migrate(house, volume, target)
        await house.quiet()
    house.driver.move(DriverVolume(volume, 1, "pool0"), "pool1")
    assert rules(await sweep(house)) == [("moved", volume)]
    assert (await state(house, volume))[2] == THERE
    assert await violations(house) == []


async def test_a_volume_that_nobody_sent_there_is_reported_only(house: House) -> None:
    volume = await placed(house)
    house.driver.places[volume] = "pool1"
    assert rules(await sweep(house)) == [("orphan", volume)]
    assert (await state(house, volume))[2] == HERE
    assert house.driver.places[volume] == "pool1"


async def test_a_volume_in_a_pool_that_its_creation_gave_up_is_no_leftover(house: House) -> None:
    """It was moved there since; that it is not where its row says does not make it nobody's."""
    house.driver.pools["pool1"] = {}
    await house.add_pool("pool1")
    house.driver.failures["create"] = PermanentError("full")
    volume = await house.volume()
    house.driver.failures.clear()
    house.driver.create(DriverVolume(volume, 1, "pool1"), None)
    await house.put(volume, host=HERE, status="available")
    assert rules(await sweep(house)) == [("orphan", volume)]
    assert volume in house.driver.sizes


async def test_a_reset_to_a_status_of_migration_ends_in_time(house: House) -> None:
    volume = await house.volume()
    wish = {"migration_status": "migrating"}
    assert (await house.act(volume, "os-reset_status", wish, house.admin)).status_code == 202
    assert (await house.row(volume)).migration_status == "migrating"
    assert await violations(house) == []
    await house.come_due("check_volume")
    assert (await house.row(volume)).migration_status == "error"
    assert await violations(house) == []


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [None, "", 5, [], "x" * 256, "node1", "node1@none#pool1", "node1@fast#none", "a@b#c", "ü"],
)
async def test_a_place_that_is_none_is_refused(house: House, host: Any) -> None:
    volume = await placed(house)
    for version in ("3.0", "3.71"):
        assert (await migrate(house, volume, host, version)).status_code == 400
    assert await state(house, volume) == ("available", None, HERE)


async def test_host_or_cluster_and_that_from_3_16_on(house: House) -> None:
    volume = await placed(house)
    for value in ({"host": THERE, "cluster": "c"}, {"cluster": "c"}, {}):
        reply = await house.act(volume, "os-migrate_volume", value, house.admin)
        assert reply.status_code == 400
        assert "cluster" in reply.json()["badRequest"]["message"]
    assert (await migrate(house, volume, version="3.15", cluster=None)).status_code == 400
    assert (await migrate(house, volume, version="3.16", cluster=None)).status_code == 202


async def test_the_place_where_it_is_is_refused(house: House) -> None:
    volume = await placed(house)
    assert (await migrate(house, volume, HERE)).status_code == 400


async def test_a_backend_that_is_disabled_is_refused(house: House) -> None:
    volume = await placed(house)
    body = {"binary": "cinder-volume", "host": "node1@fast"}
    assert (await house.admin.put("/os-services/disable", body)).status_code == 200
    reply = await migrate(house, volume)
    assert reply.status_code == 400 and "disabled" in reply.text


async def test_a_volume_with_snapshots_is_refused(house: House) -> None:
    volume = await placed(house)
    await house.snapshot(volume)
    reply = await migrate(house, volume)
    assert reply.status_code == 400 and "1 snapshot(s)" in reply.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "error"},
        {"status": "maintenance"},
        {"migration_status": "completing"},
        {"migration_status": "target:x"},
        {"group_id": "g"},
        {"replication_status": "enabled"},
    ],
)
async def test_a_volume_that_something_else_holds_is_refused(
    house: House, wrong: dict[str, str]
) -> None:
    volume = await placed(house)
    await house.put(volume, **wrong)
    assert (await migrate(house, volume)).status_code == 400


async def test_administrators_only(house: House) -> None:
    volume = await placed(house)
    for caller, status in ((house.member, 403), (house.reader, 403), (house.other, 404)):
        body = {"os-migrate_volume": {"host": THERE}}
        assert (await caller.post(f"/volumes/{volume}/action", body)).status_code == status


async def test_nothing_else_begins_meanwhile(house: House) -> None:
    volume = await placed(house)
    gate = await begun(house, volume)
    assert (await migrate(house, volume)).status_code == 400
    for action, value in (("os-extend", {"new_size": 2}), ("os-reserve", None)):
        assert (await house.act(volume, action, value)).status_code == 400, action
    body = {"snapshot": {"volume_id": volume, "force": True}}
    assert (await house.member.post("/snapshots", body, "3.0")).status_code == 400
    gate.set()
    await house.quiet()
    assert await state(house, volume) == ("available", "success", THERE)


# -- the compute service has exchanged two volumes ------------------------------------------------


async def complete(house: House, volume: str, new: Any, **more: Any) -> Any:
    value = {"new_volume": new, **more}
    return await house.act(volume, "os-migrate_volume_completion", value, house.admin)


async def test_who_exchanges_volumes_himself_keeps_the_new_one(house: House) -> None:
    old, new = await house.volume(), await house.volume()
    for more in ({}, {"error": False}, {"error": "true"}, {"error": None}):
        reply = await complete(house, old, new, **more)
        assert (reply.status_code, reply.json()) == (200, {"save_volume_id": new})


async def test_not_while_one_of_them_is_moved(house: House) -> None:
    old, new = await placed(house), await house.volume()
    gate = await begun(house, old)
    assert (await complete(house, old, new)).status_code == 400
    assert (await complete(house, new, old)).status_code == 400
    gate.set()


async def test_both_have_to_be_there(house: House) -> None:
    volume = await house.volume()
    missing = "00000000-0000-4000-8000-000000000000"
    assert (await complete(house, volume, missing)).status_code == 404
    assert (await complete(house, missing, volume)).status_code == 404
    for bad in (None, "", "x", 5):
        assert (await complete(house, volume, bad)).status_code == 400
    assert (await complete(house, volume, volume, error="perhaps")).status_code == 400
    body = {"os-migrate_volume_completion": {"new_volume": volume}}
    assert (await house.member.post(f"/volumes/{volume}/action", body)).status_code == 403
