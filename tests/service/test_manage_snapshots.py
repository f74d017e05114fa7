"""Adopting snapshots: what a backend holds of our volumes becomes ours, or else stays as it was."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from breezeblock.drivers.base import PermanentError, Snapshot
from breezeblock.store import services
from tests.service.catalog_fixture import PROJECT
from tests.service.house import House
from tests.service.sweeps import rules, sweep, used, violations

BACKEND = "node1@fast"
MISSING = "11111111-1111-1111-1111-111111111111"


async def ask(
    house: House, volume: str, held: str = "old", caller: Any = None, **wishes: Any
) -> httpx2.Response:
    wanted = {"volume_id": volume, "ref": {"source-name": held}, **wishes}
    return await (caller or house.admin).post("/manageable_snapshots", {"snapshot": wanted})


async def adopt(house: House, volume: str, held: str = "old") -> str:
    """A snapshot that was asked for and is settled; its id."""
    reply = await ask(house, volume, held)
    assert reply.status_code == 202, reply.text
    await house.quiet()
    return str(reply.json()["snapshot"]["id"])


async def show(house: House, ident: str) -> dict[str, Any]:
    reply = await house.member.get(f"/snapshots/{ident}")
    shown: dict[str, Any] = reply.json().get("snapshot", {"status": "gone"})
    return shown


async def test_an_adopted_snapshot_has_its_own_size(house: House) -> None:
    volume = await house.volume(3)
    house.driver.strange_snapshots["old"] = (volume, 2)
    reply = await ask(house, volume, name="one", description="two", metadata={"k": "v"})
    assert reply.status_code == 202, reply.text
    shown = reply.json()["snapshot"]
    assert (shown["status"], shown["size"], shown["volume_id"]) == ("creating", 3, volume)
    assert "user_id" not in shown
    await house.quiet()
    shown = await show(house, shown["id"])
    assert (shown["status"], shown["size"], shown["name"]) == ("available", 2, "one")
    assert (shown["description"], shown["metadata"]) == ("two", {"k": "v"})
    count = await used(house)
    assert (count["snapshots"], count["gigabytes"]) == (1, 5)
    assert await violations(house) == []
    assert rules(await sweep(house)) == []


async def test_the_older_path_knows_no_version(house: House) -> None:
    volume = await house.volume()
    body = {"snapshot": {"volume_id": volume, "ref": "old"}}
    assert (await house.admin.post("/manageable_snapshots", body, "3.7")).status_code == 404
    assert (await house.admin.post("/os-snapshot-manage", body, "3.0")).status_code == 202


async def test_it_is_deleted_with_its_bytes(house: House) -> None:
    volume = await house.volume()
    house.driver.strange_snapshots["old"] = (volume, 1)
    ident = await adopt(house, volume)
    assert (await house.member.delete(f"/snapshots/{ident}")).status_code == 202
    await house.quiet()
    assert ("delete_snapshot", ident) in house.driver.calls
    assert house.driver.snapshots == {} and house.driver.strange_snapshots == {}


class TestWhatFails:
    async def test_what_is_of_another_volume(self, house: House) -> None:
        volume = await house.volume()
        house.driver.strange_snapshots["old"] = (await house.volume(), 1)
        ident = await adopt(house, volume)
        assert (await show(house, ident))["status"] == "error"
        (message,) = await house.messages()
        assert "of another volume" in message
        assert await violations(house) == []

    async def test_two_that_want_the_same_do_not_both_get_it(self, house: House) -> None:
        volume = await house.volume()
        house.driver.strange_snapshots["old"] = (volume, 1)
        replies = await asyncio.gather(ask(house, volume), ask(house, volume))
        await house.quiet()
        found = [(await show(house, one.json()["snapshot"]["id"]))["status"] for one in replies]
        assert sorted(found) == ["available", "error"]

    async def test_too_large_for_the_quota_it_is_let_go_of(self, house: House) -> None:
        volume = await house.volume(2)
        house.driver.strange_snapshots["old"] = (volume, 9)
        body = {"quota_set": {"gigabytes": 5}}
        await house.admin.put(f"/os-quota-sets/{PROJECT}", body)
        ident = await adopt(house, volume)
        assert (await show(house, ident))["status"] == "error"
        assert house.driver.snapshots == {}
        assert house.driver.strange_snapshots == {"old": (volume, 9)}
        assert (await used(house))["gigabytes"] == 4
        (message,) = await house.messages()
        assert "9 GiB" in message

    async def test_no_snapshot_more_is_refused_at_once(self, house: House) -> None:
        volume = await house.volume()
        await house.admin.put(f"/os-quota-sets/{PROJECT}", {"quota_set": {"snapshots": 0}})
        assert (await ask(house, volume)).status_code == 413

    @pytest.mark.parametrize("cascade", [False, True])
    async def test_deleting_it_lets_go_of_what_was_adopted_half(
        self, house: House, cascade: bool
    ) -> None:
        volume = await house.volume(2)
        house.driver.strange_snapshots["old"] = (volume, 9)
        house.driver.failures["release_snapshot"] = PermanentError("It will not.")
        await house.admin.put(f"/os-quota-sets/{PROJECT}", {"quota_set": {"gigabytes": 5}})
        ident = await adopt(house, volume)
        assert house.driver.snapshots == {ident: volume}
        house.driver.failures.clear()
        path = f"/volumes/{volume}?cascade=true" if cascade else f"/snapshots/{ident}"
        assert (await house.member.delete(path)).status_code == 202
        await house.quiet()
        assert (await show(house, ident))["status"] == "gone"
        assert house.driver.snapshots == {}
        assert house.driver.strange_snapshots == {"old": (volume, 9)}
        assert ("delete_snapshot", ident) not in house.driver.calls

    async def test_a_late_adoption_after_its_deletion_is_let_go_of(self, house: House) -> None:
        volume = await house.volume()
        ident = await adopt(house, volume)
        await house.member.delete(f"/snapshots/{ident}")
        await house.quiet()
        house.driver.strange_snapshots["old"] = (volume, 1)
        late = Snapshot(ident, volume, 1, "pool0")
        house.driver.adopt_snapshot(late, {"source-name": "old"})
        assert rules(await sweep(house)) == [("released", ident)]
        assert house.driver.strange_snapshots == {"old": (volume, 1)}
        assert ("release_snapshot", ident) in house.driver.calls


class TestRefusals:
    @pytest.mark.parametrize(
        ("wishes", "named", "status"),
        [
            ({"volume_id": MISSING}, MISSING, 404),
            ({"volume_id": "no-id"}, "volume_id", 400),
            ({"volume_id": None}, "volume_id", 400),
            ({"ref": None}, "ref", 400),
            ({"ref": {}}, "ref", 400),
            ({"ref": {"source-name": None}}, "source-name", 400),
            ({"name": "x" * 256}, "name", 400),
            ({"description": "a\nb"}, "description", 400),
            ({"metadata": {"k": None}}, "metadata", 400),
            ({"size": 1}, "size", 400),
        ],
    )
    async def test_bad_input_names_the_field(
        self, house: House, wishes: dict[str, Any], named: str, status: int
    ) -> None:
        reply = await ask(house, await house.volume(), **wishes)
        assert reply.status_code == status, reply.text
        (fault,) = reply.json().values()
        assert named in fault["message"]

    async def test_administrators_only(self, house: House) -> None:
        volume = await house.volume()
        assert (await ask(house, volume, caller=house.member)).status_code == 403
        assert (await ask(house, volume, caller=house.other)).status_code == 404

    async def test_a_service_that_does_not_work(self, house: House) -> None:
        volume = await house.volume()
        await house.app.store.write(lambda tx: services.withdraw(tx, services.VOLUME, BACKEND))
        assert (await ask(house, volume)).status_code == 400

    @pytest.mark.parametrize("status", ["error", "maintenance", "error_managing"])
    async def test_a_volume_that_is_not_well(self, house: House, status: str) -> None:
        volume = await house.volume()
        await house.put(volume, status=status)
        assert (await ask(house, volume)).status_code == 400


class TestLists:
    async def test_in_short_and_in_full(self, house: House) -> None:
        volume = await house.volume()
        house.driver.strange_snapshots |= {"b": (volume, 2), "c": (volume, 1)}
        ours = await adopt(house, volume, "b")
        path = f"/manageable_snapshots?host={BACKEND}"
        first = (await house.admin.get(path, "3.8")).json()["manageable-snapshots"][0]
        assert first == {
            "reference": {"source-name": "c"},
            "size": 1,
            "safe_to_manage": True,
            "source_reference": {"source-name": "volume"},
        }
        reply = await house.admin.get(f"/os-snapshot-manage/detail?host={BACKEND}", "3.0")
        _, taken = reply.json()["manageable-snapshots"]
        assert (taken["cinder_id"], taken["safe_to_manage"]) == (ours, False)
        assert taken["reason_not_safe"] == "It is ours."

    async def test_the_newer_path_and_its_details(self, house: House) -> None:
        path = f"/manageable_snapshots/detail?host={BACKEND}"
        assert (await house.admin.get(path, "3.7")).status_code == 404
        reply = await house.admin.get(path)
        assert reply.json() == {"manageable-snapshots": []}
        assert (await house.admin.get(f"/os-snapshot-manage?host={BACKEND}")).status_code == 200

    async def test_a_backend_that_cannot_is_told_of(self, house: House) -> None:
        house.driver.failures["manageable_snapshots"] = PermanentError("It keeps no lists.")
        reply = await house.admin.get(f"/manageable_snapshots?host={BACKEND}")
        assert reply.status_code == 400
        assert "It keeps no lists." in reply.json()["badRequest"]["message"]

    async def test_administrators_only(self, house: House) -> None:
        path = f"/manageable_snapshots?host={BACKEND}"
        assert (await house.member.get(path)).status_code == 403
