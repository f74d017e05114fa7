"""What a handler learns of the request, and how it asks the policy."""

from __future__ import annotations

import re
from typing import Any, cast

import httpx2
import pytest

from breezeblock.auth.authenticators import Authenticator
from breezeblock.auth.identity import Identity
from breezeblock.web.app import make_app
from breezeblock.web.call import Call
from breezeblock.web.routes import Route
from breezeblock.web.service import block_storage
from tests.unit.web.toy import PROJECT, TOKEN, client

CHAIN = "req-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"


class As(Authenticator):
    """Everybody has these roles in this project."""

    def __init__(self, *roles: str) -> None:
        self._identity = Identity.with_roles("alice", PROJECT, set(roles))

    async def identify(self, headers: Any, method: str = "", path: str = "") -> Identity:
        return self._identity


async def seen(url: str = "/v3/boxes", **options: Any) -> Call[Any]:
    calls = []

    async def keep(call: Call[Any]) -> None:
        calls.append(call)

    service = options.pop("service", None)
    async with client([Route("GET", "/boxes", keep)], service=service) as http:
        await http.get(url, **options)
    return calls[0]


async def test_of_a_repeated_query_parameter_the_last_counts() -> None:
    call = await seen("/v3/boxes?a=1&b=x%20y&a=2&empty=")
    assert call.query == {"a": "2", "b": "x y", "empty": ""}


async def test_the_null_character_is_refused_in_query_and_path() -> None:
    async with client() as http:
        query = await http.get("/v3/boxes?name=a&name=a%00")
        path = await http.get("/v3/boxes/a%00")
    assert (query.status_code, list(query.json())) == (400, ["badRequest"])
    assert path.status_code == 404


async def test_every_request_has_an_id_of_its_own() -> None:
    first, second = await seen(), await seen()
    assert re.fullmatch(r"req-[0-9a-f-]{36}", first.request_id)
    assert first.request_id != second.request_id


@pytest.mark.parametrize(
    ("given", "kept"), [(CHAIN, CHAIN), (CHAIN[4:], None), ("req-x", None), ("req-\n", None)]
)
async def test_a_well_formed_id_of_the_whole_chain_is_kept(given: str, kept: str | None) -> None:
    call = await seen(headers={"X-OpenStack-Request-ID": given})
    assert call.global_request_id == kept
    assert call.request_id != given


@pytest.mark.parametrize(
    ("headers", "endpoint", "base"),
    [
        ({}, None, "http://cloud"),
        ({"Host": "other:8776"}, None, "http://other:8776"),
        ({"X-Forwarded-Host": "front, mid", "X-Forwarded-Proto": "https"}, None, "https://front"),
        ({"X-Forwarded-Host": "front"}, "https://public/volume/", "https://public/volume"),
    ],
)
async def test_links_begin_with_the_endpoint_else_the_proxy_else_the_request(
    headers: dict[str, str], endpoint: str | None, base: str
) -> None:
    call = await seen(headers=headers, service=block_storage(public_endpoint=endpoint))
    assert call.base_url == base


async def test_the_path_is_the_clients() -> None:
    call = await seen(f"/v3/{PROJECT}/boxes", headers=TOKEN)
    assert (call.path, call.url_has_project) == (f"/v3/{PROJECT}/boxes", True)


async def test_the_application_reaches_the_handler() -> None:
    async def tell(call: Call[dict[str, int]]) -> object:
        return call.app

    app = make_app(
        block_storage(),
        [Route("GET", "/boxes", tell)],
        app={"answer": 42},
        authenticator=As("member"),
        policy=Everything(),
    )
    transport = httpx2.ASGITransport(app=cast("Any", app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://cloud") as http:
        assert (await http.get("/v3/boxes")).json() == {"answer": 42}


class Everything:
    def known(self, identity: Identity) -> Identity:
        return identity

    def allows(self, rule: str, identity: Identity, target: Any) -> bool:
        return True


@pytest.mark.parametrize(("role", "status"), [("reader", 403), ("member", 202), ("admin", 202)])
async def test_the_routes_policy_is_checked_before_the_handler(role: str, status: int) -> None:
    async with client(authenticator=As(role)) as http:
        reply = await http.post("/v3/boxes", json={"box": {"size": 1}})
    assert reply.status_code == status


async def test_a_refusal_names_the_rule() -> None:
    async with client(authenticator=As("reader")) as http:
        reply = await http.delete("/v3/boxes/b1")
    assert "volume:force_delete" in reply.json()["forbidden"]["message"]


async def test_a_bad_body_is_told_before_the_policy_is_asked() -> None:
    async with client(authenticator=As("reader")) as http:
        reply = await http.post("/v3/boxes", json={"box": {"size": 0}})
    assert reply.status_code == 400


async def test_a_handler_may_ask_about_a_target_or_about_the_callers_own_project() -> None:
    call = await seen(headers=TOKEN)
    member = Identity.with_roles("bob", PROJECT, {"member"})
    call = Call(**{name: getattr(call, name) for name in call.__slots__} | {"identity": member})
    assert call.allowed("volume:extend")
    assert call.allowed("volume:extend", {"project_id": PROJECT})
    assert not call.allowed("volume:extend", {"project_id": "other"})
