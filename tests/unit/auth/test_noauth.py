"""The authenticator that believes what it is told, as clients.md records what clients send."""

from __future__ import annotations

import pytest

from breezeblock.auth.authenticators import NoAuth, Unauthenticated

PROJECT = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("token", "user", "project"),
    [
        (f"alice:{PROJECT}", "alice", PROJECT),
        ("admin:admin", "admin", "admin"),
        ("alice", "alice", "alice"),
        ("alice:", "alice", "alice"),
        (":p1", "p1", "p1"),
        ("a:b:c", "a", "b:c"),
    ],
)
async def test_the_token_is_user_and_project(token: str, user: str, project: str) -> None:
    identity = await NoAuth().identify({"x-auth-token": token})
    assert (identity.user_id, identity.project_id) == (user, project)
    assert not identity.is_anonymous


@pytest.mark.parametrize("headers", [{}, {"x-auth-token": ""}, {"x-auth-token": "notused"}])
async def test_without_token_the_caller_is_the_default(headers: dict[str, str]) -> None:
    identity = await NoAuth("bob", "p2").identify(headers)
    assert (identity.user_id, identity.project_id, identity.is_anonymous) == ("bob", "p2", True)


async def test_everyone_is_an_administrator() -> None:
    identity = await NoAuth().identify({"x-auth-token": "alice:p"})
    assert identity.is_admin
    assert identity.roles == {"admin", "manager", "member", "reader"}


async def test_the_other_headers_of_cinderclient_count_for_nothing() -> None:
    headers = {"x-auth-token": "alice:p", "x-user-id": "eve", "x-project-id": "q"}
    identity = await NoAuth().identify(headers)
    assert (identity.user_id, identity.project_id) == ("alice", "p")


async def test_a_service_token_makes_a_service() -> None:
    plain = await NoAuth().identify({"x-auth-token": "nova:p"})
    service = await NoAuth().identify({"x-auth-token": "nova:p", "x-service-token": "nova:s"})
    assert (plain.is_service, service.is_service) == (False, True)


async def test_a_token_too_long_to_be_kept_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        await NoAuth().identify({"x-auth-token": "x" * 256})
