"""What a handler receives and what it gives back.

The web application makes one `Call` a request; handlers of the API read it and answer with a plain
object or a `Reply`. Nothing here knows the server: a handler can be tested with a Call of your own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from breezeblock.auth.identity import Identity
from breezeblock.model.errors import Forbidden
from breezeblock.web.microversion import Version
from breezeblock.web.routes import Route
from breezeblock.web.service import Service

App = TypeVar("App")
T = TypeVar("T")


class Enforcer(Protocol):
    """What judges a rule; `auth.policy.Policy` is one."""

    def allows(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool: ...

    def known(self, identity: Identity) -> Identity: ...


class Witness(Protocol):
    """What remembers the answers of other services; `web.journal.Journal` is one."""

    async def outside(self, ask: Callable[[], Awaitable[T]]) -> T: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with more to say than its body: another status, or headers.

    `status` None means the success status of the route. `body` None sends no body; bytes are sent
    as they are (say their Content-Type), anything else is encoded as JSON.
    """

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Call(msgspec.Struct, Generic[App], frozen=True, kw_only=True):
    """One authenticated, validated request. `app` is what the application gave to `make_app`."""

    app: App
    service: Service
    route: Route
    identity: Identity
    policy: Enforcer
    version: Version
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    raw: bytes
    path: str
    base_url: str
    url_has_project: bool
    request_id: str
    global_request_id: str | None
    journal: Witness | None = None

    async def outside(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What another service says.

        Handlers of POSTs ask others through this alone: when such a request is taken over by
        another process (Idempotency-Key), it is told the same again, as it is by the store.
        """
        return await (ask() if self.journal is None else self.journal.outside(ask))

    def at_least(self, major: int, minor: int) -> bool:
        """Whether the client asked for this version or a later one."""
        return self.version >= (major, minor)

    def allowed(self, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        """Whether the policy lets the caller do this to the target.

        The target holds at least `project_id`; None means the caller's own project.
        """
        return self.policy.allows(rule, self.identity, self._own if target is None else target)

    def require(self, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Raises Forbidden, naming the rule, when the policy says no."""
        if not self.allowed(rule, target):
            raise Forbidden(f"Policy doesn't allow {rule} to be performed.")

    def link(self, collection: str, ident: str) -> list[dict[str, str]]:
        """The `links` of a resource: self (with the version's prefix) and bookmark (without)."""
        project = f"/{self.identity.project_id}" if self.url_has_project else ""
        tail = f"{project}/{collection}/{ident}"
        return [
            {"rel": "self", "href": f"{self.base_url}{self.service.prefix}{tail}"},
            {"rel": "bookmark", "href": f"{self.base_url}{tail}"},
        ]

    @property
    def _own(self) -> Mapping[str, Any]:
        return {"project_id": self.identity.project_id, "user_id": self.identity.user_id}
