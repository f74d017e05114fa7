"""Keystone, asked over HTTP: whose token is this, and a token of our own.

`ServiceToken` gives any HTTP client the identity of our service user; it gets a token by password
and a new one when the old one is refused. `KeystoneClient` asks Keystone about other people's
tokens, as that user. What the answers mean is decided in `auth.keystone`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from datetime import datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2
import msgspec
import structlog

from breezeblock.config import Keystone
from breezeblock.model.errors import Unavailable

log = structlog.get_logger()

AWAY = "The Keystone service is temporarily unavailable."
ATTEMPTS = 2
"""A connection that was kept open may have been closed by the other side meanwhile."""


class Named(msgspec.Struct, frozen=True):
    """A user, project or role."""

    id: str
    name: str = ""


class AccessRule(msgspec.Struct, frozen=True):
    """One kind of request that an application credential is limited to."""

    service: str
    method: str
    path: str


class ApplicationCredential(msgspec.Struct, frozen=True):
    """What a token was got with; `access_rules` None: it may do all that its roles allow."""

    access_rules: tuple[AccessRule, ...] | None = None


class Token(msgspec.Struct, frozen=True):
    """What Keystone says of a token. No `project`: it is for the system, a domain, or nothing."""

    user: Named
    expires_at: datetime
    project: Named | None = None
    system: dict[str, bool] | None = None
    roles: tuple[Named, ...] = ()
    application_credential: ApplicationCredential | None = None

    @property
    def role_names(self) -> frozenset[str]:
        return frozenset(role.name.lower() for role in self.roles)


class _Answer(msgspec.Struct, frozen=True):
    token: Token


class ServiceToken(httpx2.Auth):
    """Sends our service user's token with each request, also as the token of a service.

    A request that has a caller's own token keeps it: then ours says that a service passes it on.
    """

    def __init__(self, options: Keystone) -> None:
        self._options = options
        self._token = ""
        self._one_at_a_time = asyncio.Lock()

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        passes_on = "X-Auth-Token" in request.headers
        for attempt in range(ATTEMPTS):
            async with self._one_at_a_time:
                if not self._token:
                    self._token = _issued((yield self._request()))
            sent = request.headers["X-Service-Token"] = self._token
            if not passes_on:
                request.headers["X-Auth-Token"] = sent
            reply = yield request
            if reply.status_code != HTTPStatus.UNAUTHORIZED or attempt + 1 == ATTEMPTS:
                return
            if self._token == sent:  # nobody has renewed it meanwhile
                self._token = ""

    def _request(self) -> httpx2.Request:
        options = self._options
        user = {
            "name": options.username,
            "password": options.password,
            "domain": {"name": options.user_domain_name},
        }
        project = {"name": options.project_name, "domain": {"name": options.project_domain_name}}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": project},
            }
        }
        # A request that no client has built has no time limit but its own.
        limit = {"timeout": httpx2.Timeout(options.timeout).as_dict()}
        url = f"{base_url(options)}/auth/tokens?nocatalog"
        return httpx2.Request("POST", url, json=body, extensions=limit)


def _issued(reply: httpx2.Response) -> str:
    """The token in Keystone's answer. Raises httpx2.HTTPError, as if the request had not come far:
    without a token it cannot be made."""
    if reply.status_code != HTTPStatus.CREATED:
        why = f"Keystone gives our service user no token: it answers {reply.status_code}"
        log.error(why, remedy="see auth.keystone: username, password, project and domains")
        raise httpx2.TransportError(why)
    return str(reply.headers["X-Subject-Token"])


class KeystoneClient:
    """Asks Keystone about tokens. `transport`: another way than the network, for tests."""

    def __init__(
        self, options: Keystone, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._http = httpx2.AsyncClient(
            auth=ServiceToken(options),
            base_url=base_url(options),
            timeout=options.timeout,
            verify=tls(options),
            transport=transport,
            # One caller's session must never serve another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def token(self, text: str, *, allow_expired: bool = False) -> Token | None:
        """What a token stands for; None when it is none, or not any more. Raises Unavailable."""
        reply = await self._ask(text, {"nocatalog": "1", **_EXPIRED[allow_expired]})
        if reply.status_code == HTTPStatus.NOT_FOUND:
            return None
        if reply.status_code != HTTPStatus.OK:
            log.error("Keystone cannot say whose a token is", status=reply.status_code)
            raise Unavailable(AWAY)
        try:
            return msgspec.json.decode(reply.content, type=_Answer).token
        except msgspec.DecodeError as error:
            log.error("Keystone's answer is not understood", error=str(error))
            raise Unavailable(AWAY) from error

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, text: str, params: dict[str, str]) -> httpx2.Response:
        headers = {
            "X-Subject-Token": text,
            # Says that we know of access rules; tokens that have some are not told of otherwise.
            "OpenStack-Identity-Access-Rules": "1.0",
        }
        for attempt in range(ATTEMPTS):
            try:
                return await self._http.get("/auth/tokens", params=params, headers=headers)
            except httpx2.HTTPError as error:
                slow = isinstance(error, httpx2.TimeoutException)
                if slow or attempt + 1 == ATTEMPTS:
                    log.warning("Keystone is away", error=str(error) or type(error).__name__)
                    raise Unavailable(AWAY) from error
        raise AssertionError("unreachable")


_EXPIRED: dict[bool, dict[str, str]] = {False: {}, True: {"allow_expired": "1"}}


def base_url(options: Keystone) -> str:
    """Keystone's API v3, whether or not the configured address ends with the version."""
    return f"{options.auth_url.rstrip('/').removesuffix('/v3')}/v3"


def tls(options: Keystone) -> Any:
    """Whom the other side's certificate must come from: httpx2's `verify`."""
    if options.insecure:
        return False
    return ssl.create_default_context(cafile=options.cafile) if options.cafile else True
