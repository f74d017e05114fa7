"""Default volume types of single projects over HTTP, and the volumes that get them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.catalog_fixture import OTHER, PROJECT, Cloud
from tests.service.house import House

MINE = f"/default-types/{PROJECT}"


def body(volume_type: object) -> dict[str, Any]:
    return {"default_type": {"volume_type": volume_type}}


async def assigned(cloud: Cloud, name: str = "gold", project: str = PROJECT, **fields: Any) -> str:
    """A new type that is the project's default; its id."""
    made = await cloud.new_type(name, **fields)
    reply = await cloud.admin.put(f"/default-types/{project}", body(name))
    assert reply.status_code == 200, reply.text
    return str(made["id"])


async def default_of(cloud: Cloud, caller: str = "member", project: str = PROJECT) -> str:
    reply = await cloud.caller(caller, project).get("/types/default")
    assert reply.status_code == 200, reply.text
    return str(reply.json()["volume_type"]["name"])


async def type_of_new_volume(house: House, **wishes: Any) -> str:
    return str((await house.show(await house.volume(**wishes), house.admin))["volume_type"])


async def test_a_project_gets_a_default_by_name_and_another_by_id(house: House) -> None:
    gold, silver = await house.new_type("gold"), await house.new_type("silver")
    for wanted, ident in ((" gold ", gold["id"]), (silver["id"], silver["id"])):
        told = {"default_type": {"project_id": PROJECT, "volume_type_id": ident}}
        reply = await house.admin.put(MINE, body(wanted))
        assert (reply.status_code, reply.json()) == (200, told)
        assert (await house.admin.get(MINE)).json() == told


async def test_defaults_of_all_projects_are_listed(house: House) -> None:
    empty = await house.admin.get("/default-types")
    assert (empty.status_code, empty.json()) == (200, {"default_types": []})
    first = await assigned(house)
    second = await assigned(house, "silver", OTHER)
    assert (await house.admin.get("/default-types")).json() == {
        "default_types": [
            {"project_id": PROJECT, "volume_type_id": first},
            {"project_id": OTHER, "volume_type_id": second},
        ]
    }


async def test_a_project_without_its_own_default_is_not_found(house: House) -> None:
    await assigned(house)
    reply = await house.admin.get(f"/default-types/{OTHER}")
    assert (reply.status_code, list(reply.json())) == (404, ["itemNotFound"])


async def test_a_default_is_taken_back_once_or_twice(house: House) -> None:
    await assigned(house)
    for _ in range(2):
        reply = await house.admin.delete(MINE)
        assert (reply.status_code, reply.text) == (204, "")
    assert (await house.admin.get(MINE)).status_code == 404
    assert await default_of(house) == "__DEFAULT__"


async def test_default_types_begin_with_3_62(house: House) -> None:
    await assigned(house)
    for path in ("/default-types", MINE):
        assert (await house.admin.get(path, "3.61")).status_code == 404
        assert (await house.admin.get(path, "3.62")).status_code == 200
    assert (await house.admin.put(MINE, body("gold"), "3.61")).status_code == 404
    assert (await house.admin.delete(MINE, "3.61")).status_code == 404


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"default_type": None},
        {"default_type": {}},
        body(None),
        body(""),
        body("  "),
        body(5),
        body("n" * 256),
        body("nope"),
        {"default_type": {"volume_type": "gold", "more": 1}},
    ],
)
async def test_a_wrong_body_is_refused_and_changes_nothing(house: House, document: object) -> None:
    await house.new_type("gold")
    reply = await house.admin.put(MINE, document)
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert (await house.admin.get(MINE)).status_code == 404


async def test_a_project_id_has_255_characters_at_most(house: House) -> None:
    await house.new_type("gold")
    assert (await house.admin.put(f"/default-types/{'p' * 256}", body("gold"))).status_code == 400
    assert (await house.admin.put(f"/default-types/{'p' * 255}", body("gold"))).status_code == 200


@pytest.mark.parametrize("role", ["member", "reader"])
async def test_all_calls_are_for_administrators(house: House, role: str) -> None:
    await assigned(house)
    caller = house.caller(role)
    answers = [
        await caller.get("/default-types"),
        await caller.get(MINE),
        await caller.put(MINE, body("__DEFAULT__")),
        await caller.delete(MINE),
    ]
    assert [reply.status_code for reply in answers] == [403] * 4
    assert await default_of(house) == "gold"


async def test_the_default_is_the_projects_own_and_no_other_projects(house: House) -> None:
    await assigned(house)
    assert await default_of(house) == await default_of(house, "admin") == "gold"
    assert await default_of(house, project=OTHER) == "__DEFAULT__"


async def test_a_volume_that_names_no_type_gets_it(house: House) -> None:
    await assigned(house)
    assert await type_of_new_volume(house) == "gold"
    assert await type_of_new_volume(house, caller=house.other) == "__DEFAULT__"


async def test_a_type_that_is_named_or_the_sources_comes_first(house: House) -> None:
    source = await house.volume()
    snapshot = await house.snapshot(source)
    await assigned(house)
    assert await type_of_new_volume(house, volume_type="__DEFAULT__") == "__DEFAULT__"
    assert await type_of_new_volume(house, source_volid=source) == "__DEFAULT__"
    assert await type_of_new_volume(house, snapshot_id=snapshot) == "__DEFAULT__"


async def test_usage_counts_for_the_projects_default_type(house: House) -> None:
    await assigned(house)
    await house.volume(3)
    reply = await house.member.get(f"/os-quota-sets/{PROJECT}?usage=true")
    used = reply.json()["quota_set"]
    assert (used["gigabytes_gold"]["in_use"], used["gigabytes___DEFAULT__"]["in_use"]) == (3, 0)


async def test_a_private_default_needs_access(house: House) -> None:
    ident = await assigned(house, is_public=False)
    assert (await house.member.get("/types/default")).status_code == 404
    reply = await house.member.post("/volumes", {"volume": {"size": 1}})
    assert (reply.status_code, list(reply.json())) == (404, ["itemNotFound"])
    grant = {"addProjectAccess": {"project": PROJECT}}
    assert (await house.admin.post(f"/types/{ident}/action", grant)).status_code == 202
    assert await default_of(house) == await type_of_new_volume(house) == "gold"


async def test_a_type_that_is_a_projects_default_stays(house: House) -> None:
    ident = await assigned(house)
    reply = await house.admin.delete(f"/types/{ident}")
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert PROJECT in reply.json()["badRequest"]["message"]
    assert (await house.admin.delete(MINE)).status_code == 204
    assert (await house.admin.delete(f"/types/{ident}")).status_code == 202
