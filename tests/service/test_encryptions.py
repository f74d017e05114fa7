"""Encryption of volume types and volumes over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.catalog_fixture import Cloud
from tests.service.house import House

LUKS = {"provider": "luks", "control_location": "front-end"}


async def path_of_new_type(cloud: Cloud, name: str = "gold", **fields: Any) -> str:
    """The path of the encryption of a new type."""
    return f"/types/{(await cloud.new_type(name, **fields))['id']}/encryption"


async def encrypted(cloud: Cloud, name: str = "gold", **more: Any) -> str:
    """As `path_of_new_type`, of a type that is encrypted."""
    path = await path_of_new_type(cloud, name)
    reply = await cloud.admin.post(path, {"encryption": {**LUKS, **more}})
    assert reply.status_code == 200, reply.text
    return path


async def shown(cloud: Cloud, path: str) -> Any:
    reply = await cloud.admin.get(path)
    assert reply.status_code == 200, reply.text
    return reply.json()


# -- types ------------------------------------------------------------------------------------


async def test_a_type_that_is_not_encrypted_shows_nothing(house: House) -> None:
    assert await shown(house, await path_of_new_type(house)) == {}


async def test_create_answers_what_was_given_and_two_ids(house: House) -> None:
    path = await path_of_new_type(house)
    body = {"encryption": {**LUKS, "cipher": "aes-xts-plain64", "key_size": "256", "other": 1}}
    reply = await house.admin.post(path, body)
    assert reply.status_code == 200
    told = reply.json()["encryption"]
    ident = told["encryption_id"]
    assert told == {
        **LUKS,
        "cipher": "aes-xts-plain64",
        "key_size": 256,
        "volume_type_id": path.split("/")[2],
        "encryption_id": ident,
    }
    found = await shown(house, path)
    assert found == {
        **told,
        "created_at": found["created_at"],
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }


async def test_one_thing_is_shown_by_its_name(house: House) -> None:
    path = await encrypted(house, key_size=128)
    assert await shown(house, f"{path}/key_size") == {"key_size": 128}
    assert await shown(house, f"{path}/cipher") == {"cipher": None}
    ident = (await shown(house, path))["encryption_id"]
    for unknown in ("nope", ident):
        assert (await house.admin.get(f"{path}/{unknown}")).status_code == 404


async def test_a_type_is_encrypted_once(house: House) -> None:
    path = await encrypted(house)
    reply = await house.admin.post(path, {"encryption": {**LUKS, "provider": "plain"}})
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert (await shown(house, path))["provider"] == "luks"


BAD_VALUES = [
    {"key_size": "abc"},
    {"key_size": -1},
    {"key_size": 2**31},
    {"key_size": 1.5},
    {"key_size": True},
    {"control_location": "x"},
    {"control_location": None},
    {"provider": None},
    {"provider": 5},
    {"provider": "p" * 256},
    {"cipher": "c" * 256},
    {"cipher": 5},
]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"encryption": None},
        {"encryption": {}},
        {"encryption": {"provider": "luks"}},
        {"encryption": {"control_location": "front-end"}},
        {"encryption": LUKS, "more": 1},
        *({"encryption": {**LUKS, **bad}} for bad in BAD_VALUES),
    ],
)
async def test_a_wrong_body_is_refused_and_encrypts_nothing(house: House, body: object) -> None:
    path = await path_of_new_type(house)
    assert (await house.admin.post(path, body)).status_code == 400
    assert await shown(house, path) == {}


async def test_update_changes_what_is_given_and_echoes_it(house: House) -> None:
    path = await encrypted(house, cipher="c", key_size=128)
    for change in ({"key_size": "256"}, {"cipher": None, "provider": "plain"}, {}):
        reply = await house.admin.put(f"{path}/provider", {"encryption": change})
        told = {**change, "key_size": 256} if "key_size" in change else change
        assert (reply.status_code, reply.json()) == (200, {"encryption": told})
    found = await shown(house, path)
    assert (found["provider"], found["cipher"], found["key_size"]) == ("plain", None, 256)
    assert found["control_location"] == "front-end"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"encryption": None},
        {"encryption": {"bogus": 1}},
        {"encryption": {"cipher": "d"}, "more": 1},
        *({"encryption": {"cipher": "d", **bad}} for bad in BAD_VALUES),
    ],
)
async def test_a_wrong_update_changes_nothing(house: House, body: object) -> None:
    path = await encrypted(house, cipher="c")
    assert (await house.admin.put(f"{path}/x", body)).status_code == 400
    assert (await shown(house, path))["cipher"] == "c"


async def test_encryption_is_removed_whatever_the_path_says(house: House) -> None:
    path = await encrypted(house)
    reply = await house.admin.delete(f"{path}/provider")
    assert (reply.status_code, reply.text) == (202, "")
    assert await shown(house, path) == {}
    assert (await house.admin.delete(f"{path}/provider")).status_code == 404


async def test_what_is_not_there_is_not_found(house: House) -> None:
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/types/nope/encryption", None),
        ("GET", "/types/nope/encryption/provider", None),
        ("POST", "/types/nope/encryption", {"encryption": LUKS}),
        ("PUT", "/types/nope/encryption/x", {"encryption": LUKS}),
        ("DELETE", "/types/nope/encryption/x", None),
    ]
    plain = await path_of_new_type(house)
    calls += [
        ("GET", f"{plain}/provider", None),
        ("PUT", f"{plain}/x", {"encryption": LUKS}),
        ("DELETE", f"{plain}/x", None),
    ]
    answers = [(await house.admin.call(*one)).status_code for one in calls]
    assert answers == [404] * len(calls)


@pytest.mark.parametrize("role", ["member", "reader"])
async def test_encryption_of_types_is_for_administrators(house: House, role: str) -> None:
    path, caller = await encrypted(house), house.caller(role)
    answers = [
        await caller.get(path),
        await caller.get(f"{path}/provider"),
        await caller.post(path, {"encryption": LUKS}),
        await caller.put(f"{path}/x", {"encryption": {"cipher": "d"}}),
        await caller.delete(f"{path}/x"),
    ]
    assert [reply.status_code for reply in answers] == [403] * 5
    assert (await shown(house, path))["cipher"] is None


async def test_a_deleted_type_takes_its_encryption_along(house: House) -> None:
    path = await encrypted(house)
    assert (await house.admin.delete(path.removesuffix("/encryption"))).status_code == 202
    assert await shown(house, await encrypted(house, "gold")) != {}


async def test_a_type_in_use_stays_as_it_is(house: House) -> None:
    path = await path_of_new_type(house)
    volume = await house.volume(volume_type="gold")
    reply = await house.admin.post(path, {"encryption": LUKS})
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert (await house.admin.delete(f"{path}/x")).status_code == 400
    assert (await house.admin.put(f"{path}/x", {"encryption": {}})).status_code == 400
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 202
    await house.quiet()
    assert (await house.admin.post(path, {"encryption": LUKS})).status_code == 200


# -- volumes ----------------------------------------------------------------------------------


async def test_a_volume_is_not_encrypted(house: House) -> None:
    path = f"/volumes/{await house.volume()}/encryption"
    reply = await house.reader.get(path)
    assert (reply.status_code, reply.json()) == (200, {"encryption_key_id": None})
    key = await house.reader.get(f"{path}/encryption_key_id")
    assert (key.status_code, key.text) == (200, "")


async def test_a_key_that_a_volume_has_is_shown_as_bare_text(house: House) -> None:
    volume = await house.volume()
    await house.put(volume, encryption_key_id="00000000-0000-0000-0000-000000000001")
    reply = await house.member.get(f"/volumes/{volume}/encryption/encryption_key_id")
    assert reply.text == "00000000-0000-0000-0000-000000000001"
    assert reply.headers["content-type"].startswith("text/plain")


async def test_a_thing_that_nobody_knows_of_a_volumes_encryption_is_refused(house: House) -> None:
    path = f"/volumes/{await house.volume()}/encryption"
    for unknown in ("provider", "nope"):
        assert (await house.member.get(f"{path}/{unknown}")).status_code == 400


async def test_another_projects_volume_is_not_found(house: House) -> None:
    path = f"/volumes/{await house.volume()}/encryption"
    assert (await house.other.get(path)).status_code == 404
    assert (await house.other.get(f"{path}/encryption_key_id")).status_code == 404
    assert (await house.member.get("/volumes/nope/encryption")).status_code == 404


@pytest.mark.parametrize("how", ["named", "default"])
async def test_no_volume_of_an_encrypted_type_is_made_in_clear_text(house: House, how: str) -> None:
    await encrypted(house)
    wishes: dict[str, Any] = {"size": 1}
    if how == "named":
        wishes["volume_type"] = "gold"
    else:
        mine = f"/default-types/{house.member.token.split(':')[1]}"
        body = {"default_type": {"volume_type": "gold"}}
        assert (await house.admin.put(mine, body)).status_code == 200
    reply = await house.member.post("/volumes", {"volume": wishes})
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    message = reply.json()["badRequest"]["message"]
    assert "gold" in message
    assert "key manager" in message
    assert (await house.member.get("/volumes")).json()["volumes"] == []
    assert house.driver.calls == []
