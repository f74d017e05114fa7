"""QoS specs over HTTP, the types that have them, and what hosts and backends are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from breezeblock.api import qos_specs, types
from breezeblock.drivers.base import ConnectionInfo, Source, Volume
from tests.service.catalog_fixture import PROJECT, Cloud, open_cloud
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house

BAD_KEYS = [
    {},
    {"keys": "a"},
    {"keys": [1]},
    {"keys": [""]},
    {"keys": ["k" * 256]},
    {"keys": ["a", "a"]},
    {"keys": ["a"], "more": 1},
]


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, (*types.ROUTES, *qos_specs.ROUTES)) as opened:
        yield opened


async def new_qos(cloud: Cloud, name: str = "gold", **specs: Any) -> str:
    """New QoS specs; their id."""
    reply = await cloud.admin.post("/qos-specs", {"qos_specs": {"name": name, **specs}})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["qos_specs"]["id"])


async def shown(cloud: Cloud, ident: str) -> Any:
    reply = await cloud.admin.get(f"/qos-specs/{ident}")
    return reply.json()["qos_specs"] if reply.status_code == 200 else None


async def names(cloud: Cloud, query: str = "") -> list[str]:
    reply = await cloud.admin.get(f"/qos-specs{query}")
    assert reply.status_code == 200, reply.text
    return [one["name"] for one in reply.json()["qos_specs"]]


async def tie(cloud: Cloud, ident: str, type_id: str) -> int:
    reply = await cloud.admin.get(f"/qos-specs/{ident}/associate?vol_type_id={type_id}")
    return reply.status_code


async def tied(cloud: Cloud, ident: str) -> list[str]:
    reply = await cloud.admin.get(f"/qos-specs/{ident}/associations")
    assert reply.status_code == 200, reply.text
    return [one["name"] for one in reply.json()["qos_associations"]]


# -- create -----------------------------------------------------------------------------------


async def test_create_answers_with_two_keys_and_links_to_the_project(cloud: Cloud) -> None:
    body = {"qos_specs": {"name": " gold ", "consumer": "front-end", "total_iops_sec": "100"}}
    reply = await cloud.admin.post(f"/{PROJECT}/qos-specs", body)
    made = reply.json()["qos_specs"]
    assert reply.status_code == 200
    assert reply.json() == {
        "qos_specs": {
            "id": made["id"],
            "name": "gold",
            "consumer": "front-end",
            "specs": {"total_iops_sec": "100"},
        },
        "links": [
            {"rel": "self", "href": f"http://cloud/v3/{PROJECT}/qos-specs/{made['id']}"},
            {"rel": "bookmark", "href": f"http://cloud/{PROJECT}/qos-specs/{made['id']}"},
        ],
    }
    again = await cloud.admin.get(f"/{PROJECT}/qos-specs/{made['id']}")
    assert again.json() == reply.json()


@pytest.mark.parametrize("more", [{}, {"consumer": None}])
async def test_the_backend_is_the_default_consumer(cloud: Cloud, more: dict[str, Any]) -> None:
    ident = await new_qos(cloud, **more)
    assert (await shown(cloud, ident))["consumer"] == "back-end"


async def test_a_spec_of_null_is_left_out(cloud: Cloud) -> None:
    ident = await new_qos(cloud, a=None, b="", **{"any $ key": "1"})
    assert (await shown(cloud, ident))["specs"] == {"b": "", "any $ key": "1"}


async def test_a_taken_name_is_a_conflict(cloud: Cloud) -> None:
    await new_qos(cloud)
    reply = await cloud.admin.post("/qos-specs", {"qos_specs": {"name": "gold"}})
    assert (reply.status_code, list(reply.json())) == (409, ["conflictingRequest"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"qos_specs": {}},
        {"qos_specs": None},
        {"qos_specs": {"name": None}},
        {"qos_specs": {"name": "  "}},
        {"qos_specs": {"name": 5}},
        {"qos_specs": {"name": "n" * 256}},
        {"qos_specs": {"name": "a", "consumer": "x"}},
        {"qos_specs": {"name": "a", "consumer": ""}},
        {"qos_specs": {"name": "a", "k": 5}},
        {"qos_specs": {"name": "a", "k": True}},
        {"qos_specs": {"name": "a", "specs": {"k": "v"}}},
        {"qos_specs": {"name": "a", "": "v"}},
        {"qos_specs": {"name": "a", "k" * 256: "v"}},
        {"qos_specs": {"name": "a", "k": "v" * 256}},
        {"qos_specs": {"name": "a"}, "more": 1},
    ],
)
async def test_a_wrong_body_is_refused_and_makes_nothing(cloud: Cloud, body: object) -> None:
    reply = await cloud.admin.post("/qos-specs", body)
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert await names(cloud) == []


@pytest.mark.parametrize("role", ["member", "reader"])
async def test_all_calls_are_for_administrators(cloud: Cloud, role: str) -> None:
    ident = await new_qos(cloud)
    caller, path = cloud.caller(role), f"/qos-specs/{ident}"
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/qos-specs", None),
        ("POST", "/qos-specs", {"qos_specs": {"name": "other"}}),
        ("GET", path, None),
        ("PUT", path, {"qos_specs": {"a": "1"}}),
        ("PUT", f"{path}/delete_keys", {"keys": ["a"]}),
        ("DELETE", path, None),
        ("GET", f"{path}/associations", None),
        ("GET", f"{path}/associate?vol_type_id=x", None),
        ("GET", f"{path}/disassociate?vol_type_id=x", None),
        ("GET", f"{path}/disassociate_all", None),
    ]
    answers = [(await caller.call(*one)).status_code for one in calls]
    assert answers == [403] * len(calls)


# -- list -------------------------------------------------------------------------------------


async def test_the_newest_come_first_and_pages_follow_the_link(cloud: Cloud) -> None:
    for name in ("a", "b", "c"):
        await new_qos(cloud, name)
    found, path = [], "/qos-specs?limit=2"
    while path:
        reply = (await cloud.admin.get(path)).json()
        found += [one["name"] for one in reply["qos_specs"]]
        links = reply.get("qos_specs_links", [])
        path = links[0]["href"].partition("/v3")[2] if links else ""
    assert found == ["c", "b", "a"]


async def test_filters_and_order(cloud: Cloud) -> None:
    first = await new_qos(cloud, "a", consumer="both")
    await new_qos(cloud, "b")
    assert await names(cloud, "?sort=name:asc") == ["a", "b"]
    assert await names(cloud, "?sort_key=created_at&sort_dir=asc") == ["a", "b"]
    assert await names(cloud, f"?id={first}") == ["a"]
    assert await names(cloud, "?name=b") == ["b"]
    assert await names(cloud, "?consumer=both") == ["a"]
    assert await names(cloud, "?bogus=1") == []
    assert await names(cloud, "?sort=name:asc&offset=1") == ["b"]
    assert await names(cloud, "?limit=0") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?marker=nope", 404),
        ("?limit=-1", 400),
        ("?limit=x", 400),
        ("?offset=-1", 400),
        ("?sort=bogus", 400),
        ("?sort=name:up", 400),
    ],
)
async def test_a_wrong_list_query_is_refused(cloud: Cloud, query: str, status: int) -> None:
    assert (await cloud.admin.get(f"/qos-specs{query}")).status_code == status


async def test_unknown_qos_specs_are_not_found(cloud: Cloud) -> None:
    made = await cloud.new_type("t")
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/qos-specs/nope", None),
        ("PUT", "/qos-specs/nope", {"qos_specs": {"a": "1"}}),
        ("PUT", "/qos-specs/nope/delete_keys", {"keys": ["a"]}),
        ("DELETE", "/qos-specs/nope", None),
        ("DELETE", "/qos-specs/nope?force=true", None),
        ("GET", "/qos-specs/nope/associations", None),
        ("GET", f"/qos-specs/nope/associate?vol_type_id={made['id']}", None),
        ("GET", f"/qos-specs/nope/disassociate?vol_type_id={made['id']}", None),
        ("GET", "/qos-specs/nope/disassociate_all", None),
    ]
    answers = [await cloud.admin.call(*one) for one in calls]
    assert [reply.status_code for reply in answers] == [404] * len(calls)
    assert {key for reply in answers for key in reply.json()} == {"itemNotFound"}


# -- change -----------------------------------------------------------------------------------


async def test_update_sets_keys_and_echoes_the_request(cloud: Cloud) -> None:
    ident = await new_qos(cloud, a="1", b="2")
    body = {"qos_specs": {"b": "3", "c d": "4", "consumer": "both"}}
    reply = await cloud.admin.put(f"/qos-specs/{ident}", body)
    assert (reply.status_code, reply.json()) == (200, body)
    found = await shown(cloud, ident)
    assert found["specs"] == {"a": "1", "b": "3", "c d": "4"}
    assert (found["name"], found["consumer"]) == ("gold", "both")


async def test_update_without_a_consumer_keeps_it_and_null_takes_keys_away(cloud: Cloud) -> None:
    ident = await new_qos(cloud, consumer="both", a="1", b="2")
    assert (await cloud.admin.put(f"/qos-specs/{ident}", {"qos_specs": {}})).status_code == 200
    body = {"qos_specs": {"a": None}}
    assert (await cloud.admin.put(f"/qos-specs/{ident}", body)).json() == body
    found = await shown(cloud, ident)
    assert (found["consumer"], found["specs"]) == ("both", {"b": "2"})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"qos_specs": {"k$": "1"}},
        {"qos_specs": {"a": 1}},
        {"qos_specs": {"a": "v" * 256}},
        {"qos_specs": {"a": "2", "consumer": "x"}},
        {"qos_specs": {"a": "2"}, "more": 1},
        {"qos_specs": ["a"]},
    ],
)
async def test_a_wrong_update_changes_nothing(cloud: Cloud, body: object) -> None:
    ident = await new_qos(cloud, a="1")
    assert (await cloud.admin.put(f"/qos-specs/{ident}", body)).status_code == 400
    assert (await shown(cloud, ident))["specs"] == {"a": "1"}


async def test_keys_are_taken_away(cloud: Cloud) -> None:
    ident = await new_qos(cloud, a="1", b="2", c="3")
    reply = await cloud.admin.put(f"/qos-specs/{ident}/delete_keys", {"keys": ["a", "c"]})
    assert (reply.status_code, reply.text) == (202, "")
    assert (await shown(cloud, ident))["specs"] == {"b": "2"}


async def test_keys_before_an_unknown_one_are_taken_away(cloud: Cloud) -> None:
    ident = await new_qos(cloud, a="1", b="2")
    reply = await cloud.admin.put(f"/qos-specs/{ident}/delete_keys", {"keys": ["a", "z", "b"]})
    assert reply.status_code == 404
    assert "z" in reply.json()["itemNotFound"]["message"]
    assert (await shown(cloud, ident))["specs"] == {"b": "2"}


@pytest.mark.parametrize("body", BAD_KEYS)
async def test_a_wrong_list_of_keys_is_refused(cloud: Cloud, body: object) -> None:
    ident = await new_qos(cloud, a="1")
    assert (await cloud.admin.put(f"/qos-specs/{ident}/delete_keys", body)).status_code == 400
    assert (await shown(cloud, ident))["specs"] == {"a": "1"}


# -- types ------------------------------------------------------------------------------------


async def test_a_type_gets_and_loses_qos_specs(cloud: Cloud) -> None:
    made, ident = await cloud.new_type("fast"), await new_qos(cloud)
    assert await tie(cloud, ident, made["id"]) == 202
    assert await tie(cloud, ident, made["id"]) == 202
    listed = (await cloud.admin.get(f"/qos-specs/{ident}/associations")).json()
    one = {"association_type": "volume_type", "name": "fast", "id": made["id"]}
    assert listed == {"qos_associations": [one]}
    of_type = (await cloud.admin.get(f"/types/{made['id']}")).json()["volume_type"]
    assert of_type["qos_specs_id"] == ident
    filtered = (await cloud.admin.get(f"/types?qos_specs_id={ident}")).json()
    assert [one["name"] for one in filtered["volume_types"]] == ["fast"]

    path = f"/qos-specs/{ident}/disassociate?vol_type_id={made['id']}"
    assert [(await cloud.admin.get(path)).status_code for _ in range(2)] == [202, 202]
    assert await tied(cloud, ident) == []


async def test_a_type_has_one_set_of_qos_specs(cloud: Cloud) -> None:
    made = await cloud.new_type("fast")
    first, second = await new_qos(cloud, "a"), await new_qos(cloud, "b")
    await tie(cloud, first, made["id"])
    assert await tie(cloud, second, made["id"]) == 400
    path = f"/qos-specs/{second}/disassociate?vol_type_id={made['id']}"
    assert (await cloud.admin.get(path)).status_code == 202
    assert (await tied(cloud, first), await tied(cloud, second)) == (["fast"], [])


async def test_all_types_are_untied_at_once(cloud: Cloud) -> None:
    first, second = await new_qos(cloud, "a"), await new_qos(cloud, "b")
    for name, qos in (("t1", first), ("t2", first), ("t3", second)):
        await tie(cloud, qos, (await cloud.new_type(name, is_public=name != "t2"))["id"])
    assert await tied(cloud, first) == ["t1", "t2"]
    path = f"/qos-specs/{first}/disassociate_all"
    assert [(await cloud.admin.get(path)).status_code for _ in range(2)] == [202, 202]
    assert (await tied(cloud, first), await tied(cloud, second)) == ([], ["t3"])


@pytest.mark.parametrize("verb", ["associate", "disassociate"])
async def test_the_type_must_be_named_by_a_known_id(cloud: Cloud, verb: str) -> None:
    await cloud.new_type("fast")
    path = f"/qos-specs/{await new_qos(cloud)}/{verb}"
    for query, status in (
        ("", 400),
        ("?vol_type_id=", 400),
        ("?vol_type_id=nope", 404),
        ("?vol_type_id=fast", 404),
    ):
        assert (await cloud.admin.get(path + query)).status_code == status, query


async def test_a_missing_type_is_asked_for_before_the_qos_specs(cloud: Cloud) -> None:
    assert (await cloud.admin.get("/qos-specs/nope/associate")).status_code == 400


async def test_qos_specs_in_use_go_by_force_only(cloud: Cloud) -> None:
    made, ident = await cloud.new_type("fast"), await new_qos(cloud)
    await tie(cloud, ident, made["id"])
    for query in ("", "?force=false", "?force=maybe", "?force="):
        assert (await cloud.admin.delete(f"/qos-specs/{ident}{query}")).status_code == 400, query
    assert await tied(cloud, ident) == ["fast"]
    assert (await cloud.admin.delete(f"/qos-specs/{ident}?force=True")).status_code == 202
    of_type = (await cloud.admin.get(f"/types/{made['id']}")).json()["volume_type"]
    assert (await shown(cloud, ident), of_type["qos_specs_id"]) == (None, None)


async def test_qos_specs_that_nobody_has_are_deleted(cloud: Cloud) -> None:
    ident = await new_qos(cloud)
    assert (await cloud.admin.delete(f"/qos-specs/{ident}")).status_code == 202
    assert (await cloud.admin.delete(f"/qos-specs/{ident}")).status_code == 404
    assert await new_qos(cloud) != ident


async def test_a_deleted_type_leaves_its_qos_specs_free(cloud: Cloud) -> None:
    made, ident = await cloud.new_type("fast"), await new_qos(cloud)
    await tie(cloud, ident, made["id"])
    assert (await cloud.admin.delete(f"/types/{made['id']}")).status_code == 202
    assert await tied(cloud, ident) == []
    assert (await cloud.admin.delete(f"/qos-specs/{ident}")).status_code == 202


# -- volumes ----------------------------------------------------------------------------------


class Listener(FakeDriver):
    """Notes the limits that it was told last, by volume."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, dict[str, str]] = {}

    def create(self, volume: Volume, source: Source) -> None:
        self.told[volume.id] = dict(volume.qos)
        super().create(volume, source)

    def export(
        self, volume: Volume, connector: Mapping[str, Any], *, mode: Literal["rw", "ro"] = "rw"
    ) -> ConnectionInfo:
        self.told[volume.id] = dict(volume.qos)
        return super().export(volume, connector, mode=mode)

    def extend(self, volume: Volume, new_size: int) -> None:
        self.told[volume.id] = dict(volume.qos)
        super().extend(volume, new_size)


@pytest.fixture
def driver() -> Listener:
    return Listener()


@pytest.fixture
async def house(tmp_path: Path, driver: Listener) -> AsyncIterator[House]:
    async with open_house(tmp_path, [driver]) as opened:
        yield opened


async def type_with(house: House, **specs: str) -> str:
    """A volume type with these QoS specs; its name."""
    made, ident = await house.new_type("fast"), await new_qos(house, **specs)
    assert await tie(house, ident, made["id"]) == 202
    return "fast"


async def told_to_host(house: House, volume: str) -> Any:
    attachment = await house.attachment(volume, "compute1")
    reply = await house.member.get(f"/attachments/{attachment}")
    return reply.json()["attachment"]["connection_info"]["qos_specs"]


async def test_a_host_is_told_limits_that_grow_with_the_volume(
    house: House, driver: Listener
) -> None:
    name = await type_with(house, consumer="front-end", total_iops_sec_per_gb="10", x="y")
    volume = await house.volume(3, volume_type=name)
    assert await told_to_host(house, volume) == {"total_iops_sec": "30", "x": "y"}
    assert driver.told[volume] == {}


async def test_a_backend_is_told_when_it_makes_and_exports_a_volume(
    house: House, driver: Listener
) -> None:
    name = await type_with(house, consumer="back-end", total_iops_sec="10")
    volume = await house.volume(volume_type=name)
    assert driver.told[volume] == {"total_iops_sec": "10"}
    body = {"qos_specs": {"total_iops_sec": "20"}}
    ident = (await house.admin.get("/qos-specs")).json()["qos_specs"][0]["id"]
    assert (await house.admin.put(f"/qos-specs/{ident}", body)).status_code == 200
    assert await told_to_host(house, volume) is None
    assert driver.told[volume] == {"total_iops_sec": "20"}


async def test_a_backend_is_told_when_a_volume_grows(house: House, driver: Listener) -> None:
    name = await type_with(house, consumer="back-end", maxIOPSperGiB="10")
    volume = await house.volume(volume_type=name)
    driver.told.clear()
    assert (await house.act(volume, "os-extend", {"new_size": 3})).status_code == 202
    await house.quiet()
    assert driver.told[volume] == {"maxIOPSperGiB": "10"}


async def test_both_are_told(house: House, driver: Listener) -> None:
    name = await type_with(house, consumer="both", total_iops_sec="10")
    volume = await house.volume(volume_type=name)
    assert await told_to_host(house, volume) == driver.told[volume] == {"total_iops_sec": "10"}


async def test_os_initialize_connection_tells_in_data(house: House) -> None:
    name = await type_with(house, consumer="front-end", total_iops_sec="10")
    volume = await house.volume(volume_type=name)
    connector = {"connector": {"host": "compute1"}}
    reply = await house.act(volume, "os-initialize_connection", connector)
    told = reply.json()["connection_info"]["data"]["qos_specs"]
    assert told == {"total_iops_sec": "10"}
