"""Judging rules: who may do what, by the text of the rules as they are at one time.

`auth.policy` asks. `DefaultRules` judges by our own rules, `auth.oslo_rules` by an operator's.
Nearly all rules look at nothing but the caller's roles and whether the target is of his project,
and a list of a thousand volumes asks the same few questions a thousand times: such answers are
remembered, for as long as the rules are these.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from breezeblock.auth.identity import Identity

LEAF = re.compile(r"(?:%\(\w+\)s|[^\s()])+")
_TOKEN = re.compile(rf"[()]|{LEAF.pattern}")
_MAX_REMEMBERED = 10_000
_OWN = "%(project_id)s"


class Rules(ABC):
    """Rules, and the answers that were given by them. `text` is what they say, by name.

    `simple` are those that depend on roles, is_admin and ownership by project alone.
    """

    def __init__(self, text: Mapping[str, str], simple: frozenset[str]) -> None:
        self.text = text
        self._simple = simple
        self._remembered: dict[tuple[str, frozenset[str], bool, bool], bool] = {}

    @abstractmethod
    def judge(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
        """Whether the caller may do it to the target, found out from the beginning."""

    def allow(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
        """Whether the caller may do it to the target. A rule that is not there: nobody."""
        if rule not in self._simple:
            return self.judge(rule, identity, target)
        owner = target.get("project_id") == identity.project_id
        key = (rule, identity.roles, identity.is_admin, owner)
        answer = self._remembered.get(key)
        if answer is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            answer = self._remembered[key] = self.judge(rule, identity, target)
        return answer


class DefaultRules(Rules):
    """The rules of `auth.rules` and of the compute API: simple ones, none of which leads back to
    itself. Raises ValueError for others."""

    def __init__(self, text: Mapping[str, str]) -> None:
        super().__init__(text, frozenset(text))
        nobody = Identity("", "")
        for rule in text:
            self.judge(rule, nobody, {})

    def judge(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
        if rule not in self.text:
            return False
        tokens = deque(_TOKEN.findall(self.text[rule]))
        answer = _any_of(tokens, partial(self._holds, identity, target))
        if tokens:
            raise ValueError(f"{rule}: {self.text[rule]!r} is no rule")
        return answer

    def _holds(self, identity: Identity, target: Mapping[str, Any], leaf: str) -> bool:
        kind, _, match = leaf.partition(":")
        if kind == "rule":
            return self.judge(match, identity, target)
        if kind == "role":
            return match.lower() in identity.roles
        if kind == "is_admin":
            return match == str(identity.is_admin)
        if kind == "project_id" and match == _OWN:
            return target.get("project_id") == identity.project_id
        raise ValueError(f"{leaf!r}: the defaults have no such part")


def _any_of(tokens: deque[str], holds: Callable[[str], bool]) -> bool:
    """What `a or b` comes to, whose tokens are taken."""
    found = _all_of(tokens, holds)
    while tokens and tokens[0] == "or":
        tokens.popleft()
        found = _all_of(tokens, holds) or found
    return found


def _all_of(tokens: deque[str], holds: Callable[[str], bool]) -> bool:
    found = _part(tokens, holds)
    while tokens and tokens[0] == "and":
        tokens.popleft()
        found = _part(tokens, holds) and found
    return found


def _part(tokens: deque[str], holds: Callable[[str], bool]) -> bool:
    if not tokens:
        raise ValueError("a rule ends in the middle")
    token = tokens.popleft()
    if token != "(":
        return holds(token)
    found = _any_of(tokens, holds)
    if not tokens or tokens.popleft() != ")":
        raise ValueError("a rule has a bracket that is not closed")
    return found
