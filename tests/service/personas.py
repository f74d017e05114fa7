"""Who calls, in walks through the policy, and what each may do by the words of the facts.

`verdict` says what is to be expected of a persona's call; it knows no rule of ours, only the
personas that operators have roles for.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from breezeblock.auth.identity import Identity
from breezeblock.auth.policy import Policy
from breezeblock.auth.rules import DEFAULTS
from tests.service.catalog_fixture import OTHER, PROJECT


def facts(name: str) -> list[dict[str, str]]:
    """A list of facts that is kept beside this file."""
    with (Path(__file__).parent / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


WHO = {row["rule"]: row["who_by_default"] for row in facts("policies.tsv")}
"""Who passes a rule, in the words of the facts: those that follow."""

EVERYBODY = "any authenticated"
READER = "admin or owner-reader"
MEMBER = "admin or owner-member"
ADMINISTRATOR = "admin"
SERVICE = "admin or service"


@dataclass(frozen=True)
class Persona:
    """A caller: the role that he has in a project; the whole system's has none."""

    name: str
    role: str
    project: str

    @property
    def token(self) -> dict[str, str]:
        if not self.role:
            return {}
        return {"X-Auth-Token": f"{self.role}-user:{self.project}:{self.role}"}

    @property
    def is_stranger(self) -> bool:
        """Whether what PROJECT has is to be hidden from him."""
        return not self.is_owner and self.role != "admin"

    @property
    def is_owner(self) -> bool:
        return self.project == PROJECT


NOBODY = Persona("nobody", "", "")
ADMIN = Persona("admin", "admin", PROJECT)
PERSONAS = (
    NOBODY,
    Persona("service", "service", PROJECT),
    Persona("other project's reader", "reader", OTHER),
    Persona("other project's member", "member", OTHER),
    Persona("other project's manager", "manager", OTHER),
    Persona("system reader", "reader", ""),
    Persona("system member", "member", ""),
    Persona("reader", "reader", PROJECT),
    Persona("member", "member", PROJECT),
    Persona("manager", "manager", PROJECT),
    ADMIN,
    Persona("other project's admin", "admin", OTHER),
    Persona("system admin", "admin", ""),
)
"""From those that may do least to those that may do most."""

_ROLES = {
    EVERYBODY: {"service", "reader", "member", "manager", "admin"},
    READER: {"reader", "member", "manager", "admin"},
    MEMBER: {"member", "manager", "admin"},
    ADMINISTRATOR: {"admin"},
    SERVICE: {"admin", "service"},
}


class Verdict(Enum):
    """What a persona's call comes to."""

    DONE = "done"
    REFUSED = "403"
    HIDDEN = "404"
    HIDDEN_OR_REFUSED = "403 or 404"
    UNAUTHENTICATED = "401"

    def fits(self, status: int, failures: Collection[int] = ()) -> bool:
        """`failures` are what a call that is allowed may be answered besides."""
        if self is Verdict.DONE:
            return status < 300 or status in failures
        return str(status) in self.value


def verdict(persona: Persona, who: str, *, owned: bool) -> Verdict:
    """What becomes of a call that `who` may make; `owned`: it is about what PROJECT has."""
    if persona is NOBODY:
        return Verdict.UNAUTHENTICATED
    if owned and persona.is_stranger:
        return Verdict.HIDDEN_OR_REFUSED if who == ADMINISTRATOR else Verdict.HIDDEN
    return Verdict.DONE if persona.role in _ROLES[who] else Verdict.REFUSED


class Overridden(Policy):
    """The default rules, some of which an operator has taken from everybody."""

    def __init__(self, defaults: Mapping[str, str] = DEFAULTS) -> None:
        super().__init__(defaults=defaults)
        self.taken: frozenset[str] = frozenset()

    def allows(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
        return rule not in self.taken and super().allows(rule, identity, target)
