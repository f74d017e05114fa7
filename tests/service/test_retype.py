"""`os-retype`: a volume gets another type, where it is or in another pool of its backend."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError, StillWorking
from tests.service.catalog_fixture import PROJECT
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house
from tests.service.sweeps import used, violations

GOLD = {"fake:tier": "gold"}
ON_DEMAND = {"migration_policy": "on-demand"}


async def retype(house: House, volume: str, new_type: Any, **more: Any) -> Any:
    return await house.act(volume, "os-retype", {"new_type": new_type, **more})


async def types(house: House) -> None:
    """A type that asks something of the backend, and one that only the second pool fits."""
    await house.new_type("gold", extra_specs=GOLD)
    await house.new_type("there", extra_specs={"place": "there", **GOLD})


async def type_of(house: House, volume: str) -> tuple[str, str]:
    shown = await house.show(volume)
    return shown["status"], shown["volume_type"]


async def used_of(house: House, name: str) -> tuple[int, int, int]:
    counted = await used(house)
    kinds = ("volumes", "gigabytes", "snapshots")
    return tuple(counted.get(f"{kind}_{name}", 0) for kind in kinds)


async def assert_sound(house: House) -> None:
    assert await violations(house) == []


# -- where it is ----------------------------------------------------------------------------------


async def test_a_volume_gets_the_type_and_its_backend_is_told(house: House) -> None:
    await types(house)
    volume = await house.volume(2)
    gate = house.driver.gates["retype"] = threading.Event()
    assert (await retype(house, volume, "gold")).status_code == 202
    assert await type_of(house, volume) == ("retyping", "__DEFAULT__")
    gate.set()
    await house.quiet()
    assert await type_of(house, volume) == ("available", "gold")
    assert house.driver.types[volume] == GOLD
    await assert_sound(house)


async def test_usage_goes_along_with_snapshots_and_all(house: House) -> None:
    await types(house)
    volume = await house.volume(2)
    await house.snapshot(volume)
    before = await used(house)
    await retype(house, volume, "gold")
    await house.quiet()
    assert await used_of(house, "gold") == (1, 4, 1)
    assert await used_of(house, "__DEFAULT__") == (0, 0, 0)
    after = await used(house)
    assert {kind: after[kind] for kind in ("volumes", "gigabytes", "snapshots")} == {
        kind: before[kind] for kind in ("volumes", "gigabytes", "snapshots")
    }
    assert (await house.member.delete(f"/volumes/{volume}?cascade=true")).status_code == 202
    await house.quiet()
    assert await used_of(house, "gold") == (0, 0, 0)
    await assert_sound(house)


async def test_a_snapshot_that_is_deleted_meanwhile_is_not_counted(house: House) -> None:
    await types(house)
    volume = await house.volume(2)
    snapshot = await house.snapshot(volume)
    gate = house.driver.gates["retype"] = threading.Event()
    await retype(house, volume, "gold")
    assert (await house.member.delete(f"/snapshots/{snapshot}")).status_code == 202
    while snapshot in house.driver.snapshots:
        await asyncio.sleep(0.01)
    gate.set()
    await house.quiet()
    assert await used_of(house, "gold") == (1, 2, 0)
    await assert_sound(house)


async def test_a_snapshot_belongs_to_the_new_type_too(house: House) -> None:
    await types(house)
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    await retype(house, volume, "gold")
    await house.quiet()
    made = await house.volume(snapshot_id=snapshot)
    assert (await house.show(made))["volume_type"] == "gold"


async def test_a_type_that_asks_nothing_else_needs_no_driver(house: House) -> None:
    await house.new_type("shared", extra_specs={"multiattach": "<is> True"})
    volume = await house.volume()
    house.driver.failures["retype"] = PermanentError("not here")
    await retype(house, volume, "shared")
    await house.quiet()
    assert await type_of(house, volume) == ("available", "shared")
    assert (await house.show(volume))["multiattach"] is True
    assert ("retype", volume) not in house.driver.calls
    await assert_sound(house)


async def test_limits_of_the_backend_are_told_too(house: House) -> None:
    made = await house.new_type("fast")
    body = {"qos_specs": {"name": "quick", "total_iops_sec": "9"}}
    qos = (await house.admin.post("/qos-specs", body)).json()["qos_specs"]["id"]
    await house.admin.get(f"/qos-specs/{qos}/associate?vol_type_id={made['id']}")
    volume = await house.volume()
    await house.in_use(volume)
    await retype(house, volume, "fast")
    await house.quiet()
    assert await type_of(house, volume) == ("in-use", "fast")
    assert house.driver.types[volume] == {"qos:total_iops_sec": "9"}


async def test_a_volume_in_use_stays_in_use(house: House) -> None:
    await types(house)
    volume = await house.volume()
    await house.in_use(volume)
    await retype(house, volume, "gold")
    await house.quiet()
    assert await type_of(house, volume) == ("in-use", "gold")


async def test_one_that_is_detached_meanwhile_is_available_then(house: House) -> None:
    await types(house)
    volume = await house.volume()
    attachment = await house.in_use(volume)
    house.driver.failures["retype"] = StillWorking("at it", retry_after=3600.0)
    await retype(house, volume, "gold")
    assert (await house.member.delete(f"/attachments/{attachment}")).status_code == 200
    await house.quiet()  # the backend has said that it is at it
    assert await type_of(house, volume) == ("retyping", "__DEFAULT__")
    del house.driver.failures["retype"]
    await house.come_due("retype_volume")
    assert await type_of(house, volume) == ("available", "gold")
    await assert_sound(house)


# -- in another pool ------------------------------------------------------------------------------


async def test_it_is_moved_when_its_pool_does_not_fit_and_it_may_be(house: House) -> None:
    await types(house)
    volume = await house.volume()
    there = await house.add_pool(place="there")
    await house.in_use(volume)
    gate = house.driver.gates["move"] = threading.Event()
    await retype(house, volume, "there", **ON_DEMAND)
    while ("move", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    shown = await house.show(volume, house.admin)
    assert (shown["status"], shown["migration_status"]) == ("retyping", "migrating")
    gate.set()
    await house.quiet()
    shown = await house.show(volume, house.admin)
    assert (shown["status"], shown["migration_status"]) == ("in-use", "success")
    assert (shown["volume_type"], shown["os-vol-host-attr:host"]) == ("there", there)
    assert house.driver.places[volume] == "pool1"
    assert house.driver.types[volume] == {"place": "there", **GOLD}
    await assert_sound(house)


async def test_it_stays_where_it_is_when_that_fits(house: House) -> None:
    await types(house)
    volume = await house.volume()
    await house.add_pool()
    await retype(house, volume, "gold", **ON_DEMAND)
    await house.quiet()
    assert ("move", volume) not in house.driver.calls
    assert (await house.row(volume)).migration_status is None


async def refused(house: House, volume: str, **policy: str) -> str:
    """The message that a retype to `there` leaves, with everything as it was."""
    await retype(house, volume, "there", **policy)
    await house.quiet()
    row = await house.row(volume)
    assert row is not None and (row.status, row.host) == ("available", "node1@fast#pool0")
    assert await type_of(house, volume) == ("available", "__DEFAULT__")
    assert row.migration_status is None
    assert await used_of(house, "there") == (0, 0, 0)
    await assert_sound(house)
    (told,) = await house.messages()
    assert "fast" not in told and "pool0" not in told
    return told


async def test_it_is_not_moved_unless_asked(house: House) -> None:
    await types(house)
    volume = await house.volume()
    await house.add_pool(place="there")
    assert "on-demand" in await refused(house, volume)


async def test_one_with_snapshots_is_not_moved(house: House) -> None:
    await types(house)
    volume = await house.volume()
    await house.snapshot(volume)
    await house.add_pool(place="there")
    assert "1 snapshot(s)" in await refused(house, volume, **ON_DEMAND)


async def test_it_is_not_moved_to_another_backend(tmp_path: Path) -> None:
    drivers = [FakeDriver("fast", 3000), FakeDriver("slow")]
    drivers[1].pools = {"pool0": {"place": "there"}}
    async with open_house(tmp_path, drivers) as house:
        await types(house)
        volume = await house.volume()
        assert "another" in await refused(house, volume, **ON_DEMAND)
        assert ("move", volume) not in drivers[0].calls


async def test_a_disabled_backend_takes_no_changes(house: House) -> None:
    await types(house)
    volume = await house.volume()
    body = {"binary": "cinder-volume", "host": "node1@fast"}
    assert (await house.admin.put("/os-services/disable", body)).status_code == 200
    assert "takes no changes" in await refused(house, volume)


async def test_when_the_move_fails_all_is_as_before(house: House) -> None:
    await types(house)
    volume = await house.volume()
    await house.add_pool(place="there")
    house.driver.failures["move"] = PermanentError("the aggregate is away")
    await retype(house, volume, "there", **ON_DEMAND)
    await house.quiet()
    shown = await house.show(volume, house.admin)
    assert (shown["status"], shown["migration_status"]) == ("available", "error")
    assert (shown["volume_type"], shown["os-vol-host-attr:host"]) == (
        "__DEFAULT__",
        "node1@fast#pool0",
    )
    (told,) = await house.messages()
    assert "the aggregate is away" in told
    await assert_sound(house)


async def test_when_the_last_step_fails_it_says_that_it_was_moved(house: House) -> None:
    await types(house)
    volume = await house.volume()
    there = await house.add_pool(place="there")
    house.driver.failures["retype"] = PermanentError("no licence")
    await retype(house, volume, "there", **ON_DEMAND)
    await house.quiet()
    row = await house.row(volume)
    assert row is not None and (row.status, row.host) == ("available", there)
    assert (await type_of(house, volume))[1] == "__DEFAULT__"
    (told,) = await house.messages()
    assert "no licence" in told and "was moved" in told
    await assert_sound(house)


# -- what went wrong, or late ---------------------------------------------------------------------


async def test_a_failure_leaves_the_old_type_and_the_backend_is_told_of_it(house: House) -> None:
    await types(house)
    volume = await house.volume()
    house.driver.failures["retype"] = PermanentError("no licence")
    await retype(house, volume, "gold")
    while await house.status(volume) == "retyping":
        await asyncio.sleep(0.01)
    await house.quiet()
    assert await type_of(house, volume) == ("available", "__DEFAULT__")
    assert await used_of(house, "gold") == (0, 0, 0)
    (told,) = await house.messages()
    assert "no licence" in told
    assert house.driver.calls.count(("retype", volume)) == 2
    await assert_sound(house)


async def test_a_reset_cuts_it_short_and_the_backend_ends_with_the_type_that_is_shown(
    house: House,
) -> None:
    await types(house)
    volume = await house.volume()
    gate = house.driver.gates["retype"] = threading.Event()
    await retype(house, volume, "gold")
    while ("retype", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    wish = {"status": "available"}
    assert (await house.act(volume, "os-reset_status", wish, house.admin)).status_code == 202
    assert await type_of(house, volume) == ("available", "__DEFAULT__")
    gate.set()
    while house.driver.types[volume] != GOLD:
        await asyncio.sleep(0.01)
    await house.come_due("apply_type")
    assert house.driver.types[volume] == {}
    assert await used_of(house, "gold") == (0, 0, 0)


async def test_a_type_that_a_volume_is_about_to_get_stays(house: House) -> None:
    made = await house.new_type("gold", extra_specs=GOLD)
    volume = await house.volume()
    gate = house.driver.gates["retype"] = threading.Event()
    await retype(house, volume, "gold")
    path = f"/types/{made['id']}"
    assert (await house.admin.delete(path)).status_code == 400
    body = {"extra_specs": {"a": "b"}}
    assert (await house.admin.post(f"{path}/extra_specs", body)).status_code == 400
    gate.set()
    await house.quiet()
    assert await type_of(house, volume) == ("available", "gold")


async def test_a_type_that_is_renamed_meanwhile_is_still_counted(house: House) -> None:
    made = await house.new_type("gold", extra_specs=GOLD)
    volume = await house.volume()
    gate = house.driver.gates["retype"] = threading.Event()
    await retype(house, volume, "gold")
    await house.admin.put(f"/types/{made['id']}", {"volume_type": {"name": "silver"}})
    gate.set()
    await house.quiet()
    assert await used_of(house, "silver") == (1, 1, 0)
    await assert_sound(house)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 5, [], {}, "x"])
async def test_the_new_type_is_a_text(house: House, value: Any) -> None:
    volume = await house.volume()
    expected = 404 if value == "x" else 400
    assert (await retype(house, volume, value)).status_code == expected
    assert await house.status(volume) == "available"


@pytest.mark.parametrize("policy", [None, "", "always", "On-Demand", 1])
async def test_the_policy_is_never_or_on_demand(house: House, policy: Any) -> None:
    await types(house)
    volume = await house.volume()
    reply = await retype(house, volume, "gold", migration_policy=policy)
    assert reply.status_code == 400
    assert "migration_policy" in reply.json()["badRequest"]["message"]


async def test_unknown_keys_and_types_are_refused(house: House) -> None:
    await types(house)
    volume = await house.volume()
    assert (await retype(house, volume, "gold", host="x")).status_code == 400
    for unknown in ("", "ü" * 300, "00000000-0000-4000-8000-000000000000"):
        assert (await retype(house, volume, unknown)).status_code == 404


@pytest.mark.parametrize(
    "state",
    [
        {"status": "error"},
        {"status": "maintenance"},
        {"status": "reserved"},
        {"migration_status": "migrating"},
        {"group_id": "g"},
    ],
)
async def test_a_volume_that_something_else_holds_is_refused(
    house: House, state: dict[str, str]
) -> None:
    await types(house)
    volume = await house.volume()
    await house.put(volume, **state)
    assert (await retype(house, volume, "gold")).status_code == 400


async def test_the_type_it_has_is_refused(house: House) -> None:
    volume = await house.volume()
    assert (await retype(house, volume, "__DEFAULT__")).status_code == 400


async def test_types_that_nobody_showed_are_not_found(house: House) -> None:
    await house.new_type("hidden", is_public=False)
    volume = await house.volume()
    assert (await retype(house, volume, "hidden")).status_code == 404


async def test_an_attached_volume_keeps_what_its_hosts_have_to_know(house: House) -> None:
    await house.new_type("shared", extra_specs={"multiattach": "<is> True"})
    made = await house.new_type("limited")
    body = {"qos_specs": {"name": "q", "consumer": "front-end", "total_iops_sec": "9"}}
    qos = (await house.admin.post("/qos-specs", body)).json()["qos_specs"]["id"]
    await house.admin.get(f"/qos-specs/{qos}/associate?vol_type_id={made['id']}")
    volume = await house.volume()
    attachment = await house.in_use(volume)
    for name in ("shared", "limited"):
        reply = await retype(house, volume, name)
        assert reply.status_code == 400 and "attached" in reply.text
    await house.member.delete(f"/attachments/{attachment}")
    assert (await retype(house, volume, "limited")).status_code == 202


async def test_types_that_encrypt_are_refused(house: House) -> None:
    made = await house.new_type("secret")
    encryption = {"provider": "luks", "control_location": "front-end"}
    path = f"/types/{made['id']}/encryption"
    assert (await house.admin.post(path, {"encryption": encryption})).status_code == 200
    volume = await house.volume()
    assert (await retype(house, volume, "secret")).status_code == 400


async def test_the_types_limits_of_size_and_number_hold(house: House) -> None:
    await house.new_type("small", extra_specs={"provisioning:max_vol_size": "1"})
    await house.new_type("rare")
    volume = await house.volume(2)
    assert (await retype(house, volume, "small")).status_code == 400
    limit = {"quota_set": {"volumes_rare": 0}}
    assert (await house.admin.put(f"/os-quota-sets/{PROJECT}", limit)).status_code == 200
    reply = await retype(house, volume, "rare")
    assert reply.status_code == 413
    assert await type_of(house, volume) == ("available", "__DEFAULT__")
    assert await used_of(house, "rare") == (0, 0, 0)
    await assert_sound(house)


async def test_it_is_its_owners_only(house: House) -> None:
    await types(house)
    volume = await house.volume()
    for caller, status in ((house.other, 404), (house.reader, 403), (house.admin, 202)):
        body = {"os-retype": {"new_type": "gold"}}
        assert (await caller.post(f"/volumes/{volume}/action", body)).status_code == status


async def test_nothing_else_begins_meanwhile(house: House) -> None:
    await types(house)
    volume = await house.volume()
    gate = house.driver.gates["retype"] = threading.Event()
    await retype(house, volume, "gold")
    for action, value in (
        ("os-retype", {"new_type": "there"}),
        ("os-extend", {"new_size": 2}),
        ("os-reserve", None),
    ):
        assert (await house.act(volume, action, value)).status_code in (400, 409), action
    migrate = {"host": "node1@fast#pool0"}
    assert (await house.act(volume, "os-migrate_volume", migrate, house.admin)).status_code == 400
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 400
    gate.set()
    await house.quiet()
    assert await type_of(house, volume) == ("available", "gold")
