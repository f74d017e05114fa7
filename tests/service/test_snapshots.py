"""Snapshots over HTTP."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError
from tests.service.catalog_fixture import OTHER, PROJECT
from tests.service.house import House, open_house

BASE = (
    "id",
    "created_at",
    "updated_at",
    "name",
    "description",
    "volume_id",
    "status",
    "size",
    "metadata",
)
EXTENDED = (
    "os-extended-snapshot-attributes:project_id",
    "os-extended-snapshot-attributes:progress",
)


async def test_a_new_snapshot_is_creating_and_becomes_available(house: House) -> None:
    volume = await house.volume(3)
    reply = await house.member.post("/snapshots", {"snapshot": {"volume_id": volume, "name": "s"}})
    assert reply.status_code == 202
    created = reply.json()["snapshot"]
    assert (created["status"], created["size"], created["name"]) == ("creating", 3, "s")
    await house.quiet()
    shown = (await house.member.get(f"/snapshots/{created['id']}")).json()["snapshot"]
    assert (shown["status"], shown[EXTENDED[1]]) == ("available", "100%")
    assert house.driver.snapshots == {created["id"]: volume}
    assert await house.status(volume) == "available"


@pytest.mark.parametrize(("wish", "status"), [({"volume_id": None}, 404), ({"name": "x"}, 400)])
async def test_a_snapshot_needs_a_volume(house: House, wish: dict[str, Any], status: int) -> None:
    assert (await house.member.post("/snapshots", {"snapshot": wish})).status_code == status


@pytest.mark.parametrize(
    ("version", "wish", "status"),
    [
        ("3.65", {}, 400),
        ("3.65", {"force": False}, 400),
        ("3.65", {"force": "true"}, 202),
        ("3.66", {}, 202),
        ("3.66", {"force": True}, 202),
        ("3.66", {"force": False}, 400),
    ],
)
async def test_a_volume_in_use_is_taken_by_force_or_from_3_66(
    house: House, version: str, wish: dict[str, Any], status: int
) -> None:
    volume = await house.volume()
    await house.in_use(volume)
    body = {"snapshot": {"volume_id": volume, **wish}}
    assert (await house.member.post("/snapshots", body, version)).status_code == status


async def test_another_projects_volume_is_not_found(house: House) -> None:
    body = {"snapshot": {"volume_id": await house.volume()}}
    assert (await house.other.post("/snapshots", body)).status_code == 404
    assert (await house.reader.post("/snapshots", body)).status_code == 403


async def test_a_failed_snapshot_ends_in_error_with_a_message(house: House) -> None:
    house.driver.failures["snapshot"] = PermanentError("no space for it")
    ident = await house.snapshot(await house.volume())
    assert (await house.member.get(f"/snapshots/{ident}")).json()["snapshot"]["status"] == "error"
    told = (await house.member.get("/messages")).json()["messages"]
    assert "no space for it" in told[0]["user_message"]


async def test_snapshots_count_in_the_quota(tmp_path: Path) -> None:
    async with open_house(tmp_path, quota={"snapshots": 1}) as house:
        volume = await house.volume()
        ident = await house.snapshot(volume)
        reply = await house.member.post("/snapshots", {"snapshot": {"volume_id": volume}})
        assert reply.status_code == 413
        assert reply.json()["overLimit"]["message"].startswith("SnapshotLimitExceeded:")
        await house.member.delete(f"/snapshots/{ident}")
        await house.quiet()
        assert await house.snapshot(volume)


@pytest.mark.parametrize("minor", [0, 13, 14, 40, 41, 64, 65, 71])
async def test_a_snapshot_shows_the_fields_of_its_version(house: House, minor: int) -> None:
    ident = await house.snapshot(await house.volume())
    new = ((14, "group_snapshot_id"), (41, "user_id"), (65, "consumes_quota"))
    later = [name for since, name in new if minor >= since]
    shown = (await house.member.get(f"/snapshots/{ident}", f"3.{minor}")).json()["snapshot"]
    assert list(shown) == [*BASE, *later, *EXTENDED]
    (plain,) = (await house.member.get("/snapshots", f"3.{minor}")).json()["snapshots"]
    assert list(plain) == list(BASE)
    (detailed,) = (await house.member.get("/snapshots/detail", f"3.{minor}")).json()["snapshots"]
    assert detailed == shown


async def test_name_and_description_are_changed(house: House) -> None:
    ident = await house.snapshot(await house.volume(), name="old")
    body = {"snapshot": {"display_name": "new", "description": None}}
    changed = (await house.member.put(f"/snapshots/{ident}", body)).json()["snapshot"]
    assert (changed["name"], changed["description"]) == ("new", None)
    assert not set(changed) & set(EXTENDED)
    assert (await house.member.put(f"/snapshots/{ident}", {"snapshot": {}})).status_code == 400


async def test_deleting_removes_the_snapshot_from_the_backend(house: House) -> None:
    ident = await house.snapshot(await house.volume())
    assert (await house.member.delete(f"/snapshots/{ident}")).status_code == 202
    await house.quiet()
    assert house.driver.snapshots == {}
    assert (await house.member.get(f"/snapshots/{ident}")).status_code == 404


async def test_an_administrator_deletes_and_resets_by_force(house: House) -> None:
    house.driver.gates["snapshot"] = threading.Event()
    volume = await house.volume()
    reply = await house.member.post("/snapshots", {"snapshot": {"volume_id": volume}})
    ident = reply.json()["snapshot"]["id"]
    at = f"/snapshots/{ident}/action"
    assert (
        await house.member.post(at, {"os-reset_status": {"status": "error"}})
    ).status_code == 403
    reset = await house.admin.post(at, {"os-reset_status": {"status": "Deleting"}})
    assert reset.status_code == 202
    assert (await house.admin.post(at, {"os-reset_status": {"status": "x"}})).status_code == 400
    assert (await house.member.delete(f"/snapshots/{ident}")).status_code == 400
    assert (await house.admin.post(at, {"os-force_delete": None})).status_code == 202
    house.driver.gates["snapshot"].set()
    await house.quiet()
    assert (await house.member.get(f"/snapshots/{ident}")).status_code == 404
    usage = await house.member.get(f"/os-quota-sets/{PROJECT}?usage=true")
    assert usage.json()["quota_set"]["snapshots"]["in_use"] == 0


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("name=s", 1),
        ("name=t", 0),
        ("status=available", 1),
        ("metadata={'k': 'v'}", 1),
        ("availability_zone=nova", 1),
        ("availability_zone=mars", 0),
    ],
)
async def test_lists_are_filtered(house: House, query: str, count: int) -> None:
    await house.snapshot(await house.volume(), name="s", metadata={"k": "v"})
    listed = (await house.member.get(f"/snapshots?{query}&with_count=true")).json()
    assert (len(listed["snapshots"]), listed["count"]) == (count, count)


async def test_administrators_filter_by_host_and_see_all_projects(house: House) -> None:
    ident = await house.snapshot(await house.volume())
    admin = house.caller("admin", OTHER)
    for query, found in (("host=node1@fast", [ident]), ("host=node2", [])):
        listed = (await admin.get(f"/snapshots?all_tenants=1&{query}")).json()["snapshots"]
        assert [one["id"] for one in listed] == found
    assert (await admin.get("/snapshots?all_tenants=nonsense")).json()["snapshots"] == []
    assert (await house.other.get(f"/snapshots/{ident}")).status_code == 404


async def test_the_size_of_the_volume_sorts_and_filters_by_either_name(house: House) -> None:
    small = await house.snapshot(await house.volume())
    big = await house.snapshot(await house.volume(size=2))
    for key in ("size", "volume_size"):
        for direction, wanted in (("asc", [small, big]), ("desc", [big, small])):
            reply = await house.member.get(f"/snapshots?sort={key}:{direction}")
            assert [one["id"] for one in reply.json()["snapshots"]] == wanted
        reply = await house.admin.get(f"/snapshots?{key}=2")
        assert [one["id"] for one in reply.json()["snapshots"]] == [big]
