"""The policy of the compute API: every route is called by everybody, for real.

As `tests/service/test_policy_walk.py`; what is to be expected are the rules and defaults of Nova's
release 34, as its operators know them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from breezeblock.auth.authenticators import Unauthenticated
from breezeblock.auth.identity import Identity
from breezeblock.compute.api.policy import DEFAULTS
from breezeblock.compute.api.routes import ROUTES
from breezeblock.web.routes import Route
from tests.service.compute import cloud as assembly
from tests.service.compute.cloud import ComputeCloud, Tokens, open_compute
from tests.service.compute.test_idempotency_crashes import POSTS
from tests.service.house import open_house
from tests.service.mortal import Post
from tests.service.personas import (
    ADMIN,
    EVERYBODY,
    MEMBER,
    NOBODY,
    PERSONAS,
    READER,
    SERVICE,
    Overridden,
    Persona,
    verdict,
)

ATTACHMENTS = "/servers/{server_id}/os-volume_attachments"

RULES = {
    "POST /servers": ("os_compute_api:servers:create", MEMBER),
    "GET /servers": ("os_compute_api:servers:index", READER),
    "GET /servers/detail": ("os_compute_api:servers:detail", READER),
    "GET /servers/{server_id}": ("os_compute_api:servers:show", READER),
    "PUT /servers/{server_id}": ("os_compute_api:servers:update", MEMBER),
    "DELETE /servers/{server_id}": ("os_compute_api:servers:delete", MEMBER),
    "POST /servers/{server_id}/action (os-start)": ("os_compute_api:servers:start", MEMBER),
    "POST /servers/{server_id}/action (os-stop)": ("os_compute_api:servers:stop", MEMBER),
    "POST /servers/{server_id}/action (reboot)": ("os_compute_api:servers:reboot", MEMBER),
    f"GET {ATTACHMENTS}": ("os_compute_api:os-volumes-attachments:index", READER),
    f"POST {ATTACHMENTS}": ("os_compute_api:os-volumes-attachments:create", MEMBER),
    f"GET {ATTACHMENTS}/{{volume_id}}": ("os_compute_api:os-volumes-attachments:show", READER),
    f"PUT {ATTACHMENTS}/{{volume_id}}": ("os_compute_api:os-volumes-attachments:update", MEMBER),
    f"DELETE {ATTACHMENTS}/{{volume_id}}": (
        "os_compute_api:os-volumes-attachments:delete",
        MEMBER,
    ),
    "GET /flavors": ("", EVERYBODY),
    "GET /flavors/detail": ("", EVERYBODY),
    "GET /flavors/{flavor_id}": ("", EVERYBODY),
    "GET /flavors/{flavor_id}/os-extra_specs": ("", EVERYBODY),
    "GET /images": ("", EVERYBODY),
    "GET /images/detail": ("", EVERYBODY),
    "GET /images/{image_id}": ("", EVERYBODY),
    "GET /limits": ("", EVERYBODY),
    "POST /os-server-external-events": (
        "os_compute_api:os-server-external-events:create",
        SERVICE,
    ),
}
"""By call: the rule that judges it, and who passes that by default."""


class Guarded(Tokens):
    """Believes `user:project[:role]`, and wants to hear it."""

    async def identify(
        self, headers: Mapping[str, str], method: str = "", path: str = ""
    ) -> Identity:
        if "x-auth-token" not in headers:
            raise Unauthenticated("There is no token.")
        return await super().identify(headers, method, path)


@dataclass
class Walk:
    """A compute service with a server that has a volume."""

    cloud: ComputeCloud
    policy: Overridden
    server: str
    volume: str

    async def attached(self) -> str:
        volume = await self.cloud.house.volume()
        reply = await self.cloud.attach(self.server, volume)
        assert reply.status_code == 200, reply.text
        await self.cloud.quiet()
        return volume

    async def prepare(self, route: Route) -> Post:
        name = route.describe()
        if route.method == "POST":
            return await POSTS[name](self.cloud)
        if name == "DELETE /servers/{server_id}":
            return Post(f"/servers/{await self.cloud.server()}", None)
        path = route.path.replace("{server_id}", self.server).replace("{flavor_id}", "tiny")
        path = path.replace("{image_id}", "demo")
        if route.method == "DELETE":
            return Post(path.replace("{volume_id}", await self.attached()), None)
        return Post(path.replace("{volume_id}", self.volume), self._body(name))

    def _body(self, name: str) -> object:
        if name == "PUT /servers/{server_id}":
            return {"server": {"name": "other"}}
        if name.startswith("PUT"):
            wanted = {"volumeId": self.volume, "delete_on_termination": True}
            return {"volumeAttachment": wanted}
        return None

    async def send(self, method: str, request: Post, persona: Persona) -> httpx2.Response:
        headers = {"OpenStack-API-Version": "compute 2.90", **persona.token}
        url = f"/v2.1{request.path}"
        return await self.cloud.client.request(method, url, json=request.body, headers=headers)

    async def wrong_answers(self, route: Route) -> list[str]:
        """What was answered to whom, where it is not what operators expect."""
        rule, who = RULES[route.describe()]
        owned = "{server_id}" in route.path
        wrong, request = [], await self.prepare(route)
        if rule and (status := await self._without(rule, route, request)) != 403:
            wrong.append(f"{route.describe()}: {status} without {rule}")
        for persona in PERSONAS:
            request = request or await self.prepare(route)
            reply = await self.send(route.method, request, persona)
            wanted = verdict(persona, who, owned=owned)
            homeless = {400} if not persona.project and route.path == "/servers" else set()
            call = f"{route.describe()} by {persona.name}"
            if not wanted.fits(reply.status_code, homeless):
                wrong.append(
                    f"{call}: not {wanted.value}, but {reply.status_code} {reply.text[:99]}"
                )
            if reply.status_code < 300 and persona is not NOBODY and route.method != "GET":
                await self.cloud.quiet()
                request = request if route.method == "PUT" else None
            if reply.status_code < 300 and persona.is_stranger and self.server in reply.text:
                wrong.append(f"{call}: sees {reply.text[:99]}")
        return wrong

    async def _without(self, rule: str, route: Route, request: Post) -> int:
        self.policy.taken = frozenset({rule})
        reply = await self.send(route.method, request, ADMIN)
        self.policy.taken = frozenset()
        return reply.status_code


@pytest.fixture
async def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Walk]:
    policy = Overridden(defaults=DEFAULTS)
    monkeypatch.setattr(assembly, "POLICY", policy)
    monkeypatch.setattr(assembly, "Tokens", Guarded)
    quota = {"volumes": -1, "snapshots": -1, "gigabytes": -1}
    async with (
        open_house(tmp_path, authenticator=Tokens(), quota=quota) as house,
        open_compute(tmp_path, house) as cloud,
    ):
        walk = Walk(cloud, policy, await cloud.server(), "")
        walk.volume = await walk.attached()
        yield walk


async def test_every_route_is_open_to_whom_operators_expect_and_to_nobody_else(walk: Walk) -> None:
    wrong = []
    for route in ROUTES:
        wrong += await walk.wrong_answers(route)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", ["/servers?all_tenants=1", "/servers/detail?all_tenants=1"])
async def test_all_projects_servers_are_listed_to_administrators(walk: Walk, path: str) -> None:
    for persona in PERSONAS:
        reply = await walk.send("GET", Post(path, None), persona)
        allowed = persona.role == "admin"
        assert (reply.status_code == 200, walk.server in reply.text) == (allowed, allowed)
