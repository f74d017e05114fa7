"""User name and password."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from structlog.testing import capture_logs

from breezeblock.auth import passwords
from breezeblock.auth.authenticators import BasicAuth, Unauthenticated
from breezeblock.auth.passwords import User, parse_users, project_of
from breezeblock.model.errors import Unavailable


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

    def counting(password: bytes, *against: Any) -> bool:
        seen.append(password)
        return original(password, *against)

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


@pytest.mark.parametrize(
    ("name", "password"), [("cheap", "wrong"), ("dear", "wrong"), ("nobody", "x"), ("cheap", "c")]
)
async def test_the_work_of_a_check_tells_no_names(
    monkeypatch: pytest.MonkeyPatch, name: str, password: str
) -> None:
    users = [
        User("cheap", bcrypt.hashpw(b"c", bcrypt.gensalt(4)), "p", frozenset()),
        User("dear", bcrypt.hashpw(b"d", bcrypt.gensalt(7)), "p", frozenset()),
    ]
    work = []
    check = bcrypt.checkpw

    def counting(given: bytes, expected: bytes) -> bool:
        work.append(2 ** int(expected.split(b"$")[2]))
        return check(given, expected)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    with contextlib.suppress(Unauthenticated):
        await BasicAuth(users).identify(header(name, password))
    assert sum(work) == 2**7


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


async def test_a_flood_of_wrong_passwords_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users"
    path.write_text("# nobody yet\n")
    auth = BasicAuth([ALICE, NOVA], path, look_every=0.0)
    await auth.identify(header("alice", "s3cret:ü"))
    release = asyncio.Event()

    async def slow(function: Any, *arguments: Any) -> Any:
        await release.wait()
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", slow)
    flood = [asyncio.create_task(auth.identify(header("nova", f"guess {n}"))) for n in range(30)]
    sent_away, _ = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
    assert {type(one.exception()) for one in sent_away} == {Unavailable}
    path.write_text("# another file has no other desk\n")
    with pytest.raises(Unavailable):
        await auth.identify(header("nova", "n"))
    assert (await auth.identify(header("alice", "s3cret:ü"))).user_id == "alice"
    release.set()
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert [type(one) for one in answers] == [Unauthenticated] * 18 + [Unavailable] * 12
    assert (await auth.identify(header("nova", "n"))).user_id == "nova"


# -- the users' file -------------------------------------------------------------------------------

OF_HTPASSWD = "$2y$05$SXYA/2F4NXQtu876fKMljePcBWhJl3e1A8pYet2A.r.dKDtoQtGOm"
"""What `htpasswd -nbB alice s3cret` printed once."""
HASH = bcrypt.hashpw(b"x", b"$2b$04$abcdefghijklmnopqrstuu").decode()
"""The same in every process: it is in the names of tests."""


def test_one_user_a_line() -> None:
    text = (
        f"# people\n\nalice:{HASH}:p1:member, reader\nbob:{HASH}:p2\nNova:{HASH}::admin,service\n"
    )
    alice, bob, nova = parse_users(text)
    assert (alice.name, alice.project_id) == ("alice", "p1")
    assert alice.roles == {"member", "reader"}
    assert bob.roles == {"member"}
    assert (nova.project_id, nova.roles) == (project_of("Nova"), {"admin", "service"})


def test_a_plain_line_makes_a_member_with_a_project_of_his_own() -> None:
    alice, bob = parse_users(f"alice:{HASH}\r\nbob:{HASH}\n")
    assert alice.roles == bob.roles == {"member"}
    assert alice.project_id == "16c65b76af32570584c4ac804fae8400"
    assert alice.project_id != bob.project_id


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        f":{HASH}",
        f"alice:{HASH}:p:r:s",
        "alice:plain",
        "alice:plain:p1",
        "alice:$apr1$Xs1Gkl1.$J9Rmk1QhcbRr2Mt7QvSNS.",
        "alice:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=",
        "alice:$2b$04$x",
        f"alice:{HASH.replace('$04$', '$31$')}",
        f"alice:{HASH[:-1]}!",
    ],
)
def test_a_wrong_line_is_named_and_its_hash_is_not_told(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: ") as error:
        parse_users(f"# people\n{line}\n")
    _, _, behind = line.partition(":")
    secret = behind.partition(":")[0]
    assert not secret or secret not in str(error.value)


def test_a_user_is_there_once() -> None:
    with pytest.raises(ValueError, match="line 3: user 'alice' is there twice"):
        parse_users(f"alice:{HASH}\nbob:{HASH}\nalice:{HASH}\n")


class Edited:
    """Users in a file that is written while they call; each call looks at the file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        path.write_text(text)
        self.auth = BasicAuth([NOVA], path, look_every=0.0)

    async def knows(self, name: str, password: str) -> bool:
        try:
            await self.auth.identify(header(name, password))
        except Unauthenticated:
            return False
        return True


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    return Edited(tmp_path / "users", f"alice:{OF_HTPASSWD}\n")


async def test_a_hash_of_htpasswd_is_good(edited: Edited) -> None:
    identity = await edited.auth.identify(header("alice", "s3cret"))
    assert (identity.user_id, identity.project_id) == ("alice", project_of("alice"))
    assert not await edited.knows("alice", "secret")


async def test_users_come_and_go_without_a_restart(edited: Edited) -> None:
    assert (await edited.knows("alice", "s3cret"), await edited.knows("nova", "n")) == (True, True)
    edited.path.write_text(f"bob:{HASH}\n")
    assert not await edited.knows("alice", "s3cret")
    assert await edited.knows("bob", "x")
    assert await edited.knows("nova", "n")


async def test_a_changed_password_or_role_holds_at_once(edited: Edited) -> None:
    assert await edited.knows("alice", "s3cret")
    edited.path.write_text(f"alice:{HASH}:p1:admin\n")
    assert not await edited.knows("alice", "s3cret")
    identity = await edited.auth.identify(header("alice", "x"))
    assert (identity.project_id, identity.is_admin) == ("p1", True)


async def test_who_is_known_stays_so_as_long_as_his_line_is_the_same(
    edited: Edited, checks: list[bytes]
) -> None:
    assert await edited.knows("alice", "s3cret")
    edited.path.write_text(f"# more to come\nbob:{HASH}\nalice:{OF_HTPASSWD}\n")
    assert await edited.knows("alice", "s3cret")
    assert len(checks) == 1
    edited.path.write_text(f"alice:{OF_HTPASSWD}:p2\n")
    assert (await edited.auth.identify(header("alice", "s3cret"))).project_id == "p2"
    assert len(checks) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"bob:{HASH}\nalice:{HASH[:-2]}\n", "line 2"),
        (f"nova:{HASH}\n", "'nova' is in the configuration"),
        ("bob", "line 1"),
    ],
)
async def test_a_broken_file_keeps_the_old_users(edited: Edited, text: str, told: str) -> None:
    with capture_logs() as logged:
        edited.path.write_text(text)
        for _ in range(2):
            assert await edited.knows("alice", "s3cret")
            assert not await edited.knows("bob", "x")
    (error,) = [entry["error"] for entry in logged if entry["log_level"] == "error"]
    assert str(edited.path) in error
    assert told in error
    assert HASH[7:20] not in str(logged)


def test_a_file_that_is_broken_at_start_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "users"
    with pytest.raises(FileNotFoundError):
        BasicAuth(users_file=path)
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="UTF-8"):
        BasicAuth(users_file=path)
    path.write_text("nonsense\n")
    with pytest.raises(ValueError, match="users: line 1: "):
        BasicAuth(users_file=path)
