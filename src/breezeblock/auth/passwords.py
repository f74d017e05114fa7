"""Users of `BasicAuth`: the file that lists them, and the check of a password.

The file has one user a line, `name:bcrypt-hash:project:role,role`, with `#` for comments; the first
two fields are what `htpasswd -nB NAME` prints.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from breezeblock.auth.identity import Identity

_ATTEMPTS_AT_ONCE = 2
_MAX_REMEMBERED = 1000
_MAX_PASSWORD_BYTES = 72
_DEFAULT_ROLES = "member"


@dataclass(frozen=True, slots=True)
class User:
    """One user of the file."""

    name: str
    password_hash: bytes
    project_id: str
    roles: frozenset[str]

    def identity(self) -> Identity:
        return Identity.with_roles(self.name, self.project_id, self.roles)


def read_users(path: Path) -> list[User]:
    """The users of a file. Raises ValueError, naming the line, when it cannot be understood."""
    users = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            users.append(_parse(text, f"{path}, line {number}"))
    return users


def _parse(text: str, place: str) -> User:
    name, password_hash, project, roles = (*text.split(":"), "", "", "")[:4]
    if text.count(":") > 3 or not (name and project and password_hash.startswith("$2")):
        raise ValueError(f"{place}: expected name:bcrypt-hash:project:role,role")
    names = (role.strip() for role in (roles or _DEFAULT_ROLES).split(","))
    return User(name, password_hash.encode(), project, frozenset(filter(None, names)))


class Passwords:
    """Checks passwords, and remembers the right ones by a keyed hash, since bcrypt is slow.

    The key is made at random in this process and kept nowhere, so what is remembered is of no use
    outside. Checks run on threads, two at a time, so guessing cannot take the machine; the same
    attempt made many times at once is checked once.
    """

    def __init__(self, users: Iterable[User]) -> None:
        self._users = {user.name: user for user in users}
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, User] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[User | None]] = {}
        self._slots = asyncio.Semaphore(_ATTEMPTS_AT_ONCE)
        # An unknown name costs as much time as a known one, so that names cannot be found out.
        self._nobody = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(rounds=12))

    async def check(self, name: str, password: str) -> User | None:
        """The user, when the password is his."""
        attempt = self._digest(name, password)
        user = self._right.get(attempt)
        if user is not None:
            self._right.move_to_end(attempt)
            return user
        task = self._running.get(attempt)
        if task is None:
            task = asyncio.create_task(self._verify(attempt, name, password))
            self._running[attempt] = task
            task.add_done_callback(lambda _: self._running.pop(attempt, None))
        # Shielded: whoever hangs up must not take the answer from the others who wait for it.
        return await asyncio.shield(task)

    async def _verify(self, attempt: bytes, name: str, password: str) -> User | None:
        user = self._users.get(name)
        expected = user.password_hash if user else self._nobody
        async with self._slots:
            right = await asyncio.to_thread(_matches, password.encode(), expected)
        if not right or user is None:
            return None
        self._right[attempt] = user
        if len(self._right) > _MAX_REMEMBERED:
            self._right.popitem(last=False)
        return user

    def _digest(self, name: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{len(name)}:{name}{password}".encode(), hashlib.sha256)


def _matches(password: bytes, expected: bytes) -> bool:
    try:
        return len(password) <= _MAX_PASSWORD_BYTES and bcrypt.checkpw(password, expected)
    except ValueError:
        return False
