"""Volume types over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.api import quota_sets, type_access, type_extra_specs, types
from breezeblock.store import volume_types
from tests.service.catalog_fixture import OTHER, PROJECT, Cloud, open_cloud

ROUTES = (*types.ROUTES, *type_extra_specs.ROUTES, *type_access.ROUTES, *quota_sets.ROUTES)
DEFAULT = "__DEFAULT__"


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, ROUTES) as opened:
        yield opened


async def names(cloud: Cloud, query: str = "", role: str = "admin", **more: str) -> list[str]:
    reply = await cloud.caller(role, **more).get(f"/types{query}")
    assert reply.status_code == 200, reply.text
    return sorted(one["name"] for one in reply.json()["volume_types"])


# -- create -----------------------------------------------------------------------------------


async def test_create_answers_200_with_the_type_but_without_qos_specs_id(cloud: Cloud) -> None:
    body = {"name": " gold ", "description": "fast disks", "extra_specs": {"a/b c": "1"}}
    reply = await cloud.admin.post("/types", {"volume_type": body})
    made = reply.json()["volume_type"]
    assert reply.status_code == 200
    assert made == {
        "id": made["id"],
        "name": "gold",
        "is_public": True,
        "description": "fast disks",
        "extra_specs": {"a/b c": "1"},
        "os-volume-type-access:is_public": True,
    }


async def test_create_is_for_administrators(cloud: Cloud) -> None:
    reply = await cloud.member.post("/types", {"volume_type": {"name": "x1"}})
    assert (reply.status_code, list(reply.json())) == (403, ["forbidden"])


async def test_a_taken_name_is_a_conflict(cloud: Cloud) -> None:
    await cloud.new_type("t1")
    reply = await cloud.admin.post("/types", {"volume_type": {"name": "t1"}})
    assert (reply.status_code, list(reply.json())) == (409, ["conflictingRequest"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"volume_type": {}},
        {"volume_type": {"name": "   "}},
        {"volume_type": {"name": "n" * 256}},
        {"volume_type": {"name": 5}},
        {"volume_type": {"name": "a", "bogus": 1}},
        {"volume_type": {"name": "a", "is_public": True}},
        {"volume_type": {"name": "a", "description": "d" * 256}},
        {"volume_type": {"name": "a", "extra_specs": {"k": 1}}},
        {"volume_type": {"name": "a", "extra_specs": {"k$": "1"}}},
        {"volume_type": {"name": "a", "os-volume-type-access:is_public": "maybe"}},
        {"volume_type": {"name": "a"}, "more": 1},
    ],
)
async def test_a_wrong_body_is_refused_and_makes_nothing(cloud: Cloud, body: object) -> None:
    reply = await cloud.admin.post("/types", body)
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert await names(cloud, "?is_public=None") == [DEFAULT]


async def test_multiattach_excludes_cacheable(cloud: Cloud) -> None:
    specs = {"multiattach": "<is> True", "cacheable": "<is> True"}
    body = {"volume_type": {"name": "a", "extra_specs": specs}}
    assert (await cloud.admin.post("/types", body)).status_code == 400


async def test_an_extra_spec_of_null_is_left_out(cloud: Cloud) -> None:
    made = await cloud.new_type("a", extra_specs={"k": None, "l": "1"})
    assert made["extra_specs"] == {"l": "1"}


# -- show -------------------------------------------------------------------------------------


async def test_administrators_see_all_of_a_type(cloud: Cloud) -> None:
    made = await cloud.new_type("gold", extra_specs={"volume_backend_name": "fast"})
    shown = (await cloud.admin.get(f"/types/{made['id']}")).json()["volume_type"]
    assert shown == {
        "id": made["id"],
        "name": "gold",
        "is_public": True,
        "description": None,
        "extra_specs": {"volume_backend_name": "fast"},
        "qos_specs_id": None,
        "os-volume-type-access:is_public": True,
    }


async def test_members_see_the_extra_specs_that_concern_them_and_no_qos(cloud: Cloud) -> None:
    specs = {
        "volume_backend_name": "fast",
        "multiattach": "<is> True",
        "replication_enabled": "<is> True",
        "RESKEY:availability_zones": "a,b",
    }
    made = await cloud.new_type("gold", extra_specs=specs)
    shown = (await cloud.member.get(f"/types/{made['id']}")).json()["volume_type"]
    del specs["volume_backend_name"]
    assert shown["extra_specs"] == specs
    assert "qos_specs_id" not in shown


async def test_readers_do_not_get_the_access_key(cloud: Cloud) -> None:
    made = await cloud.new_type("gold")
    shown = (await cloud.reader.get(f"/types/{made['id']}")).json()["volume_type"]
    assert "os-volume-type-access:is_public" not in shown


async def test_an_unknown_type_is_not_found_also_by_name(cloud: Cloud) -> None:
    await cloud.new_type("gold")
    for ident in ("nope", "gold"):
        reply = await cloud.admin.get(f"/types/{ident}")
        assert (reply.status_code, list(reply.json())) == (404, ["itemNotFound"])


async def test_default_is_the_configured_type(cloud: Cloud) -> None:
    reply = await cloud.member.get("/types/default")
    assert reply.status_code == 200
    assert reply.json()["volume_type"]["name"] == DEFAULT
    assert "os-volume-type-access:is_public" not in reply.json()["volume_type"]


# -- list -------------------------------------------------------------------------------------


async def test_administrators_list_public_types_unless_they_ask_otherwise(cloud: Cloud) -> None:
    await cloud.new_type("private", is_public=False)
    assert await names(cloud) == [DEFAULT]
    assert await names(cloud, "?is_public=true") == [DEFAULT]
    assert await names(cloud, "?is_public=False") == ["private"]
    assert await names(cloud, "?is_public=None") == [DEFAULT, "private"]


async def test_is_public_must_be_a_boolean(cloud: Cloud) -> None:
    assert (await cloud.admin.get("/types?is_public=maybe")).status_code == 400


async def test_a_private_type_is_seen_by_granted_projects_only(cloud: Cloud) -> None:
    made = await cloud.new_type("private", is_public=False)
    grant = {"addProjectAccess": {"project": PROJECT}}
    await cloud.admin.post(f"/types/{made['id']}/action", grant)
    assert await names(cloud, "?is_public=None", "member") == [DEFAULT, "private"]
    assert await names(cloud, "?is_public=False", "member", project=OTHER) == [DEFAULT]
    assert (await cloud.member.get(f"/types/{made['id']}")).status_code == 200
    assert (await cloud.other.get(f"/types/{made['id']}")).status_code == 404
    assert (await cloud.other.get(f"/types/{made['id']}/extra_specs")).status_code == 404


async def test_pages_follow_the_link(cloud: Cloud) -> None:
    for name in ("a", "b"):
        await cloud.new_type(name)
    found, path = [], "/types?limit=2&sort=name:asc"
    while path:
        reply = (await cloud.member.get(path)).json()
        found += [one["name"] for one in reply["volume_types"]]
        links = reply.get("volume_type_links", [])
        path = links[0]["href"].partition("/v3")[2] if links else ""
    assert found == [DEFAULT, "a", "b"]


async def test_an_unknown_marker_is_not_found(cloud: Cloud) -> None:
    assert (await cloud.member.get("/types?marker=nope")).status_code == 404


async def test_types_are_found_by_extra_specs_from_3_52(cloud: Cloud) -> None:
    await cloud.new_type("gold", extra_specs={"tier": "gold", "multiattach": "<is> True"})
    await cloud.new_type("zoned", extra_specs={"RESKEY:availability_zones": "east,west"})
    assert await names(cloud, "?extra_specs={'tier':'gold'}") == ["gold"]
    assert await names(cloud, "?extra_specs={'tier':'gold','x':'y'}") == []
    assert await names(cloud, "?extra_specs={'RESKEY:availability_zones':'west'}") == ["zoned"]
    assert await names(cloud, "?extra_specs={'ti\"er':'gold'}") == []
    before = await cloud.admin.get("/types?extra_specs={'tier':'gold'}", "3.51")
    assert len(before.json()["volume_types"]) == 3


@pytest.mark.parametrize("role", ["admin", "member"])
@pytest.mark.parametrize("text", ["x", "", "['a']", "5"])
async def test_extra_specs_to_search_for_must_be_pairs(cloud: Cloud, role: str, text: str) -> None:
    reply = await cloud.caller(role).get(f"/types?extra_specs={text}")
    assert (reply.status_code, "extra_specs" in reply.text) == (400, True)
    assert (await cloud.caller(role).get(f"/types?extra_specs={text}", "3.51")).status_code == 200


async def test_members_cannot_search_for_extra_specs_that_are_hidden(cloud: Cloud) -> None:
    await cloud.new_type("gold", extra_specs={"tier": "gold", "multiattach": "<is> True"})
    assert await names(cloud, "?extra_specs={'tier':'gold'}", "member") == []
    assert await names(cloud, "?extra_specs={'multiattach':'<is> True'}", "member") == ["gold"]


# -- update -----------------------------------------------------------------------------------


async def test_update_changes_what_is_given(cloud: Cloud) -> None:
    made = await cloud.new_type("gold", description="d")
    body = {"volume_type": {"name": "silver", "description": None, "is_public": "false"}}
    reply = await cloud.admin.put(f"/types/{made['id']}", body)
    changed = reply.json()["volume_type"]
    assert reply.status_code == 200
    assert (changed["name"], changed["description"], changed["is_public"]) == ("silver", "d", False)
    assert not {"os-volume-type-access:is_public", "qos_specs_id"} & set(changed)
    assert (await cloud.admin.get(f"/types/{made['id']}")).json()["volume_type"]["name"] == "silver"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": None, "description": None, "is_public": None}, 400),
        ({"name": " "}, 400),
        ({"name": "silver", "is_public": None}, 400),
        ({"os-volume-type-access:is_public": True}, 400),
        ({"name": "taken"}, 409),
    ],
)
async def test_a_wrong_update_changes_nothing(
    cloud: Cloud, body: dict[str, object], status: int
) -> None:
    await cloud.new_type("taken")
    made = await cloud.new_type("gold")
    reply = await cloud.admin.put(f"/types/{made['id']}", {"volume_type": body})
    assert reply.status_code == status
    assert (await cloud.admin.get(f"/types/{made['id']}")).json()["volume_type"]["name"] == "gold"


async def test_updating_an_unknown_type_is_not_found(cloud: Cloud) -> None:
    assert (await cloud.admin.put("/types/x", {"volume_type": {"name": "a"}})).status_code == 404


async def test_renaming_takes_usage_and_limits_along(cloud: Cloud) -> None:
    made = await cloud.new_type("gold")
    await cloud.new_volume("gold", 7)
    limit = {"quota_set": {"gigabytes_gold": 50}}
    await cloud.admin.put(f"/os-quota-sets/{PROJECT}", limit)
    await cloud.admin.put(f"/types/{made['id']}", {"volume_type": {"name": "silver"}})
    reply = await cloud.admin.get(f"/os-quota-sets/{PROJECT}?usage=true")
    quota = reply.json()["quota_set"]
    assert quota["gigabytes_silver"] == {"limit": 50, "in_use": 7, "reserved": 0}
    assert quota["volumes_silver"]["in_use"] == 1
    assert "gigabytes_gold" not in quota


async def test_a_type_that_takes_an_old_name_begins_without_its_quota(cloud: Cloud) -> None:
    made = await cloud.new_type("gold")
    await cloud.admin.put(f"/os-quota-sets/{PROJECT}", {"quota_set": {"volumes_gold": 5}})
    await cloud.admin.delete(f"/types/{made['id']}")
    await cloud.new_type("gold")
    quota = (await cloud.admin.get(f"/os-quota-sets/{PROJECT}")).json()["quota_set"]
    assert quota["volumes_gold"] == -1


async def test_the_default_type_keeps_its_name(cloud: Cloud) -> None:
    default = (await cloud.admin.get("/types/default")).json()["volume_type"]["id"]
    reply = await cloud.admin.put(f"/types/{default}", {"volume_type": {"name": "x"}})
    assert reply.status_code == 400
    described = {"volume_type": {"name": DEFAULT, "description": "d"}}
    assert (await cloud.admin.put(f"/types/{default}", described)).status_code == 200


async def test_an_update_of_nothing_is_refused_for_the_default_type_too(cloud: Cloud) -> None:
    default = (await cloud.admin.get("/types/default")).json()["volume_type"]["id"]
    assert (await cloud.admin.put(f"/types/{default}", {"volume_type": {}})).status_code == 400


# -- delete -----------------------------------------------------------------------------------


async def test_delete_answers_202_without_a_body(cloud: Cloud) -> None:
    made = await cloud.new_type("gold")
    reply = await cloud.admin.delete(f"/types/{made['id']}")
    assert (reply.status_code, reply.content) == (202, b"")
    assert (await cloud.admin.delete(f"/types/{made['id']}")).status_code == 404


async def test_a_used_type_stays(cloud: Cloud) -> None:
    made = await cloud.new_type("gold")
    await cloud.new_volume("gold")
    assert (await cloud.admin.delete(f"/types/{made['id']}")).status_code == 400
    assert DEFAULT in await names(cloud)


async def test_the_default_type_stays(cloud: Cloud) -> None:
    await cloud.new_type("gold")
    default = (await cloud.admin.get("/types/default")).json()["volume_type"]["id"]
    reply = await cloud.admin.delete(f"/types/{default}")
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])


async def test_the_last_type_stays(tmp_path: Path) -> None:
    async with open_cloud(tmp_path, ROUTES) as cloud:
        last = (await cloud.admin.get("/types/default")).json()["volume_type"]["id"]
    async with open_cloud(tmp_path, ROUTES, default_volume_type="other") as cloud:
        other = (await cloud.admin.get("/types/default")).json()["volume_type"]["id"]
        assert (await cloud.admin.delete(f"/types/{last}")).status_code == 202
        assert (await cloud.admin.delete(f"/types/{other}")).status_code == 400


async def test_a_default_type_that_is_not_public_is_everybodys_default_still(cloud: Cloud) -> None:
    ident = (await cloud.admin.get("/types/default")).json()["volume_type"]["id"]
    private = {"volume_type": {"is_public": False}}
    assert (await cloud.admin.put(f"/types/{ident}", private)).status_code == 200
    assert (await cloud.member.get("/types/default")).json()["volume_type"]["id"] == ident
    assert (await cloud.member.get(f"/types/{ident}")).status_code == 404


async def test_a_missing_default_type_is_not_found(cloud: Cloud) -> None:
    await cloud.new_type("gold")
    ident = (await cloud.admin.get("/types/default")).json()["volume_type"]["id"]
    await cloud.app.store.write(lambda tx: volume_types.delete(tx, ident))
    assert (await cloud.member.get("/types/default")).status_code == 404
