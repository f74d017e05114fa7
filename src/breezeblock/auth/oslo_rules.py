"""Rules as oslo.policy judges them: the defaults with an operator's own instead of some.

`auth.policy` loads this when there is a policy.yaml. A check walks a tree of Python objects, which
is slow, so the answers of simple rules are remembered (`auth.judging`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import structlog
from oslo_config import cfg
from oslo_policy import policy as oslo

from breezeblock.auth.identity import Identity
from breezeblock.auth.judging import LEAF, Rules
from breezeblock.auth.policy_file import comes_back
from breezeblock.model.errors import shortened

_PLAIN_LEAF = re.compile(
    r"and|or|not|@|!|role:[^%]*|is_admin:(True|False)|project_id:%\(project_id\)s"
)

log = structlog.get_logger()


class OsloRules(Rules):
    """Any rules. One that cannot be evaluated is refused to everybody, and told of once."""

    def __init__(self, text: Mapping[str, str]) -> None:
        rules = oslo.Rules.from_dict(dict(text))
        simple = frozenset(name for name in rules if _is_simple(rules, name, frozenset()))
        super().__init__(text, simple)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        self._enforcer = oslo.Enforcer(conf, rules=rules, use_conf=False)
        self._enforcer.check_rules()
        self._in_circles = {name for name in text if comes_back(name, text)}
        self._failed: set[str] = set()

    def judge(self, rule: str, identity: Identity, target: Mapping[str, Any]) -> bool:
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
    for leaf in LEAF.findall(str(rules[name])):
        kind, _, match = leaf.partition(":")
        if kind == "rule":
            if not _is_simple(rules, match, above | {name}):
                return False
        elif not _PLAIN_LEAF.fullmatch(leaf):
            return False
    return True
