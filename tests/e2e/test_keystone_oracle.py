"""Tokens of a real Keystone: who is let in, and as whom, compared with OpenStack's own filter.

keystonemiddleware, in a process of its own, and our authenticator ask the same Keystone about the
same requests. Where we differ on purpose, `expected` says so, and docs/operating.md why.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from breezeblock.auth.identity import BLOCK_STORAGE
from breezeblock.auth.keystone import KeystoneAuth
from breezeblock.auth.keystone_client import KeystoneClient
from breezeblock.auth.policy import Policy
from breezeblock.config import Keystone as Options
from breezeblock.web.app import make_app
from breezeblock.web.call import Call
from breezeblock.web.routes import Route
from breezeblock.web.service import block_storage
from tests.engines.keystone import PASSWORD, Keystone
from tests.engines.keystonemiddleware import TokenOracle

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

KIND = "block-storage"
PATH = "/v3/volumes"
RULE = {"service": KIND, "method": "GET", "path": "/v3/volumes"}


@pytest.fixture(scope="module")
def keystone() -> Iterator[Keystone]:
    server = Keystone()
    try:
        server.start()
        server.register(KIND, "breezeblock", "http://127.0.0.1:9/v3")
        yield server
    finally:
        server.remove()


# -- both of them --------------------------------------------------------------------------------


class Counting(httpx2.AsyncHTTPTransport):
    """The way to Keystone, which counts what is asked about each token."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if "X-Subject-Token" in request.headers:
            self.asked[request.headers["X-Subject-Token"]] += 1
        return await super().handle_async_request(request)


@dataclass
class Clock:
    """Time as the authenticator sees it: the real one, and what the test lets pass at once."""

    passed: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.passed


async def who(call: Call[Any]) -> dict[str, Any]:
    found = call.identity
    return {
        "user_id": found.user_id,
        "project_id": found.project_id,
        "roles": sorted(found.roles),
        "is_admin": found.is_admin,
        "is_service": found.is_service,
    }


@dataclass
class Ours:
    """An application of ours behind our authenticator, in this process."""

    http: httpx2.AsyncClient
    asked: Counter[str]
    clock: Clock = field(default_factory=Clock)


@asynccontextmanager
async def ours(keystone: Keystone, **options: Any) -> AsyncIterator[Ours]:
    told = Options(auth_url=keystone.url, password=PASSWORD, **{"cache_seconds": 0.0, **options})
    clock, way = Clock(), Counting()
    auth = KeystoneAuth(told, BLOCK_STORAGE, KeystoneClient(told, way), clock)
    routes = [Route(method, "/volumes", who) for method in ("GET", "POST")]
    app = make_app(block_storage(), routes, app=None, authenticator=auth, policy=Policy())
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://cloud", timeout=60
    ) as http:
        yield Ours(http, way.asked, clock)
    await auth.close()


@dataclass
class Both:
    """Our application, which remembers no token, and the oracle."""

    ours: httpx2.AsyncClient
    theirs: httpx2.AsyncClient

    async def asked(self, headers: Any, method: str = "GET") -> tuple[int, dict[str, Any]]:
        """Ask both; our answer, which is the oracle's."""
        theirs, reply = await asyncio.gather(
            self.theirs.request(method, PATH, headers=headers),
            self.ours.request(method, PATH, headers=headers),
        )
        assert reply.status_code == theirs.status_code, (reply.text, theirs.text)
        challenges = [one.headers.get("www-authenticate") for one in (reply, theirs)]
        assert challenges[0] == challenges[1]
        if theirs.status_code != 200:
            return theirs.status_code, {}
        assert reply.json() == expected(theirs.json())
        return 200, reply.json()

    async def status(self, token: Any, **headers: str) -> int:
        return (await self.asked({"X-Auth-Token": token, **headers}))[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(keystone: Keystone) -> AsyncIterator[Both]:
    oracle = TokenOracle(keystone, KIND)
    try:
        await asyncio.to_thread(oracle.start)
        async with (
            ours(keystone) as mine,
            httpx2.AsyncClient(base_url=oracle.endpoint, timeout=60) as http,
        ):
            yield Both(mine.http, http)
    finally:
        oracle.remove()


def expected(seen: dict[str, Any]) -> dict[str, Any]:
    """Our identity by what the oracle has let through.

    Roles count in a project and for the system; a service user is a service for itself, too.
    """
    roles = seen["roles"] if seen["project_id"] or seen["system"] else []
    return {
        "user_id": seen["user_id"],
        "project_id": seen["project_id"],
        "roles": roles,
        "is_admin": "admin" in roles,
        "is_service": "service" in {*seen["service_roles"], *roles},
    }


# -- tokens of all kinds -------------------------------------------------------------------------

DOMAIN = {"domain": {"id": "default"}}
SYSTEM = {"system": {"all": True}}
GOOD: dict[str, Callable[[Keystone], str]] = {
    "member": lambda keystone: keystone.token("ada"),
    "reader": lambda keystone: keystone.token("ben"),
    "administrator": lambda keystone: keystone.token("admin"),
    "service user": lambda keystone: keystone.token("glance"),
    "scope system": lambda keystone: keystone.issue("admin", SYSTEM),
    "no scope": lambda keystone: keystone.issue("ada", "unscoped"),
    "application credential": lambda keystone: keystone.limited_token("ada"),
    "one that may make others": lambda keystone: keystone.limited_token("ada", unrestricted=True),
    "one for this request": lambda keystone: keystone.limited_token("ada", access_rules=[RULE]),
    "a trust": lambda keystone: keystone.trusted_token("ada", "carl", "member"),
}


@pytest.mark.parametrize("kind", GOOD)
async def test_who_is_let_in_is_the_same_person(both: Both, keystone: Keystone, kind: str) -> None:
    status, seen = await both.asked({"X-Auth-Token": GOOD[kind](keystone)})
    assert status == 200
    assert seen["user_id"]


async def test_an_administrator_of_a_domain_is_nobody_special(
    both: Both, keystone: Keystone
) -> None:
    [admin] = keystone.call("GET", "/users?name=admin")["users"]
    [role] = keystone.call("GET", "/roles?name=admin")["roles"]
    keystone.call("PUT", f"/domains/default/users/{admin['id']}/roles/{role['id']}")
    token = keystone.issue("admin", DOMAIN)
    status, seen = await both.asked({"X-Auth-Token": token})
    assert (status, seen["roles"], seen["is_admin"]) == (200, [], False)


def limited(**differs: str) -> Callable[[Keystone], str]:
    """A credential for another request than the one that is made."""
    return lambda keystone: keystone.limited_token("ada", access_rules=[{**RULE, **differs}])


BAD: dict[str, Callable[[Keystone], Any]] = {
    "nothing": lambda _: "",
    "rubbish": lambda _: "rubbish",
    "a path": lambda _: "../../users",
    "the beginning of a token": lambda keystone: keystone.token("ada")[:-7],
    "long": lambda _: "x" * 5_000,
    "very long": lambda _: "gAAAAA" * 8_000,
    "no ASCII": lambda _: b"t\xf6ken",
    "for another method": limited(method="POST"),
    "for another path": limited(path="/v3/snapshots"),
    "for another service": limited(service="compute"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_who_is_not_let_in_is_told_where_to_get_a_token(
    both: Both, keystone: Keystone, kind: str
) -> None:
    token = BAD[kind](keystone)
    assert await both.status(token) == 401


async def test_without_any_header_nobody_is_let_in(both: Both, keystone: Keystone) -> None:
    assert (await both.asked({}))[0] == 401


# -- tokens that were good -----------------------------------------------------------------------


async def test_a_revoked_token_is_good_no_more(both: Both, keystone: Keystone) -> None:
    token = keystone.token("ada")
    assert await both.status(token) == 200
    keystone.revoke(token)
    assert await both.status(token) == 401


@pytest.mark.parametrize("what", ["user", "project", "role"])
async def test_nor_is_one_whose_owner_lost_his_rights(
    both: Both, keystone: Keystone, what: str
) -> None:
    name, user, project = keystone.newcomer()
    token = keystone.token(name, name)
    assert await both.status(token) == 200
    if what == "role":
        [role] = keystone.call("GET", "/roles?name=member")["roles"]
        keystone.call("DELETE", f"/projects/{project}/users/{user}/roles/{role['id']}")
    else:
        ident = user if what == "user" else project
        keystone.call("PATCH", f"/{what}s/{ident}", {what: {"enabled": False}})
    assert await both.status(token) == 401


async def test_an_expired_token_is_good_when_a_service_passes_it_on(
    both: Both, keystone: Keystone
) -> None:
    token = keystone.short_token("ada")
    while (await both.ours.get(PATH, headers={"X-Auth-Token": token})).status_code == 200:
        await asyncio.sleep(0.1)
    assert await both.status(token) == 401
    for name, status in (("glance", 200), ("carl", 401)):
        headers = {"X-Auth-Token": token, "X-Service-Token": keystone.token(name)}
        assert (await both.asked(headers))[0] == status


# -- service tokens ------------------------------------------------------------------------------

SERVICES: dict[str, tuple[Callable[[Keystone], str], int]] = {
    "a service": (lambda keystone: keystone.token("glance"), 200),
    "no service": (lambda keystone: keystone.token("carl"), 401),
    "an administrator": (lambda keystone: keystone.token("admin"), 401),
    "rubbish": (lambda _: "rubbish", 401),
}


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_service_proves_that_it_is_one(both: Both, keystone: Keystone, kind: str) -> None:
    service, status = SERVICES[kind]
    told = {"X-Auth-Token": keystone.token("ada"), "X-Service-Token": service(keystone)}
    found, seen = await both.asked(told)
    assert found == status
    assert seen.get("is_service", False) is (status == 200)


async def test_a_service_alone_is_nobody(both: Both, keystone: Keystone) -> None:
    told = {"X-Service-Token": keystone.token("glance")}
    assert (await both.asked(told))[0] == 401


async def test_what_a_service_passes_on_was_allowed_there(both: Both, keystone: Keystone) -> None:
    token = keystone.limited_token("ada", access_rules=[{**RULE, "service": "compute"}])
    told = {"X-Auth-Token": token, "X-Service-Token": keystone.token("glance")}
    assert (await both.asked(told, "POST"))[0] == 200


async def test_a_credential_may_name_the_service_as_older_clients_do(
    both: Both, keystone: Keystone
) -> None:
    """The oracle takes one name of a service only; the catalog may have it by several."""
    token = keystone.limited_token("ada", access_rules=[{**RULE, "service": "volumev3"}])
    assert (await both.ours.get(PATH, headers={"X-Auth-Token": token})).status_code == 200


# -- what is remembered --------------------------------------------------------------------------


async def test_many_requests_with_a_token_are_one_question(keystone: Keystone) -> None:
    token = keystone.token("ada")
    headers = {"X-Auth-Token": token}
    async with ours(keystone, cache_seconds=300.0) as app:
        replies = await asyncio.gather(*(app.http.get(PATH, headers=headers) for _ in range(20)))
        assert {reply.status_code for reply in replies} == {200}
        assert app.asked[token] == 1


async def test_a_revoked_token_is_good_as_long_as_it_is_remembered(keystone: Keystone) -> None:
    token = keystone.token("ada")
    headers = {"X-Auth-Token": token}
    async with ours(keystone, cache_seconds=300.0) as app:
        assert (await app.http.get(PATH, headers=headers)).status_code == 200
        keystone.revoke(token)
        assert (await app.http.get(PATH, headers=headers)).status_code == 200
        app.clock.passed = 301.0
        assert (await app.http.get(PATH, headers=headers)).status_code == 401


# -- Keystone is away ----------------------------------------------------------------------------


async def test_while_keystone_is_away_nobody_is_refused_or_let_in(
    both: Both, keystone: Keystone
) -> None:
    headers = {"X-Auth-Token": keystone.token("ada")}
    async with ours(keystone, timeout=1.0) as app:
        keystone.pause()
        try:
            reply = await app.http.get(PATH, headers=headers)
        finally:
            keystone.resume()
        assert (reply.status_code, "retry-after" in reply.headers) == (503, True)
    keystone.kill()
    try:
        assert (await both.asked(headers))[0] == 503
    finally:
        await asyncio.to_thread(keystone.start)
    assert (await both.asked(headers))[0] == 200
