"""Volumes over HTTP: create, list, show, change, delete."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError
from breezeblock.store.tables import volume_types
from tests.overheard import overheard
from tests.service.catalog_fixture import OTHER, PROJECT
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house

NOBODY = "11111111-1111-1111-1111-111111111111"


async def test_a_new_volume_is_creating_and_becomes_available(house: House) -> None:
    reply = await house.member.post("/volumes", {"volume": {"size": 2, "name": " data "}})
    assert reply.status_code == 202
    created = reply.json()["volume"]
    assert (created["status"], created["size"], created["name"]) == ("creating", 2, "data")
    assert created["volume_type"] == "__DEFAULT__"
    assert created["updated_at"] is None

    await house.quiet()

    shown = await house.show(created["id"])
    assert (shown["status"], shown["availability_zone"]) == ("available", "nova")
    assert house.driver.sizes == {created["id"]: 2}


async def test_clients_may_send_null_for_all_they_do_not_ask_for(house: House) -> None:
    wish = dict.fromkeys(
        (
            "consistencygroup_id",
            "snapshot_id",
            "name",
            "description",
            "volume_type",
            "availability_zone",
            "imageRef",
            "source_volid",
            "backup_id",
        )
    )
    reply = await house.member.post("/volumes", {"volume": {**wish, "size": 1, "metadata": {}}})
    assert reply.status_code == 202


async def test_the_older_names_of_name_and_description_work(house: House) -> None:
    wish = {"size": 1, "display_name": "n", "display_description": "d"}
    reply = await house.member.post("/volumes", {"volume": wish})
    created = reply.json()["volume"]
    assert (created["name"], created["description"]) == ("n", "d")


async def test_a_type_is_found_by_name_and_by_id(house: House) -> None:
    gold = await house.new_type("gold")
    for asked in ("gold", gold["id"]):
        shown = await house.show(await house.volume(volume_type=asked))
        assert (shown["volume_type"], shown["volume_type_id"]) == ("gold", gold["id"])


async def test_a_private_type_of_others_is_not_found(house: House) -> None:
    await house.new_type("secret", is_public=False)
    reply = await house.member.post("/volumes", {"volume": {"size": 1, "volume_type": "secret"}})
    assert reply.status_code == 404


async def test_a_missing_default_type_is_the_operators_error(house: House) -> None:
    await house.app.store.write(lambda tx: tx.run(volume_types.delete()))
    reply = await house.member.post("/volumes", {"volume": {"size": 1}})
    assert reply.status_code == 500
    assert "__DEFAULT__ does not exist" in reply.json()["computeFault"]["message"]


async def test_a_type_makes_the_volume_multiattach(house: House) -> None:
    name = await house.multiattach_type()
    assert (await house.show(await house.volume(volume_type=name)))["multiattach"] is True


async def test_multiattach_cannot_be_asked_for_directly(house: House) -> None:
    reply = await house.member.post("/volumes", {"volume": {"size": 1, "multiattach": True}})
    assert reply.status_code == 400
    assert "volume type" in reply.json()["badRequest"]["message"]


@pytest.mark.parametrize("size", [3, 4])
async def test_a_type_bounds_the_size(house: House, size: int) -> None:
    specs = {"provisioning:min_vol_size": "2", "provisioning:max_vol_size": "3"}
    await house.new_type("bound", extra_specs=specs)
    reply = await house.member.post("/volumes", {"volume": {"size": size, "volume_type": "bound"}})
    assert reply.status_code == (202 if size == 3 else 400)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"imageRef": "some-image"}, "imageRef: the image some-image could not be found"),
        ({"image_id": "some-image"}, "image_id: the image some-image could not be found"),
        ({"backup_id": NOBODY}, "no backup service"),
        ({"source_volid": NOBODY, "snapshot_id": NOBODY}, "only one"),
        ({"availability_zone": "mars"}, "no zone mars"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_reason(
    house: House, wish: dict[str, Any], words: str
) -> None:
    reply = await house.member.post("/volumes", {"volume": {"size": 1, **wish}})
    assert reply.status_code == 400
    assert words in reply.json()["badRequest"]["message"]


async def test_an_unknown_group_is_not_found(house: House) -> None:
    wish = {"size": 1, "group_id": NOBODY, "volume_type": "__DEFAULT__"}
    assert (await house.member.post("/volumes", {"volume": wish}, "3.13")).status_code == 404
    assert (await house.member.post("/volumes", {"volume": wish}, "3.12")).status_code == 202


async def test_a_clone_takes_over_size_type_and_zone(house: House) -> None:
    await house.new_type("gold")
    source = await house.volume(3, volume_type="gold")
    await house.act(source, "os-set_bootable", {"bootable": True})

    reply = await house.member.post("/volumes", {"volume": {"source_volid": source}})
    await house.quiet()

    shown = await house.show(reply.json()["volume"]["id"])
    assert (shown["size"], shown["volume_type"], shown["bootable"]) == (3, "gold", "true")
    assert (shown["status"], shown["source_volid"]) == ("available", source)
    assert house.driver.origins == {shown["id"]: source}


async def test_a_volume_is_made_from_a_snapshot(house: House) -> None:
    source = await house.volume(2)
    snapshot = await house.snapshot(source)
    shown = await house.show(await house.volume(5, snapshot_id=snapshot))
    assert (shown["status"], shown["size"], shown["snapshot_id"]) == ("available", 5, snapshot)
    assert house.driver.origins == {shown["id"]: snapshot}


async def test_a_copy_cannot_be_smaller_than_its_source(house: House) -> None:
    source = await house.volume(3)
    reply = await house.member.post("/volumes", {"volume": {"size": 2, "source_volid": source}})
    assert reply.status_code == 400


async def test_another_projects_volume_is_no_source(house: House) -> None:
    source = await house.volume()
    reply = await house.other.post("/volumes", {"volume": {"source_volid": source}})
    assert reply.status_code == 404


async def test_a_volume_that_is_not_ready_is_no_source(house: House) -> None:
    source = await house.volume()
    await house.put(source, status="error")
    reply = await house.member.post("/volumes", {"volume": {"source_volid": source}})
    assert reply.status_code == 400


async def test_zones_are_kept(tmp_path: Path) -> None:
    drivers = [FakeDriver("a"), FakeDriver("b")]
    async with open_house(tmp_path, drivers, zones=("nova", "east")) as house:
        ident = await house.volume(availability_zone="east")
        assert (await house.show(ident))["availability_zone"] == "east"
        assert list(drivers[1].sizes) == [ident]
        wish = {"source_volid": ident, "availability_zone": "nova"}
        reply = await house.member.post("/volumes", {"volume": wish})
        assert reply.status_code == 400
        assert "source is in zone east" in reply.json()["badRequest"]["message"]


async def test_hints_reach_the_scheduler(tmp_path: Path) -> None:
    drivers = [FakeDriver("a"), FakeDriver("b")]
    async with open_house(tmp_path, drivers) as house:
        first = await house.volume()
        home = (await house.show(first, house.admin))["os-vol-host-attr:host"]
        for hint, same in (("same_host", True), ("different_host", False)):
            body = {"volume": {"size": 1}, "OS-SCH-HNT:scheduler_hints": {hint: first}}
            reply = await house.member.post("/volumes", body)
            await house.quiet()
            shown = await house.show(reply.json()["volume"]["id"], house.admin)
            assert (shown["os-vol-host-attr:host"] == home) is same


async def test_a_hint_that_is_no_id_is_refused(house: House) -> None:
    body = {"volume": {"size": 1}, "OS-SCH-HNT:scheduler_hints": {"same_host": ["nope"]}}
    assert (await house.member.post("/volumes", body)).status_code == 400


async def test_the_quota_is_kept_and_given_back(tmp_path: Path) -> None:
    async with open_house(tmp_path, quota={"volumes": 1, "gigabytes": 3}) as house:
        ident = await house.volume(2)
        reply = await house.member.post("/volumes", {"volume": {"size": 1}})
        assert reply.status_code == 413
        assert reply.headers["retry-after"] == "0"
        message = reply.json()["overLimit"]["message"]
        assert message.startswith("VolumeLimitExceeded:")
        assert " exceeded" in message  # else clients take it for a limit of requests a second
        await house.member.delete(f"/volumes/{ident}")
        await house.quiet()
        assert await house.volume(3)


async def test_one_volume_may_not_be_larger_than_the_limit(tmp_path: Path) -> None:
    async with open_house(tmp_path, quota={"per_volume_gigabytes": 2}) as house:
        reply = await house.member.post("/volumes", {"volume": {"size": 3}})
        assert reply.status_code == 413
        assert reply.json()["overLimit"]["message"].startswith("VolumeSizeExceedsLimit:")
        ident = await house.volume(2)
        assert (await house.act(ident, "os-extend", {"new_size": 3})).status_code == 413


async def test_a_failed_creation_ends_in_error_with_a_message(house: House) -> None:
    house.driver.failures["create"] = PermanentError("the disk is full")
    ident = await house.volume()
    assert await house.status(ident) == "error"
    told = (await house.member.get("/messages")).json()["messages"]
    assert "the disk is full" in told[0]["user_message"]


# -- views -------------------------------------------------------------------------------------

BASE = [
    "id",
    "status",
    "size",
    "availability_zone",
    "created_at",
    "updated_at",
    "name",
    "description",
    "volume_type",
    "snapshot_id",
    "source_volid",
    "metadata",
    "links",
    "user_id",
    "bootable",
    "encrypted",
    "replication_status",
    "consistencygroup_id",
    "multiattach",
    "attachments",
]
NEW_FOR_ALL = [
    (13, ["group_id"]),
    (48, ["shared_targets", "service_uuid"]),
    (63, ["volume_type_id"]),
    (65, ["consumes_quota"]),
]
NEW_FOR_ADMINS = [(0, ["migration_status"]), (21, ["provider_id"]), (61, ["cluster_name"])]
EXTENDED_FOR_ADMINS = [
    "os-vol-host-attr:host",
    "os-vol-mig-status-attr:migstat",
    "os-vol-mig-status-attr:name_id",
]


@pytest.mark.parametrize("minor", [0, 12, 13, 20, 21, 47, 48, 60, 61, 62, 63, 64, 65, 71])
@pytest.mark.parametrize("role", ["member", "admin"])
async def test_a_volume_shows_the_fields_of_its_version_and_reader(
    house: House, role: str, minor: int
) -> None:
    ident = await house.volume()
    reply = await house.caller(role).get(f"/volumes/{ident}", f"3.{minor}")
    admin = role == "admin"
    table = NEW_FOR_ALL + (NEW_FOR_ADMINS if admin else [])
    expected = {*BASE, "os-vol-tenant-attr:tenant_id", *(EXTENDED_FOR_ADMINS if admin else ())}
    expected |= {name for since, names in table if minor >= since for name in names}
    assert set(reply.json()["volume"]) == expected


async def test_replies_to_create_and_update_leave_out_the_extended_fields(house: House) -> None:
    ident = await house.volume()
    reply = await house.admin.put(f"/volumes/{ident}", {"volume": {"name": "n"}})
    assert not [key for key in reply.json()["volume"] if key.startswith("os-vol-")]


async def test_fields_come_in_the_wires_order(house: House) -> None:
    shown = await house.show(await house.volume())
    assert list(shown)[: len(BASE)] == BASE


async def test_times_have_microseconds_and_no_zone(house: House) -> None:
    created = (await house.show(await house.volume()))["created_at"]
    assert len(created) == len("2026-01-31T10:20:30.000000")
    assert created[10] == "T"


async def test_links_have_the_project_only_if_the_request_had_it(house: House) -> None:
    ident = await house.volume()
    with_project = await house.member.get(f"/{PROJECT}/volumes/{ident}")
    hrefs = [link["href"] for link in with_project.json()["volume"]["links"]]
    assert hrefs == [
        f"http://cloud/v3/{PROJECT}/volumes/{ident}",
        f"http://cloud/{PROJECT}/volumes/{ident}",
    ]
    assert (await house.show(ident))["links"][0]["href"] == f"http://cloud/v3/volumes/{ident}"


async def test_internal_statuses_have_a_public_name(house: House) -> None:
    ident = await house.volume()
    await house.put(ident, status="error_managing_deleting")
    assert (await house.show(ident))["status"] == "deleting"


async def test_the_service_that_has_the_volume_is_shown(house: House) -> None:
    ident = await house.volume()
    listed = (await house.admin.get("/os-services?binary=cinder-volume")).json()["services"]
    assert listed[0]["host"] == "node1@fast"
    shown = await house.show(ident, house.admin)
    assert shown["os-vol-host-attr:host"] == "node1@fast#pool0"
    assert shown["service_uuid"]


# -- who sees what -----------------------------------------------------------------------------


async def test_only_administrators_see_other_projects_volumes(house: House) -> None:
    ident = await house.volume()
    admin = house.caller("admin", OTHER)
    assert (await house.other.get(f"/volumes/{ident}")).status_code == 404
    assert (await admin.get(f"/volumes/{ident}")).status_code == 200
    assert (await admin.get("/volumes")).json()["volumes"] == []
    everything = (await admin.get("/volumes?all_tenants=1")).json()["volumes"]
    assert [one["id"] for one in everything] == [ident]
    assert (await house.other.get("/volumes?all_tenants=1")).json()["volumes"] == []


@pytest.mark.parametrize(("method", "body"), [("PUT", {"volume": {"name": "x"}}), ("DELETE", None)])
async def test_readers_may_not_change_anything(house: House, method: str, body: Any) -> None:
    ident = await house.volume()
    reply = await house.reader.call(method, f"/volumes/{ident}", body)
    assert reply.status_code == 403
    assert "volume:" in reply.json()["forbidden"]["message"]


# -- lists -------------------------------------------------------------------------------------


async def test_the_plain_list_has_id_name_and_links(house: House) -> None:
    ident = await house.volume(name="data")
    (listed,) = (await house.member.get("/volumes")).json()["volumes"]
    assert (listed["id"], listed["name"]) == (ident, "data")
    assert sorted(listed) == ["id", "links", "name"]


async def test_pages_follow_one_another(house: House) -> None:
    for number in range(3):
        await house.volume(name=f"v{number}")
    first = (await house.member.get("/volumes/detail?limit=2&sort=name:asc")).json()
    assert [one["name"] for one in first["volumes"]] == ["v0", "v1"]
    (link,) = first["volumes_links"]
    second = (await house.member.get(link["href"].removeprefix("http://cloud/v3"))).json()
    assert [one["name"] for one in second["volumes"]] == ["v2"]
    assert "volumes_links" not in second


async def test_an_unknown_marker_is_not_found(house: House) -> None:
    assert (await house.member.get(f"/volumes?marker={NOBODY}")).status_code == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=a", ["a"]),
        ("size=2", ["b"]),
        ("size=[1, 2]", ["a", "b"]),
        ("status=available", ["a", "b"]),
        ("bootable=true", ["b"]),
        ("metadata={'k': 'v'}", ["a"]),
        ("metadata={'k\"': 'v'}", []),
        ("metadata=nonsense", []),
        ("created_at=gt:2020-01-01T00:00:00", ["a", "b"]),
        ("created_at=lt:2020-01-01T00:00:00", []),
        ("consumes_quota=false", []),
        ("migration_status=None", ["a", "b"]),
    ],
)
async def test_lists_are_filtered(house: House, query: str, names: list[str]) -> None:
    await house.volume(1, name="a", metadata={"k": "v", "other": "x"})
    second = await house.volume(2, name="b")
    await house.act(second, "os-set_bootable", {"bootable": True})
    reply = await house.member.get(f"/volumes?sort=name:asc&{query}")
    assert [one["name"] for one in reply.json()["volumes"]] == names


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"readonly": "True"}, ["c", "d"]),
        ({"readonly": "False"}, ["b"]),
        ({"readonly": "true"}, []),
        ({"readonly": "True", "k": "v"}, ["c"]),
        ({"attached_mode": "rw"}, ["b"]),
        ({"attached_mode": "ro"}, ["e"]),
        ({"attached_mode": "rw", "readonly": "False"}, ["b"]),
        ({"attached_mode": "rw", "k": "v"}, []),
        ({"attached_mode": ""}, []),
    ],
    ids=str,
)
async def test_the_metadata_that_is_mixed_in_is_found_by_the_filter(
    house: House, wanted: dict[str, str], names: list[str]
) -> None:
    await house.volume(name="a", metadata={"k": "v"})
    by_action = await house.volume(name="b")
    server = {"instance_uuid": NOBODY, "mountpoint": "/dev/vdb", "mode": "rw"}
    assert (await house.act(by_action, "os-attach", server)).status_code == 202
    flagged = await house.volume(name="c", metadata={"k": "v"})
    await house.act(flagged, "os-update_readonly_flag", {"readonly": True})
    await house.volume(name="d", metadata={"readonly": "True"})
    await house.volume(name="e", metadata={"attached_mode": "ro"})
    await house.in_use(await house.volume(name="f"))  # the newer flow mixes nothing in
    reply = await house.member.get(f"/volumes?sort=name:asc&metadata={wanted}")
    assert [one["name"] for one in reply.json()["volumes"]] == names


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("host=node1", 1),
        ("host=node1@fast", 1),
        ("host=node1@fast%23pool0", 1),
        ("host=node", 0),
        ("host=node1@slow", 0),
        ("name~=at", 1),
        ("size~=1", 1),
        ("display_name=data", 1),
        ("nonsense=1", 0),
    ],
)
async def test_administrators_filter_by_any_column(house: House, query: str, count: int) -> None:
    await house.volume(name="data")
    assert len((await house.admin.get(f"/volumes?{query}")).json()["volumes"]) == count


async def test_with_count_counts_all_matches(house: House) -> None:
    await house.volume()
    await house.volume()
    reply = (await house.member.get("/volumes?limit=1&with_count=true")).json()
    assert (len(reply["volumes"]), reply["count"]) == (1, 2)


async def test_clients_may_sort_by_the_older_name_of_name(house: House) -> None:
    for name in ("b", "a"):
        await house.volume(name=name)
    reply = (await house.member.get("/volumes?sort=display_name:asc")).json()
    assert [one["name"] for one in reply["volumes"]] == ["a", "b"]


async def test_the_summary_counts_and_sums(house: House) -> None:
    await house.volume(1, metadata={"k": "v"})
    await house.volume(2, metadata={"k": "w"})
    await house.volume(4, caller=house.other)
    own = (await house.member.get("/volumes/summary")).json()["volume-summary"]
    assert own == {"total_count": 2, "total_size": 3, "metadata": {"k": ["v", "w"]}}
    older = (await house.member.get("/volumes/summary", "3.35")).json()["volume-summary"]
    assert older == {"total_count": 2, "total_size": 3}
    everything = (await house.admin.get("/volumes/summary?all_tenants=1")).json()
    assert everything["volume-summary"]["total_size"] == 7
    assert (await house.member.get("/volumes/summary", "3.11")).status_code == 404


async def test_a_detailed_list_asks_a_fixed_number_of_questions(house: House) -> None:
    async def questions() -> int:
        with overheard() as statements:
            await house.member.get("/volumes/detail")
        return sum(statement.startswith("SELECT") for statement in statements)

    await house.volume()
    few = await questions()
    assert few > 0
    for _ in range(4):
        await house.volume()
    assert await questions() == few


# -- change ------------------------------------------------------------------------------------


async def test_metadata_in_an_update_replaces_all(house: House) -> None:
    ident = await house.volume(metadata={"old": "1"}, description="d")
    reply = await house.member.put(f"/volumes/{ident}", {"volume": {"metadata": {"new": "2"}}})
    changed = reply.json()["volume"]
    assert (changed["metadata"], changed["description"]) == ({"new": "2"}, "d")
    assert changed["updated_at"] is not None


async def test_an_empty_update_changes_nothing_before_3_53(house: House) -> None:
    ident = await house.volume(name="n")
    reply = await house.member.put(f"/volumes/{ident}", {"volume": {}}, "3.52")
    assert (reply.status_code, reply.json()["volume"]["name"]) == (200, "n")


async def test_a_volume_in_maintenance_is_not_changed(house: House) -> None:
    ident = await house.volume()
    await house.put(ident, status="maintenance")
    reply = await house.member.put(f"/volumes/{ident}", {"volume": {"name": "x"}})
    assert reply.status_code == 400


# -- delete ------------------------------------------------------------------------------------


async def test_deleting_removes_the_volume_from_the_backend(house: House) -> None:
    ident = await house.volume()
    assert (await house.member.delete(f"/volumes/{ident}")).status_code == 202
    await house.quiet()
    assert (await house.member.get(f"/volumes/{ident}")).status_code == 404
    assert house.driver.sizes == {}


async def test_cascade_deletes_the_snapshots_too(house: House) -> None:
    ident = await house.volume()
    snapshot = await house.snapshot(ident)
    assert (await house.member.delete(f"/volumes/{ident}")).status_code == 400
    assert (await house.member.delete(f"/volumes/{ident}?cascade=true")).status_code == 202
    await house.quiet()
    assert house.driver.snapshots == {}
    assert (await house.member.get(f"/snapshots/{snapshot}")).status_code == 404


async def test_cascade_wants_a_boolean(house: House) -> None:
    ident = await house.volume()
    assert (await house.member.delete(f"/volumes/{ident}?cascade=maybe")).status_code == 400


async def test_a_failed_deletion_says_so_and_may_be_repeated_by_force(house: House) -> None:
    ident = await house.volume()
    house.driver.failures["delete"] = PermanentError("the array is locked")
    await house.member.delete(f"/volumes/{ident}")
    await house.quiet()
    assert await house.status(ident) == "error_deleting"
    house.driver.failures.clear()
    assert (await house.admin.delete(f"/volumes/{ident}?force=true")).status_code == 202
    await house.quiet()
    assert await house.status(ident) == "gone"


async def test_force_cuts_short_what_is_under_way(house: House) -> None:
    house.driver.gates["create"] = threading.Event()
    reply = await house.member.post("/volumes", {"volume": {"size": 1}})
    ident = reply.json()["volume"]["id"]
    assert (await house.admin.delete(f"/volumes/{ident}?force=true")).status_code == 202
    house.driver.gates["create"].set()
    await house.quiet()
    assert await house.status(ident) == "gone"
    usage = (await house.member.get(f"/os-quota-sets/{PROJECT}?usage=true")).json()["quota_set"]
    assert (usage["volumes"]["in_use"], usage["gigabytes"]["in_use"]) == (0, 0)


async def test_force_looks_for_remains_on_the_pool_that_was_at_work(tmp_path: Path) -> None:
    first, second = FakeDriver("a"), FakeDriver("b")
    first.failures["create"] = PermanentError("no")
    second.gates["create"] = threading.Event()
    async with open_house(tmp_path, [first, second]) as house:
        reply = await house.member.post("/volumes", {"volume": {"size": 1}})
        ident = reply.json()["volume"]["id"]
        while ("create", ident) not in second.calls:
            await asyncio.sleep(0.01)
        assert (await house.admin.delete(f"/volumes/{ident}?force=true")).status_code == 202
        second.gates["create"].set()
        await house.quiet()
        assert ("delete", ident) in second.calls


async def test_a_volume_without_a_place_is_gone_at_once(tmp_path: Path) -> None:
    async with open_house(tmp_path, [FakeDriver(capacity=1.0)]) as house:
        ident = await house.volume(500, caller=house.member)
        assert await house.status(ident) == "error"
        assert (await house.member.delete(f"/volumes/{ident}")).status_code == 202
        assert await house.status(ident) == "gone"
