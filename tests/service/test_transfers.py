"""Transfers: a project offers a volume, another one takes it over with the key."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from breezeblock.model.ids import new_id
from breezeblock.model.invariants import check_live
from breezeblock.store import facts
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import metadata
from tests.service.catalog_fixture import OTHER, PROJECT, Caller
from tests.service.house import House

NEW, OLD = "/volume-transfers", "/os-volume-transfer"
both_paths = pytest.mark.parametrize("path", [NEW, OLD])


async def offer(
    house: House, volume: str, path: str = NEW, version: str = "3.71", **wishes: Any
) -> dict[str, Any]:
    """Offer a volume of the member's; what the answer tells."""
    reply = await house.member.post(path, {"transfer": {"volume_id": volume, **wishes}}, version)
    assert reply.status_code == 202, reply.text
    made: dict[str, Any] = reply.json()["transfer"]
    return made


async def accept(
    house: House, made: dict[str, Any], caller: Caller | None = None, path: str = NEW
) -> httpx2.Response:
    """Take it over, as the member of the other project unless told otherwise."""
    body = {"accept": {"auth_key": made["auth_key"]}}
    return await (caller or house.other).post(f"{path}/{made['id']}/accept", body)


async def listed(
    house: House, query: str = "", caller: Caller | None = None, version: str = "3.71"
) -> list[str | None]:
    """The names on the list."""
    reply = await (caller or house.member).get(f"{NEW}{query}", version)
    assert reply.status_code == 200, reply.text
    return [one["name"] for one in reply.json()["transfers"]]


async def used(house: House, project: str) -> dict[str, int]:
    """What a project is counted to use, without what it uses nothing of."""
    reply = await house.admin.get(f"/os-quota-sets/{project}?usage=true")
    shown = reply.json()["quota_set"]
    del shown["id"]
    return {name: one["in_use"] for name, one in shown.items() if one["in_use"]}


async def limit(house: House, project: str = OTHER, **limits: int) -> None:
    reply = await house.admin.put(f"/os-quota-sets/{project}", {"quota_set": limits})
    assert reply.status_code == 200, reply.text


async def reset(house: House, volume: str, status: str) -> None:
    reply = await house.act(volume, "os-reset_status", {"status": status}, house.admin)
    assert reply.status_code == 202, reply.text


async def assert_sound(house: House) -> None:
    rows = await house.app.store.read(facts.read)
    held = {"node1@fast": house.driver.inventory()}
    assert [str(one) for one in check_live(rows, held)] == []


# -- offering --------------------------------------------------------------------------------------


@both_paths
async def test_an_offer_is_shown_in_full_with_its_key(house: House, path: str) -> None:
    volume = await house.volume()
    made = await offer(house, volume, path, name=" present ")
    base = f"http://cloud/v3{OLD}/{made['id']}"
    assert made == {
        "id": made["id"],
        "volume_id": volume,
        "name": "present",
        "created_at": made["created_at"],
        "auth_key": made["auth_key"],
        "links": [
            {"rel": "self", "href": base},
            {"rel": "bookmark", "href": base.replace("/v3", "")},
        ],
        "no_snapshots": False,
        "source_project_id": PROJECT,
        "destination_project_id": None,
        "accepted": False,
    }
    assert len(made["auth_key"]) == 16
    assert int(made["auth_key"], 16) >= 0
    assert await house.status(volume) == "awaiting-transfer"
    await assert_sound(house)


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("3.0", set()),
        ("3.54", set()),
        ("3.55", {"no_snapshots"}),
        ("3.56", {"no_snapshots"}),
        (
            "3.57",
            {"no_snapshots", "source_project_id", "destination_project_id", "accepted"},
        ),
    ],
)
@both_paths
async def test_keys_follow_the_version(
    house: House, path: str, version: str, more: set[str]
) -> None:
    made = await offer(house, await house.volume(), path, version)
    always = {"id", "volume_id", "name", "links", "created_at"}
    assert set(made) == always | more | {"auth_key"}
    shown = (await house.member.get(f"{path}/{made['id']}", version)).json()["transfer"]
    assert set(shown) == always | more
    (detailed,) = (await house.member.get(f"{path}/detail", version)).json()["transfers"]
    assert set(detailed) == always | more
    (brief,) = (await house.member.get(path, version)).json()["transfers"]
    assert set(brief) == {"id", "volume_id", "name", "links"}


async def test_the_key_is_nowhere_in_the_database(house: House) -> None:
    made = await offer(house, await house.volume())

    def everything(tx: ReadTx) -> str:
        return "".join(str(tx.rows(table.select())) for table in metadata.sorted_tables)

    text = await house.app.store.read(everything)
    assert made["id"] in text
    assert made["auth_key"] not in text


@pytest.mark.parametrize("status", ["in-use", "error", "awaiting-transfer", "maintenance"])
async def test_only_an_available_volume_can_be_offered(house: House, status: str) -> None:
    volume = await house.volume()
    await house.put(volume, status=status)
    reply = await house.member.post(NEW, {"transfer": {"volume_id": volume}})
    assert reply.status_code == 400
    assert status in reply.json()["badRequest"]["message"]
    assert await listed(house) == []


async def test_a_volume_is_offered_once(house: House) -> None:
    volume = await house.volume()
    body = {"transfer": {"volume_id": volume}}
    replies = await asyncio.gather(*(house.member.post(NEW, body) for _ in range(4)))
    assert sorted(reply.status_code for reply in replies) == [202, 400, 400, 400]
    assert len(await listed(house)) == 1


async def test_a_volume_that_a_host_is_connected_with_stays(house: House) -> None:
    volume = await house.volume()
    connector = {"connector": {"host": "compute1"}}
    assert (await house.act(volume, "os-initialize_connection", connector)).status_code == 200
    reply = await house.member.post(NEW, {"transfer": {"volume_id": volume}})
    assert reply.status_code == 400
    assert "host" in reply.json()["badRequest"]["message"]


async def test_a_volume_that_is_migrated_or_in_a_group_stays(house: House) -> None:
    for values in ({"migration_status": "migrating"}, {"group_id": new_id()}):
        volume = await house.volume()
        await house.put(volume, **values)
        reply = await house.member.post(NEW, {"transfer": {"volume_id": volume}})
        assert reply.status_code == 400


async def test_snapshots_have_to_be_available_unless_they_are_left(house: House) -> None:
    volume = await house.volume()
    await house.put_snapshot(await house.snapshot(volume), status="error")
    reply = await house.member.post(NEW, {"transfer": {"volume_id": volume}})
    assert reply.status_code == 400
    assert (await offer(house, volume, no_snapshots="yes"))["no_snapshots"] is True


@pytest.mark.parametrize(
    ("path", "version", "no_snapshots", "status"),
    [
        (NEW, "3.70", False, 202),
        (NEW, "3.70", True, 400),
        (NEW, "3.69", False, 400),
        (OLD, "3.71", False, 400),
    ],
)
async def test_encrypted_volumes_go_with_their_snapshots_from_3_70(
    house: House, path: str, version: str, no_snapshots: bool, status: int
) -> None:
    volume = await house.volume()
    await house.put(volume, encryption_key_id=new_id())
    wish = {"volume_id": volume, **({"no_snapshots": True} if no_snapshots else {})}
    assert (await house.member.post(path, {"transfer": wish}, version)).status_code == status


@pytest.mark.parametrize(
    ("path", "version"), [(NEW, "3.54"), (OLD, "3.55"), (OLD, "3.71"), (OLD, "3.0")]
)
async def test_no_snapshots_is_for_the_new_path_from_3_55(
    house: House, path: str, version: str
) -> None:
    wish = {"volume_id": await house.volume(), "no_snapshots": True}
    reply = await house.member.post(path, {"transfer": wish}, version)
    assert reply.status_code == 400
    assert "no_snapshots" in reply.json()["badRequest"]["message"]


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"volume_id": None},
        {"volume_id": "nope"},
        {"volume_id": 1},
        {"name": ""},
        {"name": "  "},
        {"name": "n" * 256},
        {"name": 3},
        {"name": ["n"]},
        {"no_snapshots": "x"},
        {"no_snapshots": 1},
        {"no_snapshots": None},
        {"x": 1},
    ],
)
async def test_a_wrong_offer_is_refused_and_changes_nothing(
    house: House, wish: dict[str, Any]
) -> None:
    volume = await house.volume()
    body = {"transfer": {"volume_id": volume, **wish} if wish else {}}
    assert (await house.member.post(NEW, body)).status_code == 400
    assert await house.status(volume) == "available"


@pytest.mark.parametrize(
    "body", [{}, {"transfer": None}, {"transfer": []}, [], "x", {"transfer": {}, "x": 1}, None]
)
@both_paths
async def test_a_wrong_body_is_refused(house: House, path: str, body: Any) -> None:
    assert (await house.member.post(path, body)).status_code == 400


async def test_who_may_offer(house: House) -> None:
    volume = await house.volume()
    body = {"transfer": {"volume_id": volume}}
    assert (await house.other.post(NEW, body)).status_code == 404
    assert (await house.reader.post(NEW, body)).status_code == 403
    assert (await house.member.post(NEW, {"transfer": {"volume_id": new_id()}})).status_code == 404
    assert await house.status(volume) == "available"


async def test_an_administrator_offers_for_the_owner(house: House) -> None:
    volume = await house.volume(caller=house.other)
    reply = await house.admin.post(NEW, {"transfer": {"volume_id": volume, "name": "t"}})
    assert reply.json()["transfer"]["source_project_id"] == OTHER
    assert await listed(house, caller=house.other) == ["t"]
    assert await listed(house, caller=house.admin) == []


# -- what is seen ----------------------------------------------------------------------------------


async def test_an_offer_is_seen_by_its_project_and_administrators(house: House) -> None:
    made = await offer(house, await house.volume(), name="t")
    path = f"{NEW}/{made['id']}"
    callers = (house.member, house.reader, house.admin, house.other)
    assert [(await one.get(path)).status_code for one in callers] == [200, 200, 200, 404]
    assert [await listed(house, caller=one) for one in callers] == [["t"], ["t"], ["t"], []]
    elsewhere = house.caller("admin", OTHER)
    assert await listed(house, caller=elsewhere) == []
    assert await listed(house, "?all_tenants=1", elsewhere) == ["t"]
    assert await listed(house, "?all_tenants=maybe", elsewhere) == []
    assert await listed(house, "?all_tenants=1", house.other) == []
    assert (await house.member.get(f"{NEW}/nope")).status_code == 404


@pytest.fixture
async def three(house: House) -> list[dict[str, Any]]:
    """Offers a, b and c, in this order."""
    return [await offer(house, await house.volume(), name=name) for name in "abc"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "cba"),
        ("?sort=display_name:asc", "abc"),
        ("?sort_key=display_name&sort_dir=asc", "abc"),
        ("?limit=2", "cb"),
        ("?limit=0", "cba"),
        ("?offset=1", "ba"),
        ("?limit=1&offset=1", "b"),
        ("?name=b", "b"),
        ("?display_name=b", "b"),
        ("?name~=b", ""),
        ("?no_snapshots=false", "cba"),
        ("?no_snapshots=true", ""),
        ("?bogus=1", ""),
        ("?with_count=true", "cba"),
        ("?project_id=nobody", "cba"),
    ],
)
async def test_lists_from_3_59(
    house: House, three: list[dict[str, Any]], query: str, names: str
) -> None:
    assert len(three) == 3
    assert await listed(house, query) == list(names)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "abc"),
        ("?sort=display_name:desc", "abc"),
        ("?marker=nope", "abc"),
        ("?limit=2", "ab"),
        ("?limit=1&offset=1", "b"),
        ("?limit=0", "abc"),
        ("?name=b", "b"),
        ("?bogus=1", ""),
    ],
)
async def test_older_lists_are_cut_only(
    house: House, three: list[dict[str, Any]], query: str, names: str
) -> None:
    assert len(three) == 3
    assert await listed(house, query, version="3.58") == list(names)
    older = (await house.member.get(f"{OLD}{query}")).json()
    assert [one["name"] for one in older["transfers"]] == list(names)
    assert set(older) == {"transfers"}


async def test_administrators_filter_by_project(house: House, three: list[dict[str, Any]]) -> None:
    assert len(three) == 3
    path = "?all_tenants=1&project_id="
    assert len(await listed(house, path + PROJECT, house.admin)) == 3
    assert await listed(house, path + OTHER, house.admin) == []


@pytest.mark.parametrize("where", ["", "/detail"])
async def test_pages_follow_each_other(
    house: House, three: list[dict[str, Any]], where: str
) -> None:
    found: list[str] = []
    path = f"{NEW}{where}?limit=2"
    while path:
        page = (await house.member.get(path)).json()
        found += [one["id"] for one in page["transfers"]]
        links = page.get("transfers_links", [])
        path = links[0]["href"].removeprefix("http://cloud/v3") if links else ""
    assert found == [one["id"] for one in reversed(three)]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?limit=-1", 400),
        ("?limit=x", 400),
        ("?offset=-1", 400),
        ("?marker=nope", 404),
        ("?sort=name", 400),
        ("?sort=salt", 400),
        ("?sort=auth_key_hash", 400),
        ("?sort=created_at:up", 400),
    ],
)
async def test_a_wrong_list_query_is_refused(house: House, query: str, status: int) -> None:
    assert (await house.member.get(f"{NEW}{query}")).status_code == status


async def test_what_is_kept_of_keys_cannot_be_asked_for(house: House) -> None:
    await offer(house, await house.volume(), name="t")
    for query in ("?salt~=0", "?auth_key_hash~=0", "?salt=0"):
        assert await listed(house, query, house.admin) == []


# -- withdrawing -----------------------------------------------------------------------------------


@both_paths
async def test_a_withdrawn_offer_leaves_the_volume_as_it_was(house: House, path: str) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    reply = await house.member.delete(f"{path}/{made['id']}")
    assert (reply.status_code, reply.content) == (202, b"")
    assert await house.status(volume) == "available"
    assert (await accept(house, made)).status_code == 404
    assert (await house.member.delete(f"{path}/{made['id']}")).status_code == 404
    await assert_sound(house)


async def test_who_may_withdraw(house: House) -> None:
    volume = await house.volume()
    path = f"{NEW}/{(await offer(house, volume))['id']}"
    assert (await house.other.delete(path)).status_code == 404
    assert (await house.reader.delete(path)).status_code == 403
    assert await house.status(volume) == "awaiting-transfer"
    assert (await house.admin.delete(path)).status_code == 202
    assert await house.status(volume) == "available"


# -- taking over -----------------------------------------------------------------------------------


@both_paths
async def test_who_has_the_key_gets_the_volume(house: House, path: str) -> None:
    volume = await house.volume(2, name="mine", metadata={"k": "v"})
    made = await offer(house, volume, path, name="t")
    reply = await accept(house, made, path=path)
    assert reply.status_code == 202
    taken = reply.json()["transfer"]
    assert taken == {name: made[name] for name in ("id", "volume_id", "name", "links")}
    shown = await house.show(volume, house.other)
    assert (shown["status"], shown["name"], shown["metadata"]) == ("available", "mine", {"k": "v"})
    assert shown["user_id"] == "member-user"
    assert shown["os-vol-tenant-attr:tenant_id"] == OTHER
    assert (await house.member.get(f"/volumes/{volume}")).status_code == 404
    await assert_sound(house)


async def test_an_accepted_offer_is_gone_for_all(house: House) -> None:
    made = await offer(house, await house.volume())
    assert (await accept(house, made)).status_code == 202
    path = f"{NEW}/{made['id']}"
    for caller in (house.member, house.other, house.admin):
        assert (await caller.get(path)).status_code == 404
    assert await listed(house, "?all_tenants=1", house.admin) == []
    assert (await accept(house, made)).status_code == 404


async def test_usage_goes_with_volume_and_snapshots(house: House) -> None:
    volume = await house.volume(2)
    await house.snapshot(volume)
    before = await used(house, PROJECT)
    assert before["gigabytes"] == 4
    assert (await accept(house, await offer(house, volume))).status_code == 202
    assert await used(house, PROJECT) == {}
    assert await used(house, OTHER) == before
    await assert_sound(house)


async def test_snapshots_go_with_the_volume(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    assert (await accept(house, await offer(house, volume))).status_code == 202
    assert (await house.other.get(f"/snapshots/{snapshot}")).status_code == 200
    assert (await house.member.get(f"/snapshots/{snapshot}")).status_code == 404


async def test_snapshots_that_are_left_stay_their_owners(house: House) -> None:
    volume = await house.volume(2)
    snapshot = await house.snapshot(volume)
    assert (await accept(house, await offer(house, volume, no_snapshots=True))).status_code == 202
    assert (await used(house, PROJECT))["gigabytes"] == 2
    assert (await used(house, OTHER))["gigabytes"] == 2
    assert (await house.other.get(f"/snapshots/{snapshot}")).status_code == 404
    for query in ("", "?cascade=true"):
        assert (await house.other.delete(f"/volumes/{volume}{query}")).status_code == 400
    assert (await house.member.delete(f"/snapshots/{snapshot}")).status_code == 202
    await house.quiet()
    assert await used(house, PROJECT) == {}
    assert (await house.other.delete(f"/volumes/{volume}")).status_code == 202
    await house.quiet()
    assert await used(house, OTHER) == {}
    await assert_sound(house)


async def test_snapshots_of_a_third_project_stay_there(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    assert (await accept(house, await offer(house, volume, no_snapshots=True))).status_code == 202
    third = house.caller("member", "2c1d2e3f405162738495a6b7c8d9eaf2")
    reply = await house.other.post(NEW, {"transfer": {"volume_id": volume}})
    assert (await accept(house, reply.json()["transfer"], third)).status_code == 202
    assert (await house.member.get(f"/snapshots/{snapshot}")).status_code == 200
    await assert_sound(house)


async def test_what_was_taken_over_can_be_used_and_given_back(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    assert (await accept(house, await offer(house, volume))).status_code == 202
    clone = await house.volume(caller=house.other, snapshot_id=snapshot)
    assert await house.status(clone) == "available"
    reply = await house.other.post(OLD, {"transfer": {"volume_id": volume}})
    assert (await accept(house, reply.json()["transfer"], house.member)).status_code == 202
    assert (await house.member.delete(f"/volumes/{volume}?cascade=true")).status_code == 202
    await house.quiet()
    assert await used(house, PROJECT) == {}
    await assert_sound(house)


async def test_the_owner_himself_may_accept(house: House) -> None:
    volume = await house.volume()
    before = await used(house, PROJECT)
    assert (await accept(house, await offer(house, volume), house.member)).status_code == 202
    assert await house.status(volume) == "available"
    assert await used(house, PROJECT) == before


@pytest.mark.parametrize("key", ["bad", "", "é", "0" * 1000, 1, 10**30])
async def test_a_wrong_key_opens_nothing(house: House, key: object) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    reply = await accept(house, {**made, "auth_key": key})
    assert reply.status_code == 400
    assert await house.status(volume) == "awaiting-transfer"
    assert (await accept(house, made)).status_code == 202


async def test_the_key_of_one_offer_does_not_open_another(house: House) -> None:
    mine = await offer(house, await house.volume())
    yours = await offer(house, await house.volume())
    reply = await accept(house, {**mine, "auth_key": yours["auth_key"]})
    assert reply.status_code == 400


async def test_a_key_of_digits_alone_may_be_a_number(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("breezeblock.model.transfers.new_auth_key", lambda: "1234567890123456")
    made = await offer(house, await house.volume())
    assert (await accept(house, {**made, "auth_key": 1234567890123456})).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"accept": None},
        {"accept": {}},
        {"accept": {"auth_key": None}},
        {"accept": {"auth_key": True}},
        {"accept": {"auth_key": 1.5}},
        {"accept": {"auth_key": ["x"]}},
        {"accept": {"auth_key": "x", "y": 1}},
        {"accept": {"auth_key": "x"}, "y": 1},
    ],
)
@both_paths
async def test_a_wrong_acceptance_is_refused(house: House, path: str, body: Any) -> None:
    made = await offer(house, await house.volume())
    reply = await house.other.post(f"{path}/{made['id']}/accept", body)
    assert reply.status_code == 400


async def test_who_may_accept(house: House) -> None:
    made = await offer(house, await house.volume())
    assert (await accept(house, made, house.caller("reader", OTHER))).status_code == 403
    assert (await accept(house, {**made, "id": "nope"})).status_code == 404


@both_paths
@pytest.mark.parametrize(
    "quota",
    [
        {"volumes": 0},
        {"gigabytes": 3},
        {"snapshots": 0},
        {"per_volume_gigabytes": 1},
        {"volumes___DEFAULT__": 0},
        {"gigabytes___DEFAULT__": 3},
        {"snapshots___DEFAULT__": 0},
    ],
    ids=str,
)
async def test_over_quota_changes_nothing(house: House, quota: dict[str, int], path: str) -> None:
    volume = await house.volume(2)
    snapshot = await house.snapshot(volume)
    before = await used(house, PROJECT)
    made = await offer(house, volume)
    await limit(house, **quota)
    reply = await accept(house, made, path=path)
    assert (reply.status_code, reply.headers["Retry-After"]) == (413, "0")
    message = reply.json()["overLimit"]["message"]
    # The kind of limit is not named here; clients look for the word.
    assert (message.partition(" ")[0].endswith(":"), "exceeded" in message) == (False, True)
    assert await house.status(volume) == "awaiting-transfer"
    assert (await house.member.get(f"/snapshots/{snapshot}")).status_code == 200
    assert (await used(house, PROJECT), await used(house, OTHER)) == (before, {})
    await assert_sound(house)
    await limit(house, **dict.fromkeys(quota, -1))
    assert (await accept(house, made)).status_code == 202


async def test_a_full_quota_does_not_keep_one_from_giving(house: House) -> None:
    volume = await house.volume()
    await limit(house, PROJECT, volumes=1, gigabytes=1)
    assert (await accept(house, await offer(house, volume))).status_code == 202


async def test_a_private_type_has_to_be_the_receivers_too(house: House) -> None:
    made = await house.new_type("private", is_public=False)
    path = f"/types/{made['id']}/action"
    await house.admin.post(path, {"addProjectAccess": {"project": PROJECT}})
    volume = await house.volume(volume_type="private")
    offered = await offer(house, volume)
    assert (await accept(house, offered)).status_code == 404
    assert await house.status(volume) == "awaiting-transfer"
    await house.admin.post(path, {"addProjectAccess": {"project": OTHER}})
    assert (await accept(house, offered)).status_code == 202
    assert (await used(house, OTHER))["volumes_private"] == 1
    await assert_sound(house)


async def test_a_snapshot_that_is_no_longer_available_holds_the_volume(house: House) -> None:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    made = await offer(house, volume)
    await house.put_snapshot(snapshot, status="error")
    assert (await accept(house, made)).status_code == 400
    assert await house.status(volume) == "awaiting-transfer"
    await house.put_snapshot(snapshot, status="available")
    assert (await accept(house, made)).status_code == 202


async def test_a_host_that_was_let_in_meanwhile_holds_the_volume(house: House) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    connector = {"connector": {"host": "compute1"}}
    assert (await house.act(volume, "os-initialize_connection", connector)).status_code == 200
    assert (await accept(house, made)).status_code == 400
    assert (await house.act(volume, "os-terminate_connection", connector)).status_code == 202
    await house.quiet()
    assert await house.status(volume) == "awaiting-transfer"
    assert (await accept(house, made)).status_code == 202
    await assert_sound(house)


async def test_an_attachment_that_is_completed_after_all_ends_the_offer(house: House) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    connector = {"connector": {"host": "compute1"}}
    assert (await house.act(volume, "os-initialize_connection", connector)).status_code == 200
    (one,) = (await house.member.get("/attachments")).json()["attachments"]
    reply = await house.member.post(f"/attachments/{one['id']}/action", {"os-complete": None})
    assert reply.status_code == 204
    assert await house.status(volume) == "in-use"
    assert (await accept(house, made)).status_code == 404
    await assert_sound(house)


# -- a volume that awaits --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("os-extend", {"new_size": 2}),
        ("os-reserve", None),
        ("os-update_readonly_flag", {"readonly": True}),
        ("os-attach", {"mountpoint": "/dev/vdb", "host_name": "h"}),
    ],
)
async def test_what_cannot_be_done_with_it(house: House, action: str, value: Any) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    assert (await house.act(volume, action, value)).status_code == 400
    assert (await accept(house, made)).status_code == 202


async def test_it_cannot_be_deleted_cloned_or_snapshotted(house: House) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 400
    clone = {"volume": {"source_volid": volume}}
    assert (await house.member.post("/volumes", clone)).status_code == 400
    snapshot = {"snapshot": {"volume_id": volume, "force": True}}
    assert (await house.member.post("/snapshots", snapshot)).status_code == 400
    assert (await accept(house, made)).status_code == 202


async def test_a_forced_deletion_ends_the_offer(house: House) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    assert (await house.act(volume, "os-force_delete", None, house.admin)).status_code == 202
    assert (await house.member.get(f"{NEW}/{made['id']}")).status_code == 404
    assert (await accept(house, made)).status_code == 404
    await house.quiet()
    assert await house.status(volume) == "gone"
    await assert_sound(house)


@pytest.mark.parametrize("status", ["available", "error"])
async def test_a_reset_ends_the_offer(house: House, status: str) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    await reset(house, volume, status)
    assert (await accept(house, made)).status_code == 404
    assert await listed(house) == []
    await house.come_due("check_volume")
    assert await house.status(volume) == status
    await assert_sound(house)


async def test_the_key_of_an_ended_offer_does_not_open_the_next_one(house: House) -> None:
    volume = await house.volume()
    first = await offer(house, volume)
    await reset(house, volume, "available")
    second = await offer(house, volume)
    assert (await accept(house, first)).status_code == 404
    assert (await accept(house, {**second, "auth_key": first["auth_key"]})).status_code == 400
    assert (await accept(house, second)).status_code == 202


async def test_a_reset_to_what_it_is_keeps_the_offer(house: House) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    await reset(house, volume, "awaiting-transfer")
    await house.come_due("check_volume")
    assert await house.status(volume) == "awaiting-transfer"
    assert (await accept(house, made)).status_code == 202


async def test_a_reset_without_an_offer_does_not_last(house: House) -> None:
    volume = await house.volume()
    await reset(house, volume, "awaiting-transfer")
    assert await house.status(volume) == "awaiting-transfer"
    await assert_sound(house)
    await house.come_due("check_volume")
    assert await house.status(volume) == "available"


async def test_a_volume_that_its_backend_has_lost_is_not_on_offer(house: House) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    await reset(house, volume, "awaiting-transfer")
    house.driver.sizes.clear()
    await house.come_due("check_volume")
    assert await house.status(volume) == "error"
    assert (await accept(house, made)).status_code == 404
    await assert_sound(house)


# -- at once ---------------------------------------------------------------------------------------


async def test_two_accept_at_once_and_one_gets_it(house: House) -> None:
    volume = await house.volume()
    made = await offer(house, volume)
    third = house.caller("member", "2c1d2e3f405162738495a6b7c8d9eaf2")
    replies = await asyncio.gather(*(accept(house, made, one) for one in (house.other, third) * 3))
    assert sorted(reply.status_code for reply in replies) == [202, 404, 404, 404, 404, 404]
    await assert_sound(house)


async def test_accepted_and_withdrawn_at_once_is_one_of_both(house: House) -> None:
    for _ in range(5):
        made = await offer(house, await house.volume())
        taken, withdrawn = await asyncio.gather(
            accept(house, made), house.member.delete(f"{NEW}/{made['id']}")
        )
        assert sorted((taken.status_code, withdrawn.status_code)) == [202, 404]
        volume = await house.row(made["volume_id"])
        assert volume is not None
        assert volume.project_id == (OTHER if taken.status_code == 202 else PROJECT)
        assert volume.status == "available"
    await assert_sound(house)


async def test_accepted_and_force_deleted_at_once(house: House) -> None:
    for _ in range(5):
        made = await offer(house, await house.volume())
        taken, _ = await asyncio.gather(
            accept(house, made), house.act(made["volume_id"], "os-force_delete", None, house.admin)
        )
        assert taken.status_code in (202, 400, 404)
        await house.quiet()
        assert await house.status(made["volume_id"]) == "gone"
    assert (await used(house, PROJECT), await used(house, OTHER)) == ({}, {})


async def test_accepted_while_a_snapshot_is_deleted(house: House) -> None:
    for _ in range(5):
        volume = await house.volume()
        snapshot = await house.snapshot(volume)
        made = await offer(house, volume)
        await asyncio.gather(accept(house, made), house.member.delete(f"/snapshots/{snapshot}"))
        await house.quiet()
        await assert_sound(house)
