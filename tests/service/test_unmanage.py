"""`os-unmanage` of volumes and snapshots: the rows go, the bytes stay."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from breezeblock.doctor.findings import of_violation
from breezeblock.drivers.base import PermanentError, Snapshot, Volume
from tests.service.house import House
from tests.service.sweeps import rules, sweep, used, violations


async def unmanage_snapshot(house: House, ident: str, caller: Any = None) -> Any:
    caller = caller or house.admin
    return await caller.post(f"/snapshots/{ident}/action", {"os-unmanage": None})


async def snapshot_status(house: House, ident: str) -> str:
    reply = await house.member.get(f"/snapshots/{ident}")
    return str(reply.json()["snapshot"]["status"]) if reply.status_code == 200 else "gone"


async def test_an_unmanaged_volume_is_forgotten_and_kept(house: House) -> None:
    volume = await house.volume(2)
    gate = house.driver.gates["release"] = threading.Event()
    assert (await house.act(volume, "os-unmanage", None, house.admin)).status_code == 202
    assert await house.status(volume) == "unmanaging"
    gate.set()
    await house.quiet()
    assert await house.status(volume) == "gone"
    assert house.driver.released == {volume}
    assert ("delete", volume) not in house.driver.calls
    assert (await used(house))["gigabytes"] == 0
    assert rules(await sweep(house)) == []


async def test_a_failure_is_told_and_can_be_tried_again_after_a_reset(house: House) -> None:
    volume = await house.volume()
    house.driver.failures["release"] = PermanentError("It will not let go.")
    await house.act(volume, "os-unmanage", None, house.admin)
    await house.quiet()
    assert await house.status(volume) == "error_unmanaging"
    assert await violations(house) == []
    (told,) = (await house.admin.get("/messages?all_tenants=1")).json()["messages"]
    assert "It will not let go." in told["user_message"]
    house.driver.failures.clear()
    assert (await house.act(volume, "os-unmanage", None, house.admin)).status_code == 400
    await house.act(volume, "os-reset_status", {"status": "available"}, house.admin)
    assert (await house.act(volume, "os-unmanage", None, house.admin)).status_code == 202
    await house.quiet()
    assert await house.status(volume) == "gone"


@pytest.mark.parametrize(
    "values",
    [
        {"status": "in-use"},
        {"status": "deleting"},
        {"status": "error_deleting"},
        {"attach_status": "attached"},
        {"migration_status": "migrating"},
        {"group_id": "11111111-1111-1111-1111-111111111111"},
        {"encryption_key_id": "11111111-1111-1111-1111-111111111111"},
    ],
)
async def test_what_cannot_be_deleted_cannot_be_unmanaged_nor_what_is_encrypted(
    house: House, values: dict[str, str]
) -> None:
    volume = await house.volume()
    await house.put(volume, **values)
    reply = await house.act(volume, "os-unmanage", None, house.admin)
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert house.driver.released == set()


async def test_a_volume_with_snapshots_stays_until_they_are_gone(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    assert (await house.act(volume, "os-unmanage", None, house.admin)).status_code == 400
    assert (await unmanage_snapshot(house, snapshot)).status_code == 202
    await house.quiet()
    assert (await house.act(volume, "os-unmanage", None, house.admin)).status_code == 202
    await house.quiet()
    assert house.driver.released == {volume, snapshot}


async def test_a_volume_that_was_never_placed_is_gone_at_once(house: House) -> None:
    house.driver.failures["create"] = PermanentError("no licence")
    volume = await house.volume()
    assert (await house.row(volume)).host is None
    assert (await house.act(volume, "os-unmanage", None, house.admin)).status_code == 202
    assert await house.status(volume) == "gone"
    assert (await used(house))["volumes"] == 0


async def test_administrators_only(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    for caller, status in ((house.member, 403), (house.other, 404)):
        assert (await house.act(volume, "os-unmanage", None, caller)).status_code == status
        assert (await unmanage_snapshot(house, snapshot, caller)).status_code == status


async def test_an_unmanaged_snapshot_is_forgotten_and_kept(house: House) -> None:
    volume = await house.volume(2)
    snapshot = await house.snapshot(volume)
    gate = house.driver.gates["release_snapshot"] = threading.Event()
    assert (await unmanage_snapshot(house, snapshot)).status_code == 202
    assert await snapshot_status(house, snapshot) == "unmanaging"
    assert (await unmanage_snapshot(house, snapshot)).status_code == 400
    assert (await house.member.delete(f"/snapshots/{snapshot}")).status_code == 400
    gate.set()
    await house.quiet()
    assert await snapshot_status(house, snapshot) == "gone"
    assert house.driver.released == {snapshot}
    assert ((await used(house))["snapshots"], (await used(house))["gigabytes"]) == (0, 2)
    assert await house.status(volume) == "available"
    assert rules(await sweep(house)) == []


async def test_a_snapshot_that_is_not_let_go_of_is_in_error(house: House) -> None:
    snapshot = await house.snapshot(await house.volume())
    house.driver.failures["release_snapshot"] = PermanentError("It will not let go.")
    await unmanage_snapshot(house, snapshot)
    await house.quiet()
    assert await snapshot_status(house, snapshot) == "error"
    (told,) = (await house.admin.get("/messages?all_tenants=1")).json()["messages"]
    assert "It will not let go." in told["user_message"]


@pytest.mark.parametrize("status", ["restoring", "creating", "deleting", "backing-up"])
async def test_a_busy_snapshot_cannot_be_unmanaged(house: House, status: str) -> None:
    snapshot = await house.snapshot(await house.volume())
    await house.put_snapshot(snapshot, status=status)
    assert (await unmanage_snapshot(house, snapshot)).status_code == 400


class TestWhatComesLate:
    """A backend that takes for ours what was unmanaged: nothing of it is destroyed."""

    async def test_a_late_creation_and_its_export_are_let_go_of(self, house: House) -> None:
        volume = await house.volume()
        await house.act(volume, "os-unmanage", None, house.admin)
        await house.quiet()
        house.driver.released.clear()
        house.driver.create(Volume(volume, 1, "pool0"), None)
        house.driver.export(Volume(volume, 1, "pool0"), {"host": "compute1"})
        house.driver.calls.clear()
        assert rules(await sweep(house)) == [("released", volume)]
        assert house.driver.calls == [("release", volume)]
        assert (house.driver.inventory(), house.driver.released) == ([], {volume})
        assert rules(await sweep(house)) == []

    async def test_the_doctor_tells_of_it_and_changes_nothing(self, house: House) -> None:
        volume = await house.volume()
        await house.act(volume, "os-unmanage", None, house.admin)
        await house.quiet()
        house.driver.sizes[volume] = 1
        (found,) = (await sweep(house, dry_run=True)).found
        finding = of_violation(found)
        assert (finding.rule, finding.repairable) == ("released", True)
        assert "unmanaged" in finding.text and "lets go" in finding.remedy
        assert house.driver.sizes == {volume: 1}

    async def test_a_creation_that_was_never_finished_is_somebodys_once_unmanaged(
        self, house: House
    ) -> None:
        house.driver.failures["create"] = PermanentError("no licence")
        volume = await house.volume()
        await house.put(volume, host="node1@fast#pool0")
        await house.act(volume, "os-unmanage", None, house.admin)
        await house.quiet()
        house.driver.failures.clear()
        house.driver.create(Volume(volume, 1, "pool0"), None)
        assert rules(await sweep(house)) == [("released", volume)]
        assert house.driver.released == {volume}

    async def test_a_late_export_alone_is_ended(self, house: House) -> None:
        volume = await house.volume()
        await house.act(volume, "os-unmanage", None, house.admin)
        await house.quiet()
        house.driver.exports.add((volume, "compute1"))
        assert rules(await sweep(house)) == [("released", volume)]
        assert house.driver.inventory() == []
        assert ("delete", volume) not in house.driver.calls

    async def test_a_late_snapshot_is_let_go_of(self, house: House) -> None:
        volume = await house.volume()
        snapshot = await house.snapshot(volume)
        await unmanage_snapshot(house, snapshot)
        await house.quiet()
        house.driver.released.clear()
        house.driver.snapshot(Snapshot(snapshot, volume, 1, "pool0"))
        assert rules(await sweep(house)) == [("released", snapshot)]
        assert house.driver.released == {snapshot}
        assert ("delete_snapshot", snapshot) not in house.driver.calls
