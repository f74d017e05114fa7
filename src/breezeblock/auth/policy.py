"""What the policy allows: oslo.policy with the rule names that operators of Cinder know.

The web layer asks before a handler runs, handlers ask about the resource they loaded. The defaults
are code (`auth.rules`); an operator's policy.yaml overrides single rules by name.

A check walks a tree of Python objects, which is slow, and a list of a thousand volumes asks the
same few questions a thousand times. Nearly all rules look at nothing but the caller's roles and
whether the target is of his project, so those answers are remembered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo

from breezeblock.auth.identity import Identity
from breezeblock.auth.rules import BASE, DEFAULTS

_LEAF = re.compile(r"(?:%\(\w+\)s|[^\s()])+")
_PLAIN_LEAF = re.compile(
    r"and|or|not|@|!|role:[^%]*|is_admin:(True|False)|project_id:%\(project_id\)s"
)
_MAX_REMEMBERED = 10_000


class Policy:
    """Judges rules. Reads the operator's overrides once, from `policy_file` (YAML or JSON)."""

    def __init__(
        self, policy_file: Path | None = None, defaults: Mapping[str, str] = DEFAULTS
    ) -> None:
        rules = oslo.Rules.from_dict({**BASE, **defaults})
        if policy_file is not None:
            rules.update(oslo.Rules.load(policy_file.read_text(encoding="utf-8")))
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        self._enforcer = oslo.Enforcer(conf, rules=rules, use_conf=False)
        self._enforcer.check_rules()
        self._simple = {name for name in rules if _is_simple(rules, name, frozenset())}
        self._remembered: dict[tuple[str, frozenset[str], bool, bool], bool] = {}

    def allows(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
        """Whether the caller may do `rule` to the target (at least its `project_id`).

        A rule that nobody defined is refused to everybody.
        """
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
        creds = {
            "user_id": identity.user_id,
            "project_id": identity.project_id,
            "tenant": identity.project_id,
            "roles": sorted(identity.roles),
            "is_admin": identity.is_admin,
            "is_admin_project": True,
        }
        return bool(self._enforcer.enforce(rule, dict(target), creds))


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
