"""User messages over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from breezeblock.api import messages
from breezeblock.model.ids import new_id
from breezeblock.model.messages import CREATE_FAILED, SNAPSHOT_FAILED, Event
from breezeblock.model.operation import Operation
from breezeblock.store import messages as rows
from tests.service.catalog_fixture import OTHER, PROJECT, Cloud, open_cloud

VOLUME = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, messages.ROUTES) as opened:
        yield opened


async def tell(
    cloud: Cloud, text: str, event: Event = CREATE_FAILED, project: str = PROJECT
) -> None:
    operation = Operation(
        id=new_id(),
        workflow="create_volume",
        resource_type="volume",
        resource_id=VOLUME,
        project_id=project,
        user_id="somebody",
        request_id="req-1",
        step="build",
        queue="volume.somewhere",
    )
    await cloud.app.store.write(lambda tx: rows.tell(tx, event, operation, text))


async def listed(cloud: Cloud, query: str = "", version: str = "3.71") -> list[dict[str, Any]]:
    reply = await cloud.member.get(f"/messages{query}", version)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["messages"]
    return found


def texts(found: list[dict[str, Any]]) -> list[str]:
    return [one["user_message"].rpartition(" ")[2] for one in found]


async def test_a_message_has_these_keys(cloud: Cloud) -> None:
    await tell(cloud, "no space")
    (found,) = await listed(cloud)
    ident = found["id"]
    assert found == {
        "id": ident,
        "event_id": "VOLUME_VOLUME_008_012",
        "user_message": "create the volume in a backend: no space",
        "message_level": "ERROR",
        "created_at": found["created_at"],
        "guaranteed_until": found["guaranteed_until"],
        "request_id": "req-1",
        "resource_type": "VOLUME",
        "resource_uuid": VOLUME,
        "links": [
            {"rel": "self", "href": f"http://cloud/v3/messages/{ident}"},
            {"rel": "bookmark", "href": f"http://cloud/messages/{ident}"},
        ],
    }
    assert (await cloud.reader.get(f"/messages/{ident}")).json() == {"message": found}


async def test_a_message_is_cut_however_much_a_backend_said(cloud: Cloud) -> None:
    await tell(cloud, "y" * 100_000)
    (found,) = await listed(cloud)
    assert (len(found["user_message"]), found["user_message"][-2:]) == (1000, "y…")


async def test_messages_begin_with_3_3(cloud: Cloud) -> None:
    assert (await cloud.member.get("/messages", "3.2")).status_code == 404
    assert (await cloud.member.get("/messages", "3.3")).status_code == 200


async def test_an_unknown_message_is_not_found(cloud: Cloud) -> None:
    reply = await cloud.member.get("/messages/x", "3.3")
    assert (reply.status_code, list(reply.json())) == (404, ["itemNotFound"])


async def test_messages_belong_to_their_project(cloud: Cloud) -> None:
    await tell(cloud, "one")
    (found,) = await listed(cloud)
    path = f"/messages/{found['id']}"
    assert (await cloud.other.get("/messages")).json() == {"messages": []}
    assert (await cloud.other.get(path)).status_code == 404
    assert (await cloud.other.delete(path)).status_code == 404
    assert (await cloud.caller("admin", OTHER).get(path)).status_code == 200
    assert texts(await listed(cloud)) == ["one"]


async def test_delete_answers_204_and_readers_may_not(cloud: Cloud) -> None:
    await tell(cloud, "one")
    (found,) = await listed(cloud)
    path = f"/messages/{found['id']}"
    assert (await cloud.reader.delete(path)).status_code == 403
    reply = await cloud.member.delete(path)
    assert (reply.status_code, reply.content) == (204, b"")
    assert (await cloud.member.delete(path)).status_code == 404


async def test_pages_and_filters_begin_with_3_5(cloud: Cloud) -> None:
    for text in ("one", "two", "three"):
        await tell(cloud, text)
    await tell(cloud, "four", SNAPSHOT_FAILED)
    assert len(await listed(cloud, "?limit=1&sort_key=bogus&x=y", "3.4")) == 4
    assert texts(await listed(cloud, "?limit=1&sort=created_at:asc", "3.5")) == ["one"]
    found = await listed(cloud, "?resource_type=VOLUME_SNAPSHOT")
    assert texts(found) == ["four"]


async def test_pages_follow_the_link(cloud: Cloud) -> None:
    for text in ("one", "two", "three"):
        await tell(cloud, text)
    found: list[dict[str, Any]] = []
    path = "/messages?limit=2&sort=created_at:asc"
    while path:
        reply = (await cloud.member.get(path)).json()
        found += reply["messages"]
        links = reply.get("messages_links", [])
        path = links[0]["href"].partition("/v3")[2] if links else ""
    assert texts(found) == ["one", "two", "three"]


async def test_unknown_filters_are_refused_from_3_31(cloud: Cloud) -> None:
    await tell(cloud, "one")
    assert texts(await listed(cloud, "?foo=bar", "3.30")) == ["one"]
    assert (await cloud.member.get("/messages?foo=bar", "3.31")).status_code == 400
    assert (await cloud.member.get("/messages?sort=foo")).status_code == 400
    assert (await cloud.member.get("/messages?marker=foo")).status_code == 404
