"""Extra specs of volume types over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from breezeblock.api import type_extra_specs, types
from tests.service.catalog_fixture import Cloud, open_cloud


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, (*types.ROUTES, *type_extra_specs.ROUTES)) as opened:
        yield opened


async def new_type(cloud: Cloud, **specs: str) -> str:
    """The path of the extra specs of a new type."""
    made = await cloud.new_type("gold", extra_specs=specs)
    return f"/types/{made['id']}/extra_specs"


async def stored(cloud: Cloud, path: str) -> Any:
    return (await cloud.admin.get(path)).json()["extra_specs"]


async def test_post_echoes_the_request_and_keeps_the_other_keys(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1", b="2")
    body = {"extra_specs": {"b": "3", "capabilities:c": "<is> True"}}
    reply = await cloud.admin.post(path, body)
    assert (reply.status_code, reply.json()) == (200, body)
    assert await stored(cloud, path) == {"a": "1", "b": "3", "capabilities:c": "<is> True"}


async def test_put_sets_the_key_of_the_url(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1")
    reply = await cloud.admin.put(f"{path}/a", {"a": "2"})
    assert (reply.status_code, reply.json()) == (200, {"a": "2"})
    assert await stored(cloud, path) == {"a": "2"}


async def test_a_value_of_null_takes_the_key_away(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1", b="2")
    assert (await cloud.admin.put(f"{path}/a", {"a": None})).status_code == 200
    assert await stored(cloud, path) == {"b": "2"}


async def test_a_null_for_a_key_that_is_not_there_changes_nothing(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1")
    body = {"extra_specs": {"b": None}}
    reply = await cloud.admin.post(path, body)
    assert (reply.status_code, reply.json()) == (200, body)
    assert await stored(cloud, path) == {"a": "1"}


@pytest.mark.parametrize("body", [{}, {"b": "1"}, {"a": "1", "b": "1"}, {"a": 1}, []])
async def test_put_refuses_any_other_key(cloud: Cloud, body: object) -> None:
    path = await new_type(cloud, a="0")
    assert (await cloud.admin.put(f"{path}/a", body)).status_code == 400
    assert await stored(cloud, path) == {"a": "0"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"extra_specs": None},
        {"extra_specs": {"a b": "1"}},
        {"extra_specs": {"a\n": "1"}},
        {"extra_specs": {"": "1"}},
        {"extra_specs": {"a": "v" * 256}},
        {"extra_specs": {"a": {"b": "c"}}},
        {"extra_specs": {"a": "1"}, "x": 1},
    ],
)
async def test_a_wrong_body_is_refused_and_changes_nothing(cloud: Cloud, body: object) -> None:
    path = await new_type(cloud, a="0")
    assert (await cloud.admin.post(path, body)).status_code == 400
    assert await stored(cloud, path) == {"a": "0"}


async def test_show_gives_one_key(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1")
    assert (await cloud.admin.get(f"{path}/a")).json() == {"a": "1"}
    assert (await cloud.admin.get(f"{path}/b")).status_code == 404


async def test_delete_answers_202_and_404_for_what_is_not_there(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1")
    assert (await cloud.admin.delete(f"{path}/a")).status_code == 202
    assert (await cloud.admin.delete(f"{path}/a")).status_code == 404
    assert await stored(cloud, path) == {}


async def test_members_see_what_concerns_them(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1", multiattach="<is> True")
    shown = (await cloud.member.get(path)).json()["extra_specs"]
    assert shown == {"multiattach": "<is> True"}
    assert (await cloud.member.get(f"{path}/multiattach")).status_code == 200
    assert (await cloud.member.get(f"{path}/a")).status_code == 404


async def test_changes_are_for_administrators(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1")
    replies = [
        await cloud.member.post(path, {"extra_specs": {"a": "2"}}),
        await cloud.member.put(f"{path}/a", {"a": "2"}),
        await cloud.member.delete(f"{path}/a"),
    ]
    assert [reply.status_code for reply in replies] == [403, 403, 403]


async def test_a_type_with_volumes_keeps_its_extra_specs(cloud: Cloud) -> None:
    path = await new_type(cloud, a="1")
    await cloud.new_volume("gold")
    replies = [
        await cloud.admin.post(path, {"extra_specs": {"a": "b"}}),
        await cloud.admin.put(f"{path}/a", {"a": "2"}),
        await cloud.admin.delete(f"{path}/a"),
    ]
    assert [reply.status_code for reply in replies] == [400, 400, 400]
    assert "in use" in replies[0].json()["badRequest"]["message"]
    assert await stored(cloud, path) == {"a": "1"}


async def test_multiattach_excludes_cacheable_also_one_after_the_other(cloud: Cloud) -> None:
    path = await new_type(cloud, multiattach="<is> True")
    body = {"extra_specs": {"cacheable": "<is> True"}}
    assert (await cloud.admin.post(path, body)).status_code == 400
    assert await stored(cloud, path) == {"multiattach": "<is> True"}


async def test_extra_specs_of_an_unknown_type_are_not_found(cloud: Cloud) -> None:
    path = "/types/nope/extra_specs"
    replies = [
        await cloud.admin.get(path),
        await cloud.admin.post(path, {"extra_specs": {"a": "b"}}),
        await cloud.admin.put(f"{path}/a", {"a": "2"}),
        await cloud.admin.delete(f"{path}/a"),
    ]
    assert {reply.status_code for reply in replies} == {404}
