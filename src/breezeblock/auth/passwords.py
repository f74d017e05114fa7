"""Users of `BasicAuth`: the file that lists them, and the check of a password.

The file has one user a line, `name:hash`, as `htpasswd -B` and `breezeblock password NAME` write
them, with `#` for comments. More may follow: `name:hash:project:role,role`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from breezeblock.auth.identity import Identity
from breezeblock.model.errors import Unavailable

_ATTEMPTS_AT_ONCE = 2
_MAX_WAITING = 16
_MAX_REMEMBERED = 1000
_MAX_PASSWORD_BYTES = 72
_DEFAULT_ROLES = "member"

HASH = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}")
_COSTS = range(4, 18)
"""As `htpasswd` has them; each more doubles the time, and 17 takes many seconds."""
_USUAL_COST = 12
_PROJECTS = uuid.UUID("5b9d1c6e-6f0a-5c0b-9a38-6d1f1d4c7a52")


@dataclass(frozen=True, slots=True)
class User:
    """One user of the file."""

    name: str
    password_hash: bytes
    project_id: str
    roles: frozenset[str]

    def identity(self) -> Identity:
        return Identity.with_roles(self.name, self.project_id, self.roles)


def project_of(name: str) -> str:
    """The project of a user whose line names none: always the same one, and his alone."""
    return uuid.uuid5(_PROJECTS, name).hex


def parse_users(text: str) -> list[User]:
    """The users of a file. Raises ValueError, naming the line, when it cannot be understood.

    No error shows anything of a hash.
    """
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            user = _parse(stripped, f"line {number}")
            if user.name in users:
                raise ValueError(f"line {number}: user {user.name!r} is there twice")
            users[user.name] = user
    return list(users.values())


def _parse(text: str, place: str) -> User:
    name, password_hash, project, roles = (*text.split(":"), "", "", "")[:4]
    if text.count(":") not in (1, 2, 3) or not name:
        raise ValueError(f"{place}: expected name:hash or name:hash:project:role,role")
    found = HASH.fullmatch(password_hash)
    if found is None or int(found["cost"]) not in _COSTS:
        raise ValueError(
            f"{place}: the hash of user {name!r} is not one of bcrypt; htpasswd -B makes them"
        )
    names = (role.strip() for role in (roles or _DEFAULT_ROLES).split(","))
    project = project or project_of(name)
    return User(name, password_hash.encode(), project, frozenset(filter(None, names)))


class _Desk:
    """Where checks are made and wait. Of too many at once none waits long: they are sent away."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(_ATTEMPTS_AT_ONCE)
        self._inside = 0

    def enter(self) -> None:
        if self._inside >= _ATTEMPTS_AT_ONCE + _MAX_WAITING:
            raise Unavailable("Too many passwords are being checked; try again.")
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1


class Passwords:
    """Checks passwords, and remembers the right ones by a keyed hash, since bcrypt is slow.

    The key is made at random in this process and kept nowhere, so what is remembered is of no use
    outside. Checks run on threads, two at a time, so guessing cannot take the machine; the same
    attempt made many times at once is checked once.

    `before` are the same users as they were: a right password stays remembered where the user's
    line is what it was, and the checks that still run count.
    """

    def __init__(self, users: Iterable[User], before: Passwords | None = None) -> None:
        self._users = {user.name: user for user in users}
        self._key: bytes = before._key if before else secrets.token_bytes(32)
        self._right: OrderedDict[bytes, User] = self._still_right(before._right if before else {})
        self._running: dict[bytes, asyncio.Task[User | None]] = {}
        self._desk: _Desk = before._desk if before else _Desk()
        costs = [_cost(user) for user in self._users.values()]
        self._highest_cost = max(costs, default=_USUAL_COST)

    async def check(self, name: str, password: str) -> User | None:
        """The user, when the password is his. Raises Unavailable when too many checks wait."""
        attempt = self._digest(name, password)
        user = self._right.get(attempt)
        if user is not None:
            self._right.move_to_end(attempt)
            return user
        task = self._running.get(attempt)
        if task is None:
            self._desk.enter()
            task = asyncio.create_task(self._verify(attempt, name, password))
            self._running[attempt] = task
            task.add_done_callback(lambda _: self._end(attempt))
        # Shielded: whoever hangs up must not take the answer from the others who wait for it.
        return await asyncio.shield(task)

    async def _verify(self, attempt: bytes, name: str, password: str) -> User | None:
        user = self._users.get(name)
        async with self._desk.slots:
            right = await asyncio.to_thread(_matches, password.encode(), user, self._highest_cost)
        if not right or user is None:
            return None
        self._right[attempt] = user
        if len(self._right) > _MAX_REMEMBERED:
            self._right.popitem(last=False)
        return user

    def _end(self, attempt: bytes) -> None:
        self._running.pop(attempt, None)
        self._desk.leave()

    def _still_right(self, remembered: Mapping[bytes, User]) -> OrderedDict[bytes, User]:
        return OrderedDict(
            (attempt, user)
            for attempt, user in remembered.items()
            if self._users.get(user.name) == user
        )

    def _digest(self, name: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{len(name)}:{name}{password}".encode(), hashlib.sha256)


def _matches(password: bytes, user: User | None, highest_cost: int) -> bool:
    """Whether the password is the user's.

    The work is always that of the highest cost, also for users of a lower one and for names that
    nobody has, so that the time tells no names.
    """
    if len(password) > _MAX_PASSWORD_BYTES:
        return False
    if user is None:
        _work(password, highest_cost)
        return False
    right = _is(password, user.password_hash)
    for cost in range(_cost(user), highest_cost):
        _work(password, cost)
    return right


def _is(password: bytes, expected: bytes) -> bool:
    import bcrypt  # by those processes alone that have passwords to check

    try:
        return bcrypt.checkpw(password, expected)
    except ValueError:  # a NUL in the password
        return False


def _work(password: bytes, cost: int) -> None:
    """What one check of this cost takes; twice as long as of the one below."""
    _is(password, b"$2b$%02d$%s" % (cost, b"." * 53))


def _cost(user: User) -> int:
    found = HASH.fullmatch(user.password_hash.decode())
    return int(found["cost"]) if found else _USUAL_COST
