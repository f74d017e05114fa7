"""What the policy allows: oslo.policy with the rule names that operators of Cinder know.

The web layer asks before a handler runs, handlers ask about the resource they loaded. The defaults
are code (`auth.rules`); an operator's policy.yaml overrides single rules by name, and is read again
when it changes (`auth.policy_file` says what is in it, and what is wrong with it).

oslo.policy is loaded with the first such file: it is as large as all the rest of a process that
serves HTTP, and the defaults need little of it (`auth.judging`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from breezeblock.auth.identity import Identity
from breezeblock.auth.judging import DefaultRules, Rules
from breezeblock.auth.operators_file import LOOK_EVERY, OperatorsFile
from breezeblock.auth.policy_file import Overrides, overrides, problems
from breezeblock.auth.rules import ADMINISTRATOR, BASE, DEFAULTS

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
        self._plain = DefaultRules(self._defaults)
        self._file: OperatorsFile[Rules] | None = None
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
    def _rules(self) -> Rules:
        return self._plain if self._file is None else self._file.present()

    def _with_overrides(self, text: str) -> Rules:
        found: Overrides = overrides(text)
        for problem in problems(found, self._defaults, self._known):
            log.warning("policy file", problem=problem)
        from breezeblock.auth.oslo_rules import OsloRules

        return OsloRules({**self._defaults, **found})
