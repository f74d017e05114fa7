"""Quota sets, quota classes and limits over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from breezeblock.api import limits, quota_class_sets, quota_sets, type_access, types
from tests.service.catalog_fixture import OTHER, PROJECT, Cloud, open_cloud
from tests.service.house import House

ROUTES = (
    *quota_sets.ROUTES,
    *quota_class_sets.ROUTES,
    *limits.ROUTES,
    *types.ROUTES,
    *type_access.ROUTES,
)
FIXED = {
    "volumes": 10,
    "per_volume_gigabytes": -1,
    "snapshots": 10,
    "gigabytes": 1000,
    "backups": 10,
    "backup_gigabytes": 1000,
    "groups": 10,
}
OF_DEFAULT = {f"{kind}___DEFAULT__": -1 for kind in ("volumes", "gigabytes", "snapshots")}
PATH = f"/os-quota-sets/{PROJECT}"


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, ROUTES) as opened:
        yield opened


async def quota(cloud: Cloud, path: str = PATH) -> dict[str, Any]:
    reply = await cloud.admin.get(path)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()["quota_set"]
    return found


async def set_(cloud: Cloud, **limits: Any) -> int:
    return (await cloud.admin.put(PATH, {"quota_set": limits})).status_code


async def test_a_new_project_has_the_configured_limits(cloud: Cloud) -> None:
    assert await quota(cloud) == {**FIXED, **OF_DEFAULT, "id": PROJECT}


async def test_every_type_has_three_keys(cloud: Cloud) -> None:
    await cloud.new_type("gold")
    found = await quota(cloud)
    keys = {"volumes_gold", "gigabytes_gold", "snapshots_gold"}
    assert {key: found[key] for key in keys} == dict.fromkeys(keys, -1)


async def test_private_types_are_hidden_from_projects_without_access(cloud: Cloud) -> None:
    made = await cloud.new_type("secret", is_public=False)
    assert "volumes_secret" in await quota(cloud)
    assert "volumes_secret" not in (await cloud.member.get(PATH)).json()["quota_set"]
    grant = {"addProjectAccess": {"project": PROJECT}}
    await cloud.admin.post(f"/types/{made['id']}/action", grant)
    assert "volumes_secret" in (await cloud.member.get(PATH)).json()["quota_set"]


async def test_usage_gives_objects_and_nothing_is_ever_reserved(cloud: Cloud) -> None:
    await cloud.new_type("gold")
    await cloud.new_volume("gold", 3)
    found = await quota(cloud, f"{PATH}?usage=True")
    assert found["gigabytes"] == {"limit": 1000, "in_use": 3, "reserved": 0}
    assert found["volumes_gold"] == {"limit": -1, "in_use": 1, "reserved": 0}
    assert found["per_volume_gigabytes"] == {"limit": -1, "in_use": 0, "reserved": 0}
    assert found["id"] == PROJECT


async def test_update_answers_all_limits_without_the_id(cloud: Cloud) -> None:
    body = {"quota_set": {"volumes": 5, "gigabytes": "20", "snapshots": "-1"}}
    reply = await cloud.admin.put(PATH, body)
    assert reply.status_code == 200
    expected = {**FIXED, **OF_DEFAULT, "volumes": 5, "gigabytes": 20, "snapshots": -1}
    assert reply.json()["quota_set"] == expected
    assert await quota(cloud) == {**expected, "id": PROJECT}
    assert (await quota(cloud, f"/os-quota-sets/{OTHER}"))["volumes"] == 10


async def test_id_and_tenant_id_are_accepted_and_ignored(cloud: Cloud) -> None:
    assert await set_(cloud, id="x", tenant_id="y", volumes=4) == 200
    assert (await quota(cloud))["volumes"] == 4


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"x": 5},
        {"volumes": 4, "volumes_nosuch": 5},
        {"volumes": -2},
        {"volumes": 2147483648},
        {"volumes": "many"},
        {"volumes": "²"},
        {"volumes": "٣"},
        {"volumes": "--1"},
        {"volumes": ""},
        {"volumes": 1.5},
        {"volumes": True},
        {"volumes": None},
        {"volumes": [1]},
    ],
)
async def test_a_wrong_update_changes_nothing(cloud: Cloud, wanted: dict[str, Any]) -> None:
    reply = await cloud.admin.put(PATH, {"quota_set": wanted})
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert await quota(cloud) == {**FIXED, **OF_DEFAULT, "id": PROJECT}


async def test_an_owner_that_no_row_can_hold_is_refused(cloud: Cloud) -> None:
    path, wanted = f"/os-quota-sets/{'f' * 256}", {"quota_set": {"volumes": 5}}
    assert (await cloud.admin.put(path, wanted)).status_code == 400


async def test_an_unknown_key_is_named(cloud: Cloud) -> None:
    reply = await cloud.admin.put(PATH, {"quota_set": {"bogus": 5}})
    assert "bogus" in reply.json()["badRequest"]["message"]


async def test_a_limit_below_what_is_used_is_refused(cloud: Cloud) -> None:
    await cloud.new_volume("__DEFAULT__", 3)
    assert await set_(cloud, gigabytes=2) == 400
    assert await set_(cloud, gigabytes=3) == 200
    assert await set_(cloud, gigabytes=-1) == 200
    assert await set_(cloud, per_volume_gigabytes=0) == 200


async def test_delete_brings_the_defaults_back(cloud: Cloud) -> None:
    await set_(cloud, volumes=5)
    reply = await cloud.admin.delete(PATH)
    assert (reply.status_code, reply.content) == (200, b"")
    assert (await quota(cloud))["volumes"] == 10


async def test_defaults_do_not_show_what_the_project_has(cloud: Cloud) -> None:
    await set_(cloud, volumes=5)
    reply = await cloud.member.get(f"{PATH}/defaults")
    assert reply.json()["quota_set"] == {**FIXED, **OF_DEFAULT, "id": PROJECT}


async def test_members_read_their_own_project_only_and_change_nothing(cloud: Cloud) -> None:
    replies = [
        await cloud.reader.get(PATH),
        await cloud.member.get("/os-quota-sets/ffff"),
        await cloud.member.get("/os-quota-sets/ffff/defaults"),
        await cloud.member.put(PATH, {"quota_set": {"volumes": 5}}),
        await cloud.member.delete(PATH),
    ]
    assert [reply.status_code for reply in replies] == [200, 403, 403, 403, 403]


async def test_a_wrong_usage_is_refused(cloud: Cloud) -> None:
    assert (await cloud.admin.get(f"{PATH}?usage=maybe")).status_code == 400


@pytest.mark.parametrize(
    ("limits", "refused"),
    [
        ({"volumes_gold": 1}, {"volume"}),
        ({"gigabytes_gold": 2}, {"volume", "snapshot"}),
        ({"snapshots_gold": 0}, {"snapshot"}),
        ({"volumes_other": 0, "gigabytes_other": 0, "snapshots_other": 0}, set()),
    ],
)
async def test_a_types_own_limits_hold(
    house: House, limits: dict[str, int], refused: set[str]
) -> None:
    await house.new_type("gold")
    await house.new_type("other")
    volume = await house.volume(2, volume_type="gold")
    assert (await house.admin.put(PATH, {"quota_set": limits})).status_code == 200
    bodies: dict[str, Any] = {
        "volume": {"size": 1, "volume_type": "gold"},
        "snapshot": {"volume_id": volume},
    }
    answers = {
        kind: (await house.member.post(f"/{kind}s", {kind: body})).status_code
        for kind, body in bodies.items()
    }
    assert answers == {kind: 413 if kind in refused else 202 for kind in bodies}
    free = await house.member.post("/volumes", {"volume": {"size": 1}})
    assert free.status_code == 202


# -- classes ----------------------------------------------------------------------------------


async def test_the_class_default_holds_the_limits_of_projects_without_their_own(
    cloud: Cloud,
) -> None:
    body = {"quota_class_set": {"volumes": 7, "gigabytes": "70"}}
    reply = await cloud.admin.put("/os-quota-class-sets/default", body)
    expected = {**FIXED, **OF_DEFAULT, "volumes": 7, "gigabytes": 70}
    assert (reply.status_code, reply.json()) == (200, {"quota_class_set": expected})
    shown = (await cloud.admin.get("/os-quota-class-sets/default")).json()
    assert shown == {"quota_class_set": {**expected, "id": "default"}}
    assert await quota(cloud) == {**expected, "id": PROJECT}
    assert await quota(cloud, f"{PATH}/defaults") == {**expected, "id": PROJECT}
    await set_(cloud, volumes=2)
    assert (await quota(cloud))["volumes"] == 2


async def test_another_class_changes_no_project(cloud: Cloud) -> None:
    body = {"quota_class_set": {"volumes": 7}}
    assert (await cloud.admin.put("/os-quota-class-sets/gold", body)).status_code == 200
    shown = (await cloud.admin.get("/os-quota-class-sets/gold")).json()["quota_class_set"]
    assert shown["volumes"] == 7
    assert (await quota(cloud))["volumes"] == 10


@pytest.mark.parametrize(
    "wanted",
    [{"x": 1}, {"volumes": -2}, {"volumes": None}, {"volumes": "-1"}, {"volumes": ""}],
)
async def test_a_wrong_class_is_refused(cloud: Cloud, wanted: dict[str, Any]) -> None:
    body = {"quota_class_set": wanted}
    assert (await cloud.admin.put("/os-quota-class-sets/default", body)).status_code == 400


async def test_the_name_of_a_class_has_to_fit(cloud: Cloud) -> None:
    body = {"quota_class_set": {"volumes": 7}}
    reply = await cloud.admin.put(f"/os-quota-class-sets/{'c' * 254}", body)
    assert reply.status_code == 200
    for length in (255, 300):
        reply = await cloud.admin.put(f"/os-quota-class-sets/{'c' * length}", body)
        assert reply.status_code == 400
        message = reply.json()["badRequest"]["message"]
        assert message == "The name of a quota class has at most 254 characters."


async def test_a_class_may_be_left_as_it_is(cloud: Cloud) -> None:
    reply = await cloud.admin.put("/os-quota-class-sets/default", {"quota_class_set": {}})
    assert (reply.status_code, reply.json()) == (200, {"quota_class_set": {**FIXED, **OF_DEFAULT}})


async def test_a_class_limits_types_too(cloud: Cloud) -> None:
    await cloud.new_type("gold")
    body = {"quota_class_set": {"volumes_gold": 1, "snapshots_gold": "2", "gigabytes_gold": -1}}
    reply = await cloud.admin.put("/os-quota-class-sets/default", body)
    assert reply.status_code == 200
    found = await quota(cloud)
    assert [found[f"{kind}_gold"] for kind in ("volumes", "snapshots", "gigabytes")] == [1, 2, -1]


async def test_classes_are_for_administrators(cloud: Cloud) -> None:
    body = {"quota_class_set": {"volumes": 7}}
    assert (await cloud.member.get("/os-quota-class-sets/default")).status_code == 403
    assert (await cloud.member.put("/os-quota-class-sets/default", body)).status_code == 403


# -- limits -----------------------------------------------------------------------------------


async def test_limits_and_usage_in_short(cloud: Cloud) -> None:
    await cloud.new_volume("__DEFAULT__", 3)
    await set_(cloud, volumes=5)
    assert (await cloud.reader.get("/limits", "3.0")).json() == {
        "limits": {
            "rate": [],
            "absolute": {
                "maxTotalVolumes": 5,
                "maxTotalSnapshots": 10,
                "maxTotalVolumeGigabytes": 1000,
                "maxTotalBackups": 10,
                "maxTotalBackupGigabytes": 1000,
                "totalVolumesUsed": 1,
                "totalSnapshotsUsed": 0,
                "totalGigabytesUsed": 3,
                "totalBackupsUsed": 0,
                "totalBackupGigabytesUsed": 0,
            },
        }
    }


@pytest.mark.parametrize("word", ["project_id", "tenant_id"])
async def test_administrators_ask_about_other_projects_from_3_39(cloud: Cloud, word: str) -> None:
    await cloud.new_volume("__DEFAULT__", 3, OTHER)

    async def used(version: str, role: str = "admin") -> int:
        reply = await cloud.caller(role).get(f"/limits?{word}={OTHER}", version)
        found: int = reply.json()["limits"]["absolute"]["totalGigabytesUsed"]
        return found

    assert [await used("3.38"), await used("3.39"), await used("3.39", "member")] == [0, 3, 0]
