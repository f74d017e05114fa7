"""What the policy allows: oslo.policy with the rule names that operators of Cinder know.

The web layer asks before a handler runs, handlers ask about the resource they loaded. The defaults
are code (`auth.rules`); an operator's policy.yaml overrides single rules by name, and is read again
when it changes (`auth.policy_file` says what is in it, and what is wrong with it).

A check walks a tree of Python objects, which is slow, and a list of a thousand volumes asks the
same few questions a thousand times. Nearly all rules look at nothing but the caller's roles and
whether the target is of his project, so those answers are remembered.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from oslo_config import cfg
from oslo_policy import policy as oslo

from breezeblock.auth.identity import Identity
from breezeblock.auth.operators_file import LOOK_EVERY, OperatorsFile
from breezeblock.auth.policy_file import Overrides, comes_back, overrides, problems
from breezeblock.auth.rules import ADMINISTRATOR, BASE, DEFAULTS
from breezeblock.model.errors import shortened

_LEAF = re.compile(r"(?:%\(\w+\)s|[^\s()])+")
_PLAIN_LEAF = re.compile(
    r"and|or|not|@|!|role:[^%]*|is_admin:(True|False)|project_id:%\(project_id\)s"
)
_MAX_REMEMBERED = 10_000

log = structlog.get_logger()


class Policy:
    """Judges rules: the defaults, and what `policy_file` (YAML or JSON) says instead.

    `others` are rules that the file may override for somebody else: one file serves both APIs.
    Raises OSError, ValueError when the file cannot be read.
    """

    def __init__(
        self,
        policy_file: Path | None = None,
        defaults: Mapping[str, str] = DEFAULTS,
        others: Collection[str] = (),
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._defaults = {**BASE, **defaults}
        self._known = frozenset(self._defaults).union(others)
        self._plain = _Rules(self._defaults)
        self._file: OperatorsFile[_Rules] | None = None
        if policy_file is not None:
            self._file = OperatorsFile(policy_file, self._with_overrides, look_every)

    def allows(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
        """Whether the caller may do `rule` to the target (at least its `project_id`).

        A rule that nobody defined is refused to everybody, and so is one that cannot be evaluated.
        """
        return self._rules.allow(rule, identity, target)

    def known(self, identity: Identity) -> Identity:
        """The caller, an administrator or not by the operator's word, where he has given one."""
        rules = self._rules
        if rules.text[ADMINISTRATOR] == self._defaults[ADMINISTRATOR]:
            return identity
        return replace(identity, is_admin=rules.allow(ADMINISTRATOR, identity, {}))

    @property
    def _rules(self) -> _Rules:
        return self._plain if self._file is None else self._file.present()

    def _with_overrides(self, text: str) -> _Rules:
        found: Overrides = overrides(text)
        for problem in problems(found, self._defaults, self._known):
            log.warning("policy file", problem=problem)
        return _Rules({**self._defaults, **found})


class _Rules:
    """Rules as they are at one time, and the answers that were given by them."""

    def __init__(self, text: Mapping[str, str]) -> None:
        self.text = text
        rules = oslo.Rules.from_dict(dict(text))
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        self._enforcer = oslo.Enforcer(conf, rules=rules, use_conf=False)
        self._enforcer.check_rules()
        self._simple = {name for name in rules if _is_simple(rules, name, frozenset())}
        self._remembered: dict[tuple[str, frozenset[str], bool, bool], bool] = {}
        self._in_circles = {name for name in text if comes_back(name, text)}
        self._failed: set[str] = set()

    def allow(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
        if rule not in self._simple:
            return self._ask(rule, identity, target)
        owner = target.get("project_id") == identity.project_id
        key = (rule, identity.roles, identity.is_admin, owner)
        answer = self._remembered.get(key)
        if answer is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            answer = self._remembered[key] = self._ask(rule, identity, target)
        return answer

    def _ask(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
        if rule in self._in_circles:
            self._tell(rule, "it refers to itself")
            return False
        creds = {
            "user_id": identity.user_id,
            "project_id": identity.project_id,
            "tenant": identity.project_id,
            "roles": sorted(identity.roles),
            "is_admin": identity.is_admin,
            "is_admin_project": True,
        }
        try:
            return bool(self._enforcer.enforce(rule, dict(target), creds))
        except Exception as error:  # an operator's rule may go wrong in any way, or ask a server
            self._tell(rule, f"{type(error).__name__}: {error}")
            return False

    def _tell(self, rule: str, cause: str) -> None:
        """Say that a rule cannot be evaluated; once, since every request may ask it."""
        if rule not in self._failed:
            self._failed.add(rule)
            error = shortened(cause, 300)
            log.error("policy rule cannot be evaluated, it is refused", rule=rule, error=error)


def _is_simple(rules: Mapping[str, Any], name: str, above: frozenset[str]) -> bool:
    """Whether a rule depends on roles, is_admin and ownership by project alone."""
    if name in above or name not in rules:
        return False
    for leaf in _LEAF.findall(str(rules[name])):
        kind, _, match = leaf.partition(":")
        if kind == "rule":
            if not _is_simple(rules, match, above | {name}):
                return False
        elif not _PLAIN_LEAF.fullmatch(leaf):
            return False
    return True
