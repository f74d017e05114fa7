"""Tokens: who is let in by what Keystone says, and how often Keystone is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from breezeblock.auth.authenticators import Unauthenticated
from breezeblock.auth.identity import BLOCK_STORAGE
from breezeblock.auth.keystone import KeystoneAuth, covers
from breezeblock.auth.keystone_client import AccessRule, KeystoneClient
from breezeblock.config import Keystone
from breezeblock.model.errors import Unavailable

NOW = 1_800_000_000.0
OPTIONS = Keystone(auth_url="http://keystone.example:5000/v3", password="secret")
PROJECT = {"project": {"id": "p1", "name": "demo"}}


class FakeKeystone(httpx2.AsyncBaseTransport):
    """Knows tokens; `asked` counts requests by what they wanted."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.expired: set[str] = set()
        self.own = "own-1"
        self.asked: Counter[str] = Counter()
        self.failures: list[int | Exception] = []
        """What the next requests about tokens come to."""
        self.gate = asyncio.Event()
        self.gate.set()

    def add(self, text: str, *roles: str, seconds: float = 3600, **rest: Any) -> None:
        expires = datetime.fromtimestamp(NOW + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        names = [{"id": role, "name": role} for role in roles]
        scope = rest if {"project", "system", "domain", "unscoped"} & set(rest) else PROJECT | rest
        self.tokens[text] = {"user": {"id": "u1"}, "roles": names, "expires_at": expires, **scope}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            self.asked["own"] += 1
            assert request.extensions["timeout"]["read"] == OPTIONS.timeout
            return httpx2.Response(201, headers={"X-Subject-Token": self.own}, json={})
        text = request.headers["X-Subject-Token"]
        self.asked[text] += 1
        await self.gate.wait()
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return httpx2.Response(failure, json={})
        if request.headers["X-Auth-Token"] != self.own:
            return httpx2.Response(401, json={})
        allow_expired = request.url.params.get("allow_expired") == "1"
        if text not in self.tokens or (text in self.expired and not allow_expired):
            return httpx2.Response(404, json={})
        return httpx2.Response(200, json={"token": self.tokens[text]})


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keystone() -> FakeKeystone:
    return FakeKeystone()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def auth(keystone: FakeKeystone, clock: Clock) -> AsyncIterator[KeystoneAuth]:
    auth = KeystoneAuth(OPTIONS, BLOCK_STORAGE, KeystoneClient(OPTIONS, keystone), clock)
    yield auth
    await auth.close()


def tokens(text: str, service: str = "") -> dict[str, str]:
    return {"x-auth-token": text, **({"x-service-token": service} if service else {})}


# -- who is let in -------------------------------------------------------------------------------


async def test_a_token_says_who_the_caller_is(auth: KeystoneAuth, keystone: FakeKeystone) -> None:
    keystone.add("t", "Member", "reader")
    identity = await auth.identify(tokens("t"))
    assert (identity.user_id, identity.project_id) == ("u1", "p1")
    assert identity.roles == {"member", "reader"}
    assert not (identity.is_admin or identity.is_service or identity.is_anonymous)


@pytest.mark.parametrize("text", ["", "unknown", "ü", "a\nb", " "])
async def test_no_good_token_is_told_where_to_get_one(auth: KeystoneAuth, text: str) -> None:
    with pytest.raises(Unauthenticated) as error:
        await auth.identify(tokens(text))
    assert error.value.challenge == 'Keystone uri="http://keystone.example:5000/v3"'
    assert error.value.document == {
        "error": {
            "code": 401,
            "title": "Unauthorized",
            "message": "The request you have made requires authentication.",
        }
    }


@pytest.mark.parametrize(
    ("scope", "is_admin"),
    [
        ({"project": {"id": "p1"}}, True),
        ({"system": {"all": True}}, True),
        ({"domain": {"id": "d1"}}, False),
        ({"unscoped": True}, False),
    ],
)
async def test_an_administrator_is_one_of_a_project_or_of_the_system(
    auth: KeystoneAuth, keystone: FakeKeystone, scope: dict[str, Any], is_admin: bool
) -> None:
    keystone.add("t", "admin", **scope)
    identity = await auth.identify(tokens("t"))
    assert identity.is_admin is is_admin
    assert ("admin" in identity.roles) is is_admin


async def test_a_service_has_a_role_for_it(auth: KeystoneAuth, keystone: FakeKeystone) -> None:
    keystone.add("user", "member")
    keystone.add("nova", "service")
    assert (await auth.identify(tokens("nova"))).is_service
    identity = await auth.identify(tokens("user", "nova"))
    assert identity.is_service
    assert identity.roles == {"member"}
    with pytest.raises(Unauthenticated):
        await auth.identify(tokens("user", "user"))
    with pytest.raises(Unauthenticated):
        await auth.identify(tokens("user", "unknown"))


async def test_an_expired_token_is_good_only_when_a_service_passes_it_on(
    auth: KeystoneAuth, keystone: FakeKeystone
) -> None:
    keystone.add("old", "member", seconds=-10)
    keystone.expired.add("old")
    keystone.add("nova", "service")
    assert (await auth.identify(tokens("old", "nova"))).user_id == "u1"
    with pytest.raises(Unauthenticated):
        await auth.identify(tokens("old"))
    with pytest.raises(Unauthenticated):
        await auth.identify(tokens("nova", "old"))


async def test_a_limited_credential_is_good_for_the_requests_it_names(
    auth: KeystoneAuth, keystone: FakeKeystone
) -> None:
    rules = [
        {"id": "1", "service": "volumev3", "method": "GET", "path": "/v3/*/volumes/**"},
        {"id": "2", "service": "compute", "method": "DELETE", "path": "/v3/**"},
    ]
    keystone.add("t", "member", application_credential={"id": "c", "access_rules": rules})
    keystone.add("nova", "service")
    await auth.identify(tokens("t"), "GET", "/v3/p1/volumes/detail")
    for method, path in [("POST", "/v3/p1/volumes/detail"), ("DELETE", "/v3/p1/volumes"), ("", "")]:
        with pytest.raises(Unauthenticated):
            await auth.identify(tokens("t"), method, path)
    # What a service asks for in the user's name was not the user's own request.
    await auth.identify(tokens("t", "nova"), "DELETE", "/v3/p1/volumes/1")


async def test_a_credential_that_names_no_requests_is_good_for_none(
    auth: KeystoneAuth, keystone: FakeKeystone
) -> None:
    keystone.add("none", "member", application_credential={"id": "c", "access_rules": []})
    keystone.add("all", "member", application_credential={"id": "c"})
    await auth.identify(tokens("all"), "GET", "/v3/volumes")
    with pytest.raises(Unauthenticated):
        await auth.identify(tokens("none"), "GET", "/v3/volumes")


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("/v3/volumes", "/v3/volumes", True),
        ("/v3/volumes", "/v3/volumes/1", False),
        ("/v3/{project}/volumes", "/v3/p/volumes", True),
        ("/v3/*/volumes", "/v3/p/q/volumes", False),
        ("/v3/**", "/v3/p/q/volumes", True),
        ("/v3/volumes.json", "/v3/volumesXjson", False),
    ],
)
def test_patterns_of_paths(pattern: str, path: str, covered: bool) -> None:
    assert covers(AccessRule("volumev3", "GET", pattern), "GET", path) is covered


# -- how often Keystone is asked -----------------------------------------------------------------


async def test_a_token_is_asked_about_again_when_the_answer_is_old(
    auth: KeystoneAuth, keystone: FakeKeystone, clock: Clock
) -> None:
    keystone.add("t", "member")
    for passed, asked in [(0, 1), (299, 1), (301, 2)]:
        clock.now = NOW + passed
        await auth.identify(tokens("t"))
        assert keystone.asked["t"] == asked
    assert keystone.asked["own"] == 1


async def test_no_answer_outlives_its_token(
    auth: KeystoneAuth, keystone: FakeKeystone, clock: Clock
) -> None:
    keystone.add("t", "member", seconds=20)
    await auth.identify(tokens("t"))
    clock.now = NOW + 20
    with pytest.raises(Unauthenticated):  # Keystone's clock may be a little behind
        await auth.identify(tokens("t"))


async def test_a_refusal_is_remembered_for_a_moment(
    auth: KeystoneAuth, keystone: FakeKeystone, clock: Clock
) -> None:
    for passed, asked in [(0, 1), (9, 1), (11, 2)]:
        clock.now = NOW + passed
        with pytest.raises(Unauthenticated):
            await auth.identify(tokens("t"))
        assert keystone.asked["t"] == asked


async def test_many_requests_at_once_ask_once_and_one_that_hangs_up_stops_none(
    auth: KeystoneAuth, keystone: FakeKeystone
) -> None:
    keystone.add("t", "member")
    keystone.gate.clear()
    requests = [asyncio.create_task(auth.identify(tokens("t"))) for _ in range(5)]
    while not keystone.asked["t"]:
        await asyncio.sleep(0)
    requests[0].cancel()
    keystone.gate.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [answer.user_id for answer in answers[1:]] == ["u1"] * 4  # type: ignore[union-attr]
    assert keystone.asked == {"own": 1, "t": 1}


async def test_our_own_token_is_renewed_once_when_it_is_refused(
    auth: KeystoneAuth, keystone: FakeKeystone
) -> None:
    for text in "abcd":
        keystone.add(text, "member")
    await auth.identify(tokens("a"))
    keystone.own = "own-2"
    await asyncio.gather(*(auth.identify(tokens(text)) for text in "bcd"))
    assert keystone.asked["own"] == 2


# -- Keystone is away ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failures",
    [
        [httpx2.ConnectError("refused")] * 2,
        [httpx2.ReadTimeout("slow")],
        [500],
        [503],
        [403],
        [401, 401],
        [429],
    ],
    ids=str,
)
async def test_when_keystone_cannot_say_nobody_is_refused_or_let_in(
    auth: KeystoneAuth, keystone: FakeKeystone, failures: list[int | Exception]
) -> None:
    keystone.add("t", "member")
    keystone.failures = list(failures)
    with pytest.raises(Unavailable):
        await auth.identify(tokens("t"))
    assert (await auth.identify(tokens("t"))).user_id == "u1"


async def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    auth: KeystoneAuth, keystone: FakeKeystone
) -> None:
    keystone.add("t", "member")
    keystone.failures = [httpx2.RemoteProtocolError("closed")]
    assert (await auth.identify(tokens("t"))).user_id == "u1"


async def test_answers_that_are_none_of_keystones_are_not_believed(
    auth: KeystoneAuth, keystone: FakeKeystone
) -> None:
    keystone.tokens["t"] = {"user": {"id": 7}}
    with pytest.raises(Unavailable):
        await auth.identify(tokens("t"))
