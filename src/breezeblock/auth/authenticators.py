"""Authenticators: from request headers to an `Identity`.

The web layer calls `identify` once a request, before anything else is known of it. `NoAuth`
believes what it is told, for one machine and for tests; `BasicAuth` checks a password against a
file of bcrypt hashes. Keystone will be a third class behind the same interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from breezeblock.auth.identity import Identity
from breezeblock.model.errors import BreezeblockError


class Unauthenticated(BreezeblockError):
    """No credentials, or wrong ones. `challenge` is the WWW-Authenticate header of the reply."""

    def __init__(self, message: str, challenge: str = "") -> None:
        super().__init__(message)
        self.challenge = challenge


class Authenticator(ABC):
    """Says who sent a request."""

    @abstractmethod
    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """The caller behind these headers (names in lower case).

        Raises Unauthenticated when there is none, Unavailable when it cannot be found out now.
        Must be quick for a caller seen before: it runs in front of every request.
        """


class NoAuth(Authenticator):
    """Everybody is who he says he is, and an administrator.

    The token is `user:project`; the project defaults to the user's name. Without a token, or with
    the word `notused` that clients with authentication type "none" send instead of one, the caller
    is the configured default. To be offered on loopback only.
    """

    def __init__(self, user_id: str = "admin", project_id: str = "admin") -> None:
        self._default = Identity.with_roles(user_id, project_id, {"admin"}, is_anonymous=True)

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        token = headers.get("x-auth-token", "").strip()
        if token in ("", "notused"):
            return self._default
        user, _, project = token.partition(":")
        return Identity.with_roles(user or project, project or user, {"admin"})
