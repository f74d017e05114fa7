"""An operator's policy.yaml: which rules it overrides, and what is wrong with it.

A file is a list of `"rule": "who may"` lines in YAML or JSON; `breezeblock policy` prints one with
every rule. What is wrong in a single line is refused to everybody and warned of; a file that is no
such list is none at all. oslo.policy is loaded when a file is looked at.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias

from breezeblock.auth.rules import RENAMED

Overrides: TypeAlias = dict[str, str]
"""Who may, by rule."""

_REFERENCE = re.compile(r"(?<![^\s(])rule:([^\s()]+)")
_LEAF = re.compile(r"(?:%\([\w.]+\)s|[^\s()])+")
_WORDS = frozenset({"and", "or", "not", "@", "!"})
_SOMEBODY = {
    "user_id": "alice",
    "project_id": "p1",
    "tenant": "p1",
    "roles": ["member"],
    "is_admin": False,
    "is_admin_project": True,
}

# It writes tracebacks about what `problems` says in a sentence.
logging.getLogger("oslo_policy").setLevel(logging.CRITICAL)


def overrides(text: str) -> Overrides:
    """What the file says, older names of rules translated. Raises ValueError, naming the line."""
    said = _said(text)
    found = {name: who for name, who in said.items() if name not in RENAMED}
    for older, newer in RENAMED.items():
        if older in said:
            found = dict.fromkeys(newer, said[older]) | found
    return found | {older: said[older] for older in RENAMED if older in said}


def problems(
    found: Overrides, defaults: Mapping[str, str], known: Collection[str]
) -> Iterator[str]:
    """What is wrong with single rules, a sentence each. Rules that others refer to are no mistake,
    whatever their name."""
    rules = {**defaults, **found}
    meant = {name for who in found.values() for name in _REFERENCE.findall(who)}
    for name, who in found.items():
        if name in RENAMED:
            yield f"{name} is an older name; use {', '.join(RENAMED[name])}"
        elif name not in known and name not in meant:
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"{name} is no rule of this service, and no other refers to it{hint}"
        if _is_nonsense(who):
            yield f"{name}: {who!r} cannot be understood: what is not is refused"
        else:
            for part in _not_to_evaluate(who):
                yield f"{name}: {part!r} cannot be evaluated: whoever it is asked about is refused"
        for missing in sorted(set(_REFERENCE.findall(who)) - set(rules) - set(known)):
            yield f"{name} refers to {missing}, which is not there: that part is refused"
        if comes_back(name, rules):
            yield f"{name} refers to itself: nobody may"


def _said(text: str) -> Overrides:
    from oslo_policy import _parser, policy

    try:
        document = policy.parse_file_contents(text)
    except ValueError as error:
        cause = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")
        raise ValueError(cause) from None
    if not isinstance(document, dict):
        raise ValueError('it must be lines of "rule": "who may"')
    for name, who in document.items():
        if not isinstance(name, str) or not isinstance(who, str):
            raise ValueError(f"{name}: who may is a text in quotes")
        try:
            _parser.parse_rule(who)
        except RecursionError:
            raise ValueError(f"{name}: who may is nested too deeply") from None
    return document


def _is_nonsense(who: str) -> bool:
    """Whether a part of it, or how the parts are put together, means nothing."""
    from oslo_policy import _checks, _parser

    if any(":" not in leaf and leaf.lower() not in _WORDS for leaf in _LEAF.findall(who)):
        return True
    return who.strip() != "!" and isinstance(_parser.parse_rule(who), _checks.FalseCheck)


def _not_to_evaluate(who: str) -> Iterator[str]:
    """The parts of a rule that fail whoever asks, found by a trial. No other server is asked."""
    from oslo_policy import _checks, _parser

    ahead = [_parser.parse_rule(who)]
    while ahead:
        check = ahead.pop()
        if isinstance(check, _checks.AndCheck | _checks.OrCheck):
            ahead += reversed(check.rules)
        elif isinstance(check, _checks.NotCheck):
            ahead.append(check.rule)
        elif isinstance(check, _checks.Check) and not isinstance(check, _checks.RuleCheck):
            try:
                _try(check)
            except Exception:  # the same that a request would meet, whatever it is
                yield str(check)


class _Whatever(dict[str, str]):
    """The target of a trial: it has everything."""

    def __missing__(self, key: str) -> str:
        return key


def _try(check: Any) -> None:
    from oslo_policy import _external

    if isinstance(check, _external.HttpCheck):
        check.match % _Whatever()
    else:
        no_enforcer: Any = None
        check(_Whatever(), dict(_SOMEBODY), no_enforcer)


def comes_back(name: str, rules: Mapping[str, str]) -> bool:
    """Whether a rule leads back to itself."""
    seen: set[str] = set()
    ahead = _REFERENCE.findall(rules[name])
    while ahead:
        one = ahead.pop()
        if one == name:
            return True
        if one not in seen:
            seen.add(one)
            ahead += _REFERENCE.findall(rules.get(one, ""))
    return False
