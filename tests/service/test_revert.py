"""`revert`: a volume is put back to its latest snapshot."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError, StillWorking
from tests.service.house import House


async def snapshot_status(house: House, ident: str) -> str:
    reply = await house.member.get(f"/snapshots/{ident}")
    return str(reply.json()["snapshot"]["status"]) if reply.status_code == 200 else "gone"


async def both(house: House) -> tuple[str, str]:
    """A volume and its snapshot."""
    volume = await house.volume()
    return volume, await house.snapshot(volume)


async def revert(house: House, volume: str, snapshot: Any, version: str = "3.40") -> Any:
    return await house.act(volume, "revert", {"snapshot_id": snapshot}, version=version)


async def test_volume_and_snapshot_are_busy_and_then_available(house: House) -> None:
    volume, snapshot = await both(house)
    gate = house.driver.gates["revert"] = threading.Event()
    assert (await revert(house, volume, snapshot)).status_code == 202
    assert await house.status(volume) == "reverting"
    assert await snapshot_status(house, snapshot) == "restoring"
    gate.set()
    await house.quiet()
    assert await house.status(volume) == "available"
    assert await snapshot_status(house, snapshot) == "available"
    assert house.driver.contents == {volume: snapshot}


async def test_a_failure_leaves_the_volume_in_error_and_says_why(house: House) -> None:
    volume, snapshot = await both(house)
    house.driver.failures["revert"] = PermanentError("The snapshot is damaged.")
    await revert(house, volume, snapshot)
    await house.quiet()
    assert await house.status(volume) == "error"
    assert await snapshot_status(house, snapshot) == "available"
    (told,) = (await house.member.get("/messages")).json()["messages"]
    assert "The snapshot is damaged." in told["user_message"]
    assert told["resource_uuid"] == volume


async def test_slow_work_is_shown_and_goes_on(house: House) -> None:
    volume, snapshot = await both(house)
    house.driver.failures["revert"] = StillWorking("copying", retry_after=3600.0, progress=40)
    await revert(house, volume, snapshot)
    await house.quiet()
    reply = await house.admin.get(f"/operations?resource_id={volume}")
    open_ones = [one for one in reply.json()["operations"] if one["state"] == "open"]
    assert [one["progress"] for one in open_ones] == [40]
    del house.driver.failures["revert"]
    await house.pass_time("revert_volume")
    assert await house.status(volume) == "available"


async def test_only_the_latest_snapshot_will_do(house: House) -> None:
    volume, first = await both(house)
    second = await house.snapshot(volume)
    for asked in (first, None, "", "nonsense", "ü" * 300):
        reply = await revert(house, volume, asked)
        assert reply.status_code == 400, asked
        assert "latest" in reply.json()["badRequest"]["message"]
    assert (await revert(house, volume, second)).status_code == 202


async def test_the_latest_is_the_youngest_whatever_its_id(house: House) -> None:
    volume, first = await both(house)
    second = await house.snapshot(volume)
    await house.put_snapshot(second, created_at=datetime(2020, 1, 1))  # noqa: DTZ001
    assert (await revert(house, volume, second)).status_code == 400
    assert (await revert(house, volume, first)).status_code == 202


@pytest.mark.parametrize(
    "value", [None, [], "x", {"snapshot_id": 5}, {"snapshot_id": ["x"]}, {"snapshot_id": {}}]
)
async def test_bad_values_are_refused(house: House, value: Any) -> None:
    volume, _ = await both(house)
    reply = await house.act(volume, "revert", value, version="3.40")
    assert reply.status_code == 400


async def test_unknown_keys_beside_the_id_are_ignored(house: House) -> None:
    volume, snapshot = await both(house)
    value = {"snapshot_id": snapshot, "more": 1}
    assert (await house.act(volume, "revert", value, version="3.40")).status_code == 202


async def test_a_volume_without_snapshots_cannot_be_put_back(house: House) -> None:
    volume = await house.volume()
    _, elsewhere = await both(house)
    for asked in (elsewhere, None):
        assert (await revert(house, volume, asked)).status_code == 400


async def test_a_volume_that_has_grown_is_refused(house: House) -> None:
    volume, snapshot = await both(house)
    await house.act(volume, "os-extend", {"new_size": 2})
    await house.quiet()
    reply = await revert(house, volume, snapshot)
    assert reply.status_code == 400
    assert "2 GiB" in reply.json()["badRequest"]["message"]


@pytest.mark.parametrize("status", ["in-use", "error", "reverting", "uploading", "maintenance"])
async def test_the_wrong_status_of_the_volume_is_a_conflict(house: House, status: str) -> None:
    volume, snapshot = await both(house)
    await house.put(volume, status=status)
    reply = await revert(house, volume, snapshot)
    assert (reply.status_code, list(reply.json())) == (409, ["conflictingRequest"])


@pytest.mark.parametrize("status", ["error", "creating", "deleting", "restoring", "backing-up"])
async def test_the_wrong_status_of_the_snapshot_is_a_conflict(house: House, status: str) -> None:
    volume, snapshot = await both(house)
    await house.put_snapshot(snapshot, status=status)
    assert (await revert(house, volume, snapshot)).status_code == 409
    assert await house.status(volume) == "available"


async def test_a_volume_that_a_host_is_connected_with_is_a_conflict(house: House) -> None:
    volume, snapshot = await both(house)
    connector = {"connector": {"host": "compute1"}}
    assert (await house.act(volume, "os-initialize_connection", connector)).status_code == 200
    assert await house.status(volume) == "available"
    assert (await revert(house, volume, snapshot)).status_code == 409


async def test_it_is_there_from_3_40_on_and_for_its_owner_only(house: House) -> None:
    volume, snapshot = await both(house)
    assert (await revert(house, volume, snapshot, "3.39")).status_code == 404
    for caller, status in ((house.other, 404), (house.reader, 403)):
        body = {"revert": {"snapshot_id": snapshot}}
        reply = await caller.post(f"/volumes/{volume}/action", body, "3.40")
        assert reply.status_code == status


class TestMeanwhile:
    """What may be asked while a volume is put back."""

    async def test_nothing_else_begins_on_either(self, house: House) -> None:
        volume, snapshot = await both(house)
        gate = house.driver.gates["revert"] = threading.Event()
        await revert(house, volume, snapshot)
        for action, value in (
            ("revert", {"snapshot_id": snapshot}),
            ("os-extend", {"new_size": 2}),
            ("os-reserve", None),
            ("os-initialize_connection", {"connector": {"host": "compute1"}}),
        ):
            assert (await house.act(volume, action, value)).status_code in (400, 409), action
        assert (await house.member.delete(f"/volumes/{volume}")).status_code == 400
        assert (await house.member.delete(f"/snapshots/{snapshot}")).status_code == 400
        for path, body in (
            ("/volumes", {"volume": {"snapshot_id": snapshot}}),
            ("/volumes", {"volume": {"source_volid": volume, "size": 1}}),
            ("/snapshots", {"snapshot": {"volume_id": volume}}),
            ("/attachments", {"attachment": {"volume_uuid": volume}}),
        ):
            assert (await house.member.post(path, body)).status_code == 400, body
        gate.set()
        await house.quiet()
        assert await house.status(volume) == "available"

    async def test_resetting_the_snapshot_cuts_it_short(self, house: House) -> None:
        volume, snapshot = await both(house)
        gate = house.driver.gates["revert"] = threading.Event()
        await revert(house, volume, snapshot)
        body = {"os-reset_status": {"status": "available"}}
        reply = await house.admin.post(f"/snapshots/{snapshot}/action", body)
        assert reply.status_code == 202
        assert await house.status(volume) == "error"
        assert await snapshot_status(house, snapshot) == "available"
        gate.set()
        await house.quiet()
        await house.come_due("check_snapshot")
        assert await house.status(volume) == "error"
        assert await snapshot_status(house, snapshot) == "available"
        (told,) = (await house.member.get("/messages")).json()["messages"]
        assert "cut short" in told["user_message"]

    async def test_deleting_the_snapshot_by_force_cuts_it_short(self, house: House) -> None:
        volume, snapshot = await both(house)
        gate = house.driver.gates["revert"] = threading.Event()
        await revert(house, volume, snapshot)
        reply = await house.admin.post(f"/snapshots/{snapshot}/action", {"os-force_delete": None})
        assert reply.status_code == 202
        gate.set()
        await house.quiet()
        assert await house.status(volume) == "error"
        assert await snapshot_status(house, snapshot) == "gone"

    async def test_resetting_the_volume_frees_the_snapshot(self, house: House) -> None:
        volume, snapshot = await both(house)
        gate = house.driver.gates["revert"] = threading.Event()
        await revert(house, volume, snapshot)
        reply = await house.act(volume, "os-reset_status", {"status": "available"}, house.admin)
        assert reply.status_code == 202
        assert await snapshot_status(house, snapshot) == "available"
        assert await house.status(volume) == "available"
        gate.set()
        await house.come_due("check_volume")
        assert await house.status(volume) == "available"

    async def test_a_check_of_the_snapshot_waits_for_its_end(self, house: House) -> None:
        volume, snapshot = await both(house)
        body = {"os-reset_status": {"status": "available"}}
        await house.admin.post(f"/snapshots/{snapshot}/action", body)
        gate = house.driver.gates["revert"] = threading.Event()
        await revert(house, volume, snapshot)
        await house.pass_time("check_snapshot")
        assert await snapshot_status(house, snapshot) == "restoring"
        gate.set()
        await house.quiet()
        await house.come_due("check_snapshot")
        assert await snapshot_status(house, snapshot) == "available"
