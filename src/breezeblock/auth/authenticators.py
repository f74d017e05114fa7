"""Authenticators: from request headers to an `Identity`.

The web layer calls `identify` once a request, before anything else is known of it. `NoAuth`
believes what it is told, for one machine and for tests; `BasicAuth` checks a password against
bcrypt hashes; `KeystoneAuth`, in a file of its own, asks Keystone about a token.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from breezeblock.auth.identity import Identity
from breezeblock.auth.operators_file import LOOK_EVERY, OperatorsFile
from breezeblock.auth.passwords import Passwords, User, parse_users
from breezeblock.model.errors import BreezeblockError

_NO_TOKEN = "notused"
_MAX_TOKEN = 255


class Unauthenticated(BreezeblockError):
    """No credentials, or wrong ones. `challenge` is the WWW-Authenticate header of the reply.

    The reply is the message as plain text, or the `document` as JSON where there is one.
    """

    def __init__(
        self, message: str, challenge: str = "", document: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.challenge = challenge
        self.document = document


class Authenticator(ABC):
    """Says who sent a request."""

    @abstractmethod
    async def identify(
        self, headers: Mapping[str, str], method: str = "", path: str = "", /
    ) -> Identity:
        """The caller behind these headers (names in lower case).

        Method and path are what he asks for, as he wrote it: some credentials are good for some
        requests only. Raises Unauthenticated when there is no caller, Unavailable when it cannot be
        found out now.
        Must be quick for a caller seen before: it runs in front of every request.
        """

    async def close(self) -> None:
        """Give back what it holds open."""
        return


class NoAuth(Authenticator):
    """Everybody is who he says he is, and an administrator.

    The token is `user:project`; the project defaults to the user's name. Without a token, or with
    the word `notused` that clients with authentication type "none" send instead of one, the caller
    is the configured default. Any X-Service-Token makes him a service. For loopback only.
    """

    def __init__(self, user_id: str = "admin", project_id: str = "admin") -> None:
        self._default = (user_id, project_id)

    async def identify(
        self, headers: Mapping[str, str], _method: str = "", _path: str = "", /
    ) -> Identity:
        token = headers.get("x-auth-token", "").strip()
        if len(token) > _MAX_TOKEN:
            raise Unauthenticated("The token is too long; it is user:project.")
        is_anonymous = token in ("", _NO_TOKEN)
        user, _, project = token.partition(":")
        if is_anonymous:
            user, project = self._default
        return _administrator(
            user or project,
            project or user,
            is_service=bool(headers.get("x-service-token")),
            is_anonymous=is_anonymous,
        )


@lru_cache(maxsize=1000)
def _administrator(user: str, project: str, *, is_service: bool, is_anonymous: bool) -> Identity:
    return Identity.with_roles(
        user, project, {"admin"}, is_service=is_service, is_anonymous=is_anonymous
    )


class BasicAuth(Authenticator):
    """User name and password, as HTTP has them; each user has one project and his roles.

    The users are those of the configuration and those of a file, which is read again when it
    changes; passwords of users whose lines changed are checked anew then. Raises OSError,
    ValueError when the file cannot be used.
    """

    def __init__(
        self,
        users: Iterable[User] = (),
        users_file: Path | None = None,
        realm: str = "breezeblock",
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._users = list(users)
        self._passwords = Passwords(self._users)
        self._file: OperatorsFile[Passwords] | None = None
        if users_file is not None:
            self._file = OperatorsFile(users_file, self._with_configured, look_every)
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'

    def _with_configured(self, text: str) -> Passwords:
        found = parse_users(text)
        configured = {user.name for user in self._users}
        for user in found:
            if user.name in configured:
                raise ValueError(f"user {user.name!r} is in the configuration, too")
        self._passwords = Passwords([*self._users, *found], before=self._passwords)
        return self._passwords

    async def identify(
        self, headers: Mapping[str, str], _method: str = "", _path: str = "", /
    ) -> Identity:
        credentials = _basic(headers.get("authorization", ""))
        if credentials is None:
            raise Unauthenticated("Authentication required", self._challenge)
        passwords = self._passwords if self._file is None else self._file.present()
        user = await passwords.check(*credentials)
        if user is None:
            raise Unauthenticated("Authentication failed", self._challenge)
        return user.identity()


def _basic(header: str) -> tuple[str, str] | None:
    """Name and password of an Authorization header; None when it has none in good form."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except ValueError:
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None
