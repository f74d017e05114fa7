"""What becomes of request bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx2
import msgspec
import pytest

from breezeblock.model.errors import InvalidInput
from breezeblock.web.bodies import decode
from tests.unit.web.toy import client

LATEST = {"OpenStack-API-Version": "volume latest"}
JSON = {"Content-Type": "application/json"}
LIMIT = 114_688


async def post(path: str, headers: dict[str, str] | None = None, **options: Any) -> httpx2.Response:
    async with client() as http:
        return await http.post(path, headers=headers or {}, **options)


def message(reply: httpx2.Response) -> str:
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    return str(reply.json()["badRequest"]["message"])


async def test_a_good_body_reaches_the_handler_as_declared() -> None:
    reply = await post("/v3/boxes", json={"box": {"size": "7"}})
    assert (reply.status_code, reply.json()) == (202, {"box": {"size": 7}})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "box"),
        ({"box": None}, "box"),
        ({"box": {}}, "size"),
        ({"box": {"size": 0}}, "box.size: must be a whole number"),
        ({"box": {"size": 1.5}}, "box.size"),
        ({"box": {"size": 2147483648}}, "box.size"),
        ({"box": {"size": True}}, "box.size"),
        ({"box": {"size": 1, "name": 5}}, "box.name: must be text"),
        ({"box": {"size": 1, "name": "x" * 256}}, "box.name: must have 0 to 255 characters"),
        ({"box": {"size": 1}, "x": 1}, "unknown field x"),
        ({"box": {"size": 1, "bogus": 1}}, "box: object contains unknown field bogus"),
        ({"box": {"size": 1, "metadata": {"a": 1}}}, "box.metadata"),
        ({"box": {"size": 1, "metadata": {"a$": "1"}}}, "box.metadata: a key"),
        ({"box": {"size": 1, "metadata": "x"}}, "box.metadata: expected object or null, got text"),
    ],
)
async def test_a_bad_field_is_named(body: object, says: str) -> None:
    assert says in message(await post("/v3/boxes", LATEST, json=body))


@pytest.mark.parametrize(
    "body",
    [
        {"box": {"size": 1, "y" * 100_000: 1}},
        {"box": {"size": 1, "y`'\n" * 20_000: 1}},
        {"y" * 100_000: 1},
    ],
)
async def test_what_a_message_repeats_is_cut(body: object) -> None:
    text = message(await post("/v3/boxes", LATEST, json=body))
    assert ("unknown field y" in text, "…" in text, len(text) < 220) == (True, True, True)


@pytest.mark.parametrize("quote", ["y", "y'", 'y"', "y\n"])
def test_an_unknown_word_of_a_list_is_cut(quote: str) -> None:
    with pytest.raises(InvalidInput, match=r"enum value .y") as caught:
        decode(dict[str, Literal["rw", "ro"]], msgspec.json.encode({"mode": quote * 50_000}))
    assert ("…" in str(caught.value), len(str(caught.value)) < 220) == (True, True)


async def test_messages_hold_no_quotes_of_the_implementation() -> None:
    text = message(await post("/v3/boxes", LATEST, json={"box": 5}))
    assert text == "Invalid input for field box: expected object, got integer"


async def test_unknown_keys_are_ignored_where_the_version_says_so() -> None:
    body = {"box": {"size": 1, "bogus": 1}}
    older = await post("/v3/boxes", {"OpenStack-API-Version": "volume 3.52"}, json=body)
    newer = await post("/v3/boxes", {"OpenStack-API-Version": "volume 3.53"}, json=body)
    assert (older.status_code, newer.status_code) == (202, 400)


@pytest.mark.parametrize(
    "raw",
    [b"{bad", b"{", b"\xff", b'{"box": {"size": 1, "name": "\xff"}}', b'{"box": {"size": 1}} x'],
)
async def test_malformed_json_has_a_fixed_message(raw: bytes) -> None:
    text = message(await post("/v3/boxes", JSON, content=raw))
    assert text.startswith("The server could not comply with the request since it is either")


@pytest.mark.parametrize("raw", [b"[1]", b"5", b'"x"', b"null"])
async def test_a_document_that_is_no_object_is_refused(raw: bytes) -> None:
    for path in ("/v3/boxes", "/v3/boxes/b/action"):
        message(await post(path, JSON, content=raw))


@pytest.mark.parametrize("raw", [rb'{"box": {"size": 1, "name": "a\u0000"}}', rb'{"\\\u0000": 1}'])
async def test_the_null_character_is_refused(raw: bytes) -> None:
    assert "null character" in message(await post("/v3/boxes", JSON, content=raw))


async def test_a_text_that_only_spells_the_null_character_is_fine() -> None:
    raw = rb'{"box": {"size": 1, "name": "a\\u0000"}}'
    assert (await post("/v3/boxes", JSON, content=raw)).status_code == 202


async def test_deep_nesting_is_refused() -> None:
    raw = b'{"box":' + b"[" * 100_000 + b"]" * 10
    message(await post("/v3/boxes", JSON, content=raw))
    async with client() as http:
        reply = await http.put("/v3/locks/enable", headers=JSON, content=b'{"a":' + b"[" * 100_000)
    message(reply)


@pytest.mark.parametrize("path", ["/v3/boxes", "/v3/boxes/b/action"])
async def test_an_empty_body_is_refused_where_one_is_needed(path: str) -> None:
    message(await post(path, JSON))
    message(await post(path))


async def test_a_body_without_content_type_is_not_looked_at() -> None:
    reply = await post("/v3/boxes", content=b'{"box": {"size": 1}}')
    assert "needed" in message(reply)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data"])
async def test_other_content_types_are_refused(kind: str) -> None:
    reply = await post("/v3/boxes", {"Content-Type": kind}, content=b"{}")
    assert (reply.status_code, list(reply.json())) == (415, ["badMediaType"])


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=UTF-8",
        "application/vnd.openstack.volume+json",
        "Application/JSON",
    ],
)
async def test_json_by_its_other_names_is_accepted(kind: str) -> None:
    reply = await post("/v3/boxes", {"Content-Type": kind}, content=b'{"box": {"size": 1}}')
    assert reply.status_code == 202


async def test_the_vendors_type_is_echoed_to_who_accepts_it() -> None:
    vendor = "application/vnd.openstack.volume+json"
    async with client() as http:
        good = await http.get("/v3/boxes", headers={"Accept": vendor})
        xml = await http.get("/v3/boxes", headers={"Accept": "application/xml"})
        fault = await http.get("/v3/boxes/missing", headers={"Accept": vendor})
    assert good.headers["content-type"] == vendor
    assert xml.headers["content-type"] == "application/json"
    assert fault.json()["itemNotFound"]["code"] == 404


async def test_a_route_without_body_type_takes_any_json_object_or_nothing() -> None:
    async with client() as http:
        given = await http.put("/v3/locks/enable", json={"any": ["thing"]})
        nothing = await http.put("/v3/locks/enable")
        broken = await http.put("/v3/locks/enable", headers=JSON, content=b"{")
    assert (given.status_code, nothing.status_code, broken.status_code) == (200, 200, 400)


async def test_the_single_key_of_the_body_picks_the_action() -> None:
    reply = await post("/v3/boxes/b/action", json={"grow": {"new_size": 3}})
    assert reply.json() == {"grown": 3}


async def test_an_actions_field_is_named_with_the_action() -> None:
    text = message(await post("/v3/boxes/b/action", json={"grow": {"new_size": -1}}))
    assert "grow.new_size" in text


async def test_an_unknown_action_is_named() -> None:
    assert "os-nosuch" in message(await post("/v3/boxes/b/action", json={"os-nosuch": {}}))


@pytest.mark.parametrize("body", [{}, {"grow": {"new_size": 3}, "x": 1}, {"a": 1, "b": 2}])
async def test_an_action_needs_exactly_one_key(body: object) -> None:
    assert "exactly one key" in message(await post("/v3/boxes/b/action", json=body))


@pytest.mark.parametrize("value", [None, {}, "anything", [1]])
async def test_an_action_without_body_type_takes_any_value(value: object) -> None:
    reply = await post("/v3/boxes/b/action", LATEST, json={"shrink": value})
    assert reply.status_code == 204


async def test_a_body_of_the_greatest_size_is_read() -> None:
    body = b'{"box": {"size": 1}}'.ljust(LIMIT)
    assert (await post("/v3/boxes", JSON, content=body)).status_code == 202


async def test_a_greater_body_is_refused_in_plain_text() -> None:
    reply = await post("/v3/boxes", JSON, content=b'{"box": {"size": 1}}'.ljust(LIMIT + 1))
    assert reply.status_code == 413
    assert reply.headers["content-type"].startswith("text/plain")
    assert "openstack-api-version" not in reply.headers


async def test_a_body_without_announced_length_is_read_only_up_to_the_limit() -> None:
    pulled = 0

    async def very_long() -> AsyncIterator[bytes]:
        nonlocal pulled
        while pulled < 20 * LIMIT:
            pulled += 16_384
            yield b" " * 16_384

    reply = await post("/v3/boxes", JSON, content=very_long())
    assert (reply.status_code, reply.headers["connection"]) == (413, "close")
    assert pulled <= LIMIT + 4 * 16_384
