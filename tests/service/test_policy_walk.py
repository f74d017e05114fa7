"""The policy of the block storage API: every route is called by everybody, for real.

What is to be expected is not taken from our rules but from two lists of facts: which rules a call
is judged by (`route_rules.tsv`), and who passes a rule (`policies.tsv`). All that requests need is
there, so whoever is allowed gets an answer of success, and nobody else does.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from breezeblock.api.routes import ROUTES
from breezeblock.api.volume_attach_actions import ROUTES as ATTACHING
from breezeblock.auth.rules import ADMIN as ADMIN_RULE
from breezeblock.auth.rules import DEFAULTS
from breezeblock.auth.rules import MEMBER as MEMBER_RULE
from breezeblock.auth.rules import READER as READER_RULE
from breezeblock.web.routes import Route
from tests.service.calls import CHANGING, Furniture, furnish, request_of
from tests.service.house import House, open_house
from tests.service.mortal import Post
from tests.service.personas import (
    ADMIN,
    EVERYBODY,
    PERSONAS,
    READER,
    WHO,
    Overridden,
    Persona,
    Verdict,
    facts,
    verdict,
)
from tests.service.posts import POSTS

OUR_OWN = {"GET /operations": ("message:get_all",), "GET /operations/{}": ("message:get",)}
"""Routes that the reference does not have."""
OTHER_NAMES = {
    "PUT /os-services/failover": "PUT /os-services/failover_host",
    "GET /types/default": "GET /types/{}",
}
"""Routes that are in the list of facts under another name only."""

OWNED = re.compile(r"\{(volume|snapshot|attachment|transfer|message|operation)_id\}")
OWNED_BY_BODY = {
    "POST /snapshots",
    "POST /attachments",
    "POST /volume-transfers",
    "POST /os-volume-transfer",
    "POST /manageable_snapshots",
    "POST /os-snapshot-manage",
}
"""Routes about somebody's resource that the body names."""
OF_ANOTHER = {"POST /volume-transfers/{}/accept", "POST /os-volume-transfer/{}/accept"}
"""A key opens them to every project: the policy looks at the caller alone."""
REFUSED_BY_NAME = {"GET /os-quota-sets/{}", "GET /os-quota-sets/{}/defaults"}
"""The path names a project; no strangers' one is hidden, each is refused."""
HIDDEN_FROM_ALL = {"GET /volumes/{}"}
"""Whoever may not see it is told that it is not there."""
NO_PROJECT = {
    "POST /volumes",
    "POST /snapshots",
    "POST /volume-transfers/{}/accept",
    "POST /os-volume-transfer/{}/accept",
    "POST /manageable_volumes",
    "POST /os-volume-manage",
    "POST /manageable_snapshots",
    "POST /os-snapshot-manage",
}
"""Who makes something needs a project to own it: without one the answer is 400."""
NO_REPLICATION = {"PUT /os-services/failover_host", "PUT /os-services/failover", "PUT /os-hosts/{}"}
"""None of our backends can do this: 400 to those who may ask for it."""


def _plain(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _judged_by() -> dict[str, tuple[str, ...]]:
    """The rules of each call; those that hold under a condition only are not among them."""
    found = {}
    for row in facts("route_rules.tsv"):
        action = f" ({row['action_key']})" if row["action_key"] else ""
        name = f"{row['method']} {_plain(row['path'])}{action}"
        found[name] = tuple(filter(None, row["rules"].split(" + ")))
    return found


RULES = _judged_by()


def name_of(route: Route) -> str:
    return _plain(route.describe())


def rules_of(route: Route) -> tuple[str, ...]:
    """The rules that the facts name for this call; KeyError when they do not know it."""
    name = name_of(route)
    return OUR_OWN.get(name) or RULES[OTHER_NAMES.get(name, name)]


def who_may(route: Route) -> str:
    """Who may make this call, by the facts."""
    allowed = {WHO[rule] for rule in rules_of(route)} or {EVERYBODY}
    assert len(allowed) == 1, f"{route.describe()}: rules for different people"
    return allowed.pop()


def is_owned(route: Route) -> bool:
    name = name_of(route)
    if name in OF_ANOTHER:
        return False
    return name in OWNED_BY_BODY or bool(OWNED.search(route.path))


def expected(persona: Persona, route: Route) -> Verdict:
    name, who = name_of(route), who_may(route)
    if name in REFUSED_BY_NAME and persona.role not in ("", "admin") and not persona.is_owner:
        return Verdict.REFUSED
    found = verdict(persona, who, owned=is_owned(route))
    return Verdict.HIDDEN if found is Verdict.REFUSED and name in HIDDEN_FROM_ALL else found


def failures(persona: Persona, route: Route) -> set[int]:
    name = name_of(route)
    if name in NO_REPLICATION or (name in NO_PROJECT and not persona.project):
        return {400}
    return set()


def can_be_repeated(route: Route) -> bool:
    return route.method in ("GET", "PUT") and route.describe() not in CHANGING


def _part(route: Route) -> str:
    collection = route.path.split("/")[1]
    if route in ATTACHING:
        return "attaching volumes"
    if collection == "volumes":
        return "what else is done to volumes" if route.action else "volumes"
    owned = is_owned(route) or name_of(route) in OF_ANOTHER
    return "what else projects have" if owned else "what operators have"


PARTS = {route.describe(): _part(route) for route in ROUTES}
"""The walk in parts, which go side by side."""


@dataclass
class Walk:
    """A house with everything in it that the requests are about."""

    house: House
    policy: Overridden
    furniture: Furniture

    async def prepare(self, route: Route) -> Post:
        if route.method == "POST":
            return await POSTS[route.describe()](self.house)
        return await request_of(self.house, self.furniture, route.method, route.path)

    async def send(self, method: str, request: Post, persona: Persona) -> httpx2.Response:
        headers = {"OpenStack-API-Version": "volume 3.71", **persona.token}
        url = f"/v3{request.path}"
        return await self.house.client.request(method, url, json=request.body, headers=headers)

    async def unasked(self, route: Route) -> list[str]:
        """The rules of the facts that this call does not obey: an operator's change to them would
        be in vain."""
        request, name = await self.prepare(route), name_of(route)
        unasked = []
        for rule in rules_of(route):
            self.policy.taken = frozenset({rule})
            reply = await self.send(route.method, request, ADMIN)
            self.policy.taken = frozenset()
            if reply.status_code != (404 if name in HIDDEN_FROM_ALL else 403):
                unasked.append(f"{route.describe()}: {reply.status_code} without {rule}")
        return unasked

    async def wrong_answers(self, route: Route) -> list[str]:
        """What was answered to whom, where it is not what the facts say."""
        wrong, request = [], None
        for persona in PERSONAS:
            request = request or await self.prepare(route)
            reply = await self.send(route.method, request, persona)
            wanted, told = expected(persona, route), f"{reply.status_code} {reply.text[:120]}"
            call = f"{route.describe()} by {persona.name}"
            if not wanted.fits(reply.status_code, failures(persona, route)):
                wrong.append(f"{call}: not {wanted.value}, but {told}")
            if reply.status_code >= 300:
                continue
            if persona.is_stranger and self.furniture.volume in reply.text:
                wrong.append(f"{call}: sees {told}")
            if not can_be_repeated(route):
                await self.house.quiet()
                request = None
        return wrong


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    policy, quota = Overridden(), {"volumes": -1, "snapshots": -1, "gigabytes": -1}
    settings = {"policy": policy, "quota": quota, "service_down_time": 3600.0}
    async with open_house(tmp_path, **settings) as house:
        yield Walk(house, policy, await furnish(house))


@pytest.mark.parametrize("part", sorted(set(PARTS.values())))
async def test_every_route_is_open_to_whom_the_facts_say_and_to_nobody_else(
    walk: Walk, part: str
) -> None:
    wrong = []
    for route in ROUTES:
        if PARTS[route.describe()] == part:
            wrong += await walk.wrong_answers(route)
    assert not wrong, "\n".join(wrong)


async def test_every_route_asks_the_rules_that_the_facts_name(walk: Walk) -> None:
    unasked = []
    for route in ROUTES:
        unasked += await walk.unasked(route)
    assert not unasked, "\n".join(unasked)


def test_the_facts_are_about_our_rules() -> None:
    strings = {"admin": ADMIN_RULE, "admin or owner-member": MEMBER_RULE, READER: READER_RULE}
    assert {rule: strings[who] for rule, who in WHO.items()} == DEFAULTS
    named = {rule for rules in RULES.values() for rule in rules}
    assert named <= set(WHO)
