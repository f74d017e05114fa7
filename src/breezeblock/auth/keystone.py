"""Authentication by Keystone: from tokens in the headers to an `Identity`.

A token is asked about once and remembered by its hash, at most until it expires; the same token in
many requests at once is asked about once. A second token, X-Service-Token, says that another
service passes a user's request on: it is then enough that the user's own token was good once.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from breezeblock.auth.authenticators import Authenticator, Unauthenticated
from breezeblock.auth.identity import Identity
from breezeblock.auth.keystone_client import AccessRule, KeystoneClient, Token, base_url
from breezeblock.config import Keystone

REFUSED = "The request you have made requires authentication."
REFUSED_SECONDS = 10.0
"""How long a token that Keystone does not know is refused without asking again."""

_MAX_REMEMBERED = 10_000
_WILDCARDS = re.compile(r"\*\*|\*|\{[^}]*\}")


class KeystoneAuth(Authenticator):
    """Asks Keystone. `service_types` is what this API is called in the catalog."""

    def __init__(
        self,
        options: Keystone,
        service_types: frozenset[str],
        client: KeystoneClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service_types = service_types
        self._service_roles = frozenset(role.lower() for role in options.service_token_roles)
        self._client = client or KeystoneClient(options)
        self._tokens = _Tokens(self._client, self._known, options.cache_seconds, clock)
        self._challenge = f'Keystone uri="{options.www_authenticate_uri or base_url(options)}"'

    async def identify(
        self, headers: Mapping[str, str], method: str = "", path: str = "", /
    ) -> Identity:
        by_service = await self._is_from_service(headers.get("x-service-token", "").strip())
        text = headers.get("x-auth-token", "").strip()
        known = await self._tokens.get(text, allow_expired=by_service)
        # A service passes on what the user was allowed to ask that service for.
        if known is None or not (by_service or self._permits(known.token, method, path)):
            raise self._refused()
        return known.by_service if by_service else known.identity

    async def close(self) -> None:
        await self._client.close()

    async def _is_from_service(self, text: str) -> bool:
        """Whether a service passes the request on. A token that does not prove it is refused."""
        if not text:
            return False
        known = await self._tokens.get(text)
        if known is None or not known.token.role_names & self._service_roles:
            raise self._refused()
        return True

    def _known(self, token: Token) -> _Known:
        # An administrator of a domain is none of this cloud.
        roles = token.role_names if token.project or token.system else frozenset[str]()
        identity = Identity(
            token.user.id,
            token.project.id if token.project else "",
            roles,
            is_admin="admin" in roles,
            is_service=bool(roles & self._service_roles),
        )
        return _Known(token, identity, replace(identity, is_service=True))

    def _permits(self, token: Token, method: str, path: str) -> bool:
        credential = token.application_credential
        if credential is None or credential.access_rules is None:
            return True
        return any(
            rule.service in self._service_types and covers(rule, method, path)
            for rule in credential.access_rules
        )

    def _refused(self) -> Unauthenticated:
        content = {"code": 401, "title": "Unauthorized", "message": REFUSED}
        return Unauthenticated(REFUSED, self._challenge, {"error": content})


def covers(rule: AccessRule, method: str, path: str) -> bool:
    """Whether an access rule allows a request: `*` and `{name}` stand for one part of a path,
    `**` for any number of them."""
    parts = _WILDCARDS.split(rule.path)
    wild = [".*" if mark == "**" else "[^/]+" for mark in _WILDCARDS.findall(rule.path)]
    pattern = "".join(
        re.escape(part) + joint for part, joint in zip(parts, [*wild, ""], strict=True)
    )
    return rule.method == method and re.fullmatch(pattern, path) is not None


@dataclass(frozen=True, slots=True)
class _Known:
    """A good token, and who shows it: its user himself, or a service that passes on his request."""

    token: Token
    identity: Identity
    by_service: Identity


@dataclass(frozen=True, slots=True)
class _Remembered:
    known: _Known | None
    until: float


class _Tokens:
    """What Keystone has said of tokens, while it holds."""

    def __init__(
        self,
        client: KeystoneClient,
        understand: Callable[[Token], _Known],
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._understand = understand
        self._seconds = seconds
        self._clock = clock
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Known | None]] = {}

    async def get(self, text: str, *, allow_expired: bool = False) -> _Known | None:
        """None when the token is not good. Raises Unavailable."""
        if not text or not (text.isascii() and text.isprintable()):
            return None
        key = hashlib.sha256(b"%d %b" % (allow_expired, text.encode())).digest()
        remembered = self._remembered.get(key)
        if remembered is not None and self._clock() < remembered.until:
            self._remembered.move_to_end(key)
            return remembered.known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, text, allow_expired))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Shielded: whoever hangs up must not take the answer from the others who wait for it.
        return await asyncio.shield(task)

    async def _ask(self, key: bytes, text: str, allow_expired: bool) -> _Known | None:
        token = await self._client.token(text, allow_expired=allow_expired)
        now = self._clock()
        until = now + self._seconds
        if token is None:
            until = min(until, now + REFUSED_SECONDS)
        elif not allow_expired:
            expiry = token.expires_at.timestamp()
            until = min(until, expiry)
            token = token if now < expiry else None
        known = self._understand(token) if token else None
        self._remembered[key] = _Remembered(known, until)
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return known
