"""User name and password."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from breezeblock.auth import passwords
from breezeblock.auth.authenticators import BasicAuth, Unauthenticated
from breezeblock.auth.passwords import User, read_users


def hashed(password: str) -> bytes:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4))


ALICE = User("alice", hashed("s3cret:ü"), "p1", frozenset({"member"}))
NOVA = User("nova", hashed("n"), "services", frozenset({"service", "admin"}))


def header(name: str, password: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"authorization": f"Basic {encoded}"}


@pytest.fixture
def auth() -> BasicAuth:
    return BasicAuth([ALICE, NOVA])


async def test_the_right_password_is_accepted(auth: BasicAuth) -> None:
    identity = await auth.identify(header("alice", "s3cret:ü"))
    assert (identity.user_id, identity.project_id) == ("alice", "p1")
    assert identity.roles == {"member", "reader"}
    assert (identity.is_admin, identity.is_service) == (False, False)


async def test_roles_make_administrators_and_services(auth: BasicAuth) -> None:
    identity = await auth.identify(header("nova", "n"))
    assert (identity.is_admin, identity.is_service) == (True, True)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-auth-token": "alice:p1"},
        {"authorization": "Bearer x"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"no colon").decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        header("alice", "wrong"),
        header("alice", ""),
        header("nobody", "s3cret:ü"),
        header("alice", "s3cret:ü" + "x" * 100),
        header("Alice", "s3cret:ü"),
    ],
)
async def test_everything_else_is_challenged(auth: BasicAuth, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated) as error:
        await auth.identify(headers)
    assert error.value.challenge.startswith('Basic realm="breezeblock"')


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that bcrypt had to look at."""
    seen: list[bytes] = []
    original = passwords._matches

    def counting(password: bytes, expected: bytes) -> bool:
        seen.append(password)
        return original(password, expected)

    monkeypatch.setattr(passwords, "_matches", counting)
    return seen


async def test_a_right_password_is_checked_once(auth: BasicAuth, checks: list[bytes]) -> None:
    for _ in range(3):
        await auth.identify(header("alice", "s3cret:ü"))
    assert len(checks) == 1


async def test_attempts_made_at_once_share_one_check(auth: BasicAuth, checks: list[bytes]) -> None:
    attempts = [auth.identify(header("alice", "s3cret:ü")) for _ in range(5)]
    identities = await asyncio.gather(*attempts)
    assert len({identity.user_id for identity in identities}) == len(checks) == 1


async def test_a_wrong_password_is_not_remembered_as_right(
    auth: BasicAuth, checks: list[bytes]
) -> None:
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await auth.identify(header("alice", "wrong"))
    assert len(checks) == 2


async def test_an_unknown_name_costs_a_check_too(auth: BasicAuth, checks: list[bytes]) -> None:
    with pytest.raises(Unauthenticated):
        await auth.identify(header("nobody", "x"))
    assert len(checks) == 1


async def test_name_and_password_are_not_mixed_up(auth: BasicAuth) -> None:
    await auth.identify(header("nova", "n"))
    with pytest.raises(Unauthenticated):
        await auth.identify(header("nov", "an"))


async def test_who_hangs_up_does_not_take_the_answer_from_others(
    auth: BasicAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def slow(function: Any, *arguments: Any) -> Any:
        await release.wait()
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", slow)
    first = asyncio.create_task(auth.identify(header("alice", "s3cret:ü")))
    second = asyncio.create_task(auth.identify(header("alice", "s3cret:ü")))
    await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert (await second).user_id == "alice"


class TestFile:
    def test_one_user_a_line(self, tmp_path: Path) -> None:
        path = tmp_path / "users"
        password = hashed("x").decode()
        path.write_text(f"# people\n\nalice:{password}:p1:member, reader\nbob:{password}:p2\n")
        alice, bob = read_users(path)
        assert (alice.name, alice.project_id) == ("alice", "p1")
        assert alice.roles == {"member", "reader"}
        assert bob.roles == {"member"}

    @pytest.mark.parametrize(
        "line", ["alice", "alice:plain:p1", "alice:$2b$04$x", ":$2b$04$x:p1", "a:$2b$04$x:p:r:s"]
    )
    def test_a_wrong_line_is_named(self, tmp_path: Path, line: str) -> None:
        path = tmp_path / "users"
        path.write_text(f"# people\n{line}\n")
        with pytest.raises(ValueError, match="line 2"):
            BasicAuth.from_file(path)
