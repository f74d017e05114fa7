"""The metadata of volumes and of snapshots as a resource of its own."""

from __future__ import annotations

import hashlib

import pytest

from tests.service.house import House


@pytest.fixture
async def at(house: House) -> str:
    """The metadata's path, of a volume with one pair."""
    return f"/volumes/{await house.volume(metadata={'a': '1'})}/metadata"


async def test_post_adds_and_put_replaces(house: House, at: str) -> None:
    merged = await house.member.post(at, {"metadata": {"b": "2"}})
    assert merged.json() == {"metadata": {"a": "1", "b": "2"}}
    replaced = await house.member.put(at, {"metadata": {"c": "3"}})
    assert replaced.json() == {"metadata": {"c": "3"}}
    assert (await house.member.get(at)).json() == {"metadata": {"c": "3"}}


async def test_one_key_is_shown_set_and_removed(house: House, at: str) -> None:
    assert (await house.member.get(f"{at}/a")).json() == {"meta": {"a": "1"}}
    assert (await house.member.put(f"{at}/b", {"meta": {"b": "2"}})).json() == {"meta": {"b": "2"}}
    removed = await house.member.delete(f"{at}/a")
    assert (removed.status_code, removed.content) == (200, b"")
    assert (await house.member.get(at)).json() == {"metadata": {"b": "2"}}
    assert (await house.member.get(f"{at}/a")).status_code == 404


async def test_the_key_in_the_body_must_be_the_paths(house: House, at: str) -> None:
    assert (await house.member.put(f"{at}/a", {"meta": {"b": "2"}})).status_code == 400
    assert (await house.member.put(f"{at}/a", {"meta": {"a": "1", "b": "2"}})).status_code == 400


async def test_the_etag_is_the_md5_of_the_reply(house: House, at: str) -> None:
    reply = await house.member.get(at, "3.15")
    assert reply.headers["etag"] == hashlib.md5(reply.content).hexdigest()
    assert "etag" not in (await house.member.get(at, "3.14")).headers


async def test_a_put_meant_for_another_state_is_refused(house: House, at: str) -> None:
    tag = (await house.member.get(at)).headers["etag"]
    fresh = {"If-Match": tag, "X-Auth-Token": house.member.token}
    version = {"OpenStack-API-Version": "volume 3.15"}
    body = {"metadata": {"b": "2"}}
    first = await house.client.put(f"/v3{at}", json=body, headers={**fresh, **version})
    assert first.status_code == 200
    second = await house.client.put(f"/v3{at}", json=body, headers={**fresh, **version})
    assert (second.status_code, second.content) == (412, b"")
    older = {"OpenStack-API-Version": "volume 3.14"}
    third = await house.client.put(f"/v3{at}", json=body, headers={**fresh, **older})
    assert third.status_code == 200


@pytest.mark.parametrize("status", ["maintenance", "uploading"])
async def test_metadata_stays_while_the_volume_is_moved_or_copied(
    house: House, at: str, status: str
) -> None:
    await house.put(at.split("/")[2], status=status)
    assert (await house.member.post(at, {"metadata": {"b": "2"}})).status_code == 400


@pytest.mark.parametrize("pair", [{"a$": "1"}, {"": "1"}, {"a": 1}, {"a": "x" * 256}])
async def test_what_is_no_metadata_is_refused(house: House, at: str, pair: object) -> None:
    assert (await house.member.post(at, {"metadata": pair})).status_code == 400


async def test_another_project_finds_nothing_and_readers_only_read(house: House, at: str) -> None:
    assert (await house.other.get(at)).status_code == 404
    assert (await house.reader.get(at)).status_code == 200
    assert (await house.reader.post(at, {"metadata": {"b": "2"}})).status_code == 403


async def test_snapshots_have_metadata_without_etag_or_slash(house: House) -> None:
    ident = await house.snapshot(await house.volume(), metadata={"a/b": "1"})
    at = f"/snapshots/{ident}/metadata"
    reply = await house.member.get(at)
    assert reply.json() == {"metadata": {"a/b": "1"}}
    assert "etag" not in reply.headers
    assert (await house.member.post(at, {"metadata": {"c/d": "1"}})).status_code == 400
    changed = await house.member.put(at, {"metadata": {"c": "1"}, "unknown": 1})
    assert changed.json() == {"metadata": {"c": "1"}}
    assert (await house.member.delete(f"{at}/c")).status_code == 200


async def test_a_snapshots_keys_are_added_shown_and_set(house: House) -> None:
    at = f"/snapshots/{await house.snapshot(await house.volume(), metadata={'a': '1'})}/metadata"
    added = await house.member.post(at, {"metadata": {"b": "2"}})
    assert (added.status_code, added.json()) == (200, {"metadata": {"a": "1", "b": "2"}})
    assert (await house.member.put(f"{at}/b", {"meta": {"b": "3"}})).json() == {"meta": {"b": "3"}}
    assert (await house.member.get(f"{at}/b")).json() == {"meta": {"b": "3"}}
    assert (await house.member.get(f"{at}/c")).status_code == 404
