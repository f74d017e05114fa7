"""os-reset_status: the answer of old, and underneath the backend is looked at."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.model.invariants import check_live
from breezeblock.model.operation import Operation
from breezeblock.store import facts, operations
from breezeblock.store.tables import operations as operation_rows
from breezeblock.workflows.checks import PATIENCE, SOON
from tests.service.catalog_fixture import PROJECT
from tests.service.house import House

CONNECTOR = {"connector": {"host": "compute1"}}
CHECK = "check_volume"


async def _reset(house: House, volume: str, **wish: Any) -> None:
    reply = await house.act(volume, "os-reset_status", wish, house.admin)
    assert reply.status_code == 202, reply.text


async def _reset_snapshot(house: House, snapshot: str, status: str) -> None:
    body = {"os-reset_status": {"status": status}}
    reply = await house.admin.post(f"/snapshots/{snapshot}/action", body)
    assert reply.status_code == 202, reply.text


async def _snapshot_status(house: House, snapshot: str) -> str:
    reply = await house.member.get(f"/snapshots/{snapshot}")
    return str(reply.json()["snapshot"]["status"])


async def _messages(house: House) -> list[str]:
    reply = await house.member.get("/messages")
    return [one["user_message"] for one in reply.json()["messages"]]


async def _gigabytes(house: House) -> int:
    reply = await house.member.get(f"/os-quota-sets/{PROJECT}?usage=true")
    used: int = reply.json()["quota_set"]["gigabytes"]["in_use"]
    return used


async def _work(house: House, volume: str) -> list[Operation]:
    return await house.app.store.read(lambda tx: operations.touching(tx, volume))


async def _assert_sound(house: House) -> None:
    rows = await house.app.store.read(facts.read)
    held = {"node1@fast": house.driver.inventory()}
    assert [str(one) for one in check_live(rows, held)] == []


# -- what is true in the end ------------------------------------------------------------------


@pytest.mark.parametrize("status", ["available", "error", "error_deleting", "maintenance"])
async def test_a_status_that_the_backend_bears_out_stays(house: House, status: str) -> None:
    volume = await house.volume()
    await _reset(house, volume, status=status)
    await house.come_due(CHECK)
    assert await house.status(volume) == status
    assert await _messages(house) == []


@pytest.mark.parametrize(
    "status", ["available", "error_extending", "awaiting-transfer", "creating", "attaching"]
)
async def test_a_volume_that_its_backend_does_not_hold_is_in_error_and_its_owner_told(
    house: House, status: str
) -> None:
    volume = await house.volume()
    house.driver.sizes.clear()
    await _reset(house, volume, status=status)
    assert await house.status(volume) == status
    await house.come_due(CHECK)
    assert await house.status(volume) == "error"
    (told,) = await _messages(house)
    assert "its backend does not hold it" in told
    assert "Delete the volume" in told
    await _assert_sound(house)


async def test_a_growth_that_was_never_recorded_is_counted_whatever_the_limit(
    house: House,
) -> None:
    volume = await house.volume(1)
    limit = {"quota_set": {"gigabytes": 2}}
    assert (await house.admin.put(f"/os-quota-sets/{PROJECT}", limit)).status_code == 200
    house.driver.sizes[volume] = 4
    await _reset(house, volume, status="available")
    await house.come_due(CHECK)
    assert (await house.show(volume))["size"] == 4
    assert await _gigabytes(house) == 4
    await _assert_sound(house)


async def test_available_with_an_attachment_becomes_in_use(house: House) -> None:
    volume = await house.volume()
    await house.in_use(volume)
    await _reset(house, volume, status="available")
    assert await house.status(volume) == "available"
    await house.come_due(CHECK)
    assert await house.status(volume) == "in-use"


async def test_work_that_is_cut_short_and_done_all_the_same_is_found(house: House) -> None:
    volume = await house.volume(1)
    house.driver.gates["extend"] = threading.Event()
    await house.act(volume, "os-extend", {"new_size": 3})
    while ("extend", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    await _reset(house, volume, status="available")
    house.driver.gates["extend"].set()
    while house.driver.sizes[volume] != 3:
        await asyncio.sleep(0.01)
    await house.come_due(CHECK)
    shown = await house.show(volume)
    assert (shown["status"], shown["size"]) == ("available", 3)
    assert await _gigabytes(house) == 3
    (extend,) = [one for one in await _work(house, volume) if one.workflow == "extend_volume"]
    assert extend.state == "cancelled"
    assert extend.failure is not None
    assert extend.failure["cause"] and extend.failure["remedy"]


# -- statuses that pass -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [
        "creating",
        "extending",
        "managing",
        "attaching",
        "detaching",
        "reserved",
        "retyping",
        "uploading",
        "downloading",
        "backing-up",
        "restoring-backup",
    ],
)
async def test_a_status_that_passes_stays_for_a_while_and_then_the_true_one_comes(
    house: House, status: str
) -> None:
    volume = await house.volume()
    await _reset(house, volume, status=status)
    assert (await house.row(volume) or pytest.fail()).status == status
    await _assert_sound(house)
    await house.come_due(CHECK)
    assert await house.status(volume) == "available"
    await _assert_sound(house)


async def test_how_long_a_reset_status_stays_unless_the_backend_bears_it_out(
    house: House,
) -> None:
    volume = await house.volume()
    await _reset(house, volume, status="creating")
    await _reset(house, volume, status="error")
    first, second = [one for one in await _work(house, volume) if one.workflow == CHECK]
    assert first.due_at - first.opened_at == pytest.approx(PATIENCE)
    assert second.due_at - second.opened_at == pytest.approx(SOON)


async def test_a_passing_status_of_an_attached_volume_ends_in_use(house: House) -> None:
    volume = await house.volume()
    await house.in_use(volume)
    await _reset(house, volume, status="detaching")
    await house.come_due(CHECK)
    shown = await house.show(volume)
    assert (shown["status"], len(shown["attachments"])) == ("in-use", 1)


async def test_a_passing_status_does_not_get_in_the_way_of_the_calls_it_allows(
    house: House,
) -> None:
    volume = await house.volume()
    await _reset(house, volume, status="attaching")
    attach = {"host_name": "bare1", "mountpoint": "/dev/vdb"}
    assert (await house.act(volume, "os-attach", attach)).status_code == 202
    assert await house.status(volume) == "in-use"
    await _reset(house, volume, status="detaching")
    assert (await house.act(volume, "os-detach", {})).status_code == 202
    assert await house.status(volume) == "available"
    await house.come_due(CHECK)
    assert await house.status(volume) == "available"


async def test_a_volume_without_a_place_does_not_stay_in_a_passing_status(house: House) -> None:
    house.driver.failures["create"] = PermanentError("no")
    volume = await house.volume()
    await house.put(volume, host=None)
    assert await house.status(volume) == "error"
    await _reset(house, volume, status="creating")
    await house.come_due(CHECK)
    assert await house.status(volume) == "error"


async def test_a_backend_that_cannot_be_asked_does_not_keep_a_passing_status(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("breezeblock.workflows.checks.LOOKS", 1)
    volume = await house.volume()
    await _reset(house, volume, status="creating")
    statement = operation_rows.update().values(attempts=99)
    await house.app.store.write(lambda tx: tx.run(statement))
    monkeypatch.setattr(house.driver, "inventory", _away)
    await house.come_due(CHECK)
    assert await house.status(volume) == "error"
    (told,) = await _messages(house)
    assert "tried several times" in told


def _away() -> list[Any]:
    raise TemporaryError("the storage is away")


# -- the next call ------------------------------------------------------------------------------


async def test_the_volume_can_be_deleted_right_after(house: House) -> None:
    volume = await house.volume()
    house.driver.gates["extend"] = threading.Event()
    await house.act(volume, "os-extend", {"new_size": 3})
    await _reset(house, volume, status="error")
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 202
    house.driver.gates["extend"].set()
    while await house.status(volume) != "gone":
        await asyncio.sleep(0.01)
    await house.come_due(CHECK)


async def test_a_second_reset_takes_the_place_of_the_first(house: House) -> None:
    volume = await house.volume()
    await _reset(house, volume, status="creating")
    await _reset(house, volume, status="error")
    await house.come_due(CHECK)
    assert await house.status(volume) == "error"
    checks = [one.state for one in await _work(house, volume) if one.workflow == CHECK]
    assert checks == ["succeeded", "succeeded"]


async def test_a_check_leaves_the_status_to_work_that_began_meanwhile(house: House) -> None:
    volume = await house.volume(1)
    await _reset(house, volume, status="available")
    house.driver.gates["extend"] = threading.Event()
    await house.act(volume, "os-extend", {"new_size": 3})
    house.driver.sizes[volume] = 3  # it has grown, and the extension has not recorded that yet
    await house.pass_time(CHECK)
    shown = await house.show(volume)
    assert (shown["status"], shown["size"]) == ("extending", 1)
    house.driver.gates["extend"].set()
    await house.quiet()
    await house.come_due(CHECK)
    shown = await house.show(volume)
    assert (shown["status"], shown["size"]) == ("available", 3)
    assert await _gigabytes(house) == 3


# -- attachments --------------------------------------------------------------------------------


async def test_detached_shuts_every_host_out_and_keeps_the_status(house: House) -> None:
    volume = await house.volume(volume_type=await house.multiattach_type())
    await house.in_use(volume, "compute1")
    await house.in_use(volume, "compute2")
    await _reset(house, volume, status="error", attach_status="detached")
    assert (await house.show(volume))["attachments"] == []
    await house.quiet()
    assert house.driver.exports == set()
    assert await house.status(volume) == "error"
    await house.come_due(CHECK)
    assert await house.status(volume) == "error"


async def test_detached_alone_lets_the_status_follow(house: House) -> None:
    volume = await house.volume()
    await house.in_use(volume)
    await _reset(house, volume, attach_status="detached")
    assert await house.status(volume) == "in-use"
    await house.quiet()
    await house.come_due(CHECK)
    assert await house.status(volume) == "available"
    await _assert_sound(house)


async def test_a_host_that_is_attached_again_after_the_reset_stays_in(house: House) -> None:
    volume = await house.volume()
    await house.in_use(volume)
    await _reset(house, volume, status="available", attach_status="detached")
    await house.in_use(volume)
    await house.quiet()
    assert house.driver.exports == {(volume, "compute1")}
    await house.come_due(CHECK)
    assert await house.status(volume) == "in-use"
    await _assert_sound(house)


async def test_a_host_that_cannot_be_shut_out_is_told_of_and_the_status_stays(
    house: House,
) -> None:
    volume = await house.volume()
    await house.in_use(volume)
    house.driver.failures["unexport"] = PermanentError("no way")
    await _reset(house, volume, status="error", attach_status="detached")
    await house.quiet()
    assert await house.status(volume) == "error"
    (told,) = await _messages(house)
    assert told.startswith("detach the volume")


async def test_a_host_that_could_not_be_shut_out_then_is_when_the_volume_is_looked_at(
    house: House,
) -> None:
    volume = await house.volume()
    await house.in_use(volume)
    house.driver.failures["unexport"] = PermanentError("not now")
    await _reset(house, volume, status="available", attach_status="detached")
    while not await _messages(house):
        await asyncio.sleep(0.01)
    assert house.driver.exports
    del house.driver.failures["unexport"]
    await house.come_due(CHECK)
    assert not house.driver.exports
    await _assert_sound(house)


# -- snapshots ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["creating", "deleting", "restoring", "deleted"])
async def test_a_snapshots_passing_status_ends(house: House, status: str) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    await _reset_snapshot(house, snapshot, status)
    assert await _snapshot_status(house, snapshot) == status
    await _assert_sound(house)
    await house.come_due("check_snapshot")
    assert await _snapshot_status(house, snapshot) == "available"


@pytest.mark.parametrize("status", ["available", "creating"])
async def test_a_snapshot_that_its_backend_does_not_hold_is_in_error(
    house: House, status: str
) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    house.driver.snapshots.clear()
    await _reset_snapshot(house, snapshot, status)
    await house.come_due("check_snapshot")
    assert await _snapshot_status(house, snapshot) == "error"
    (told,) = await _messages(house)
    assert "its backend does not hold it" in told


async def test_a_snapshot_can_be_deleted_right_after(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    await _reset_snapshot(house, snapshot, "error")
    assert (await house.member.delete(f"/snapshots/{snapshot}")).status_code == 202
    await house.quiet()
    await house.come_due("check_snapshot")
    assert house.driver.snapshots == {}
