"""The extra specs of a volume type, as demands on a pool's capabilities.

The CapabilitiesFilter compiles a type's extra specs once a request and applies the demands to each
pool. Operators and their oddities are those of the shared facts (scheduler.md,
"CapabilitiesFilter"): `=` means "at least", only the first word after an operator counts, and
everything but the numeric operators compares text.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.values import boolean, number, shown

NOTHING = object()
"""Stands for a capability that is not reported."""

Matcher = Callable[[object], bool]

_NUMERIC: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXT: Mapping[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
}
_PROTOCOLS = (
    frozenset({"iSCSI", "iscsi"}),
    frozenset({"FC", "fibre_channel", "fc"}),
    frozenset({"NFS", "nfs"}),
    frozenset({"NVMe-oF", "NVMeOF", "nvmeof"}),
)


@dataclass(frozen=True, slots=True)
class Demand:
    """One extra spec that a pool must satisfy: where to look, and what passes."""

    key: str
    wanted: str
    path: tuple[str, ...]
    matches: Matcher

    def found(self, pool: Pool) -> Any:
        """What the pool has there; NOTHING, where it reports none."""
        return _looked_up(pool.capabilities, self.path)

    def satisfied_by(self, found: Any) -> bool:
        """Whether what was found is enough. Of a list one matching element is."""
        if found is NOTHING:
            return False
        if isinstance(found, (list, tuple)):
            return any(self.matches(element) for element in found)
        return self.matches(found)

    def refusal(self, capabilities: Mapping[str, Any]) -> str | None:
        """Why these capabilities do not satisfy the extra spec, or None when they do."""
        found = _looked_up(capabilities, self.path)
        if found is NOTHING:
            return f"extra spec {self.key} wants {shown(self.wanted)}, pool reports none"
        if self.satisfied_by(found):
            return None
        return f"extra spec {self.key} wants {shown(self.wanted)}, pool has {shown(found)}"


def _looked_up(capabilities: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = capabilities
    try:
        for part in path:
            found = found[part]
    except (KeyError, TypeError):
        return NOTHING
    return spellings(found) if path == ("storage_protocol",) else found


def demands(extra_specs: Mapping[str, str]) -> Iterator[Demand]:
    """The extra specs that are meant for capabilities: unscoped, or scoped `capabilities:`."""
    for key, wanted in extra_specs.items():
        scope, *rest = key.split(":")
        if rest and scope != "capabilities":
            continue
        path = tuple(rest) or (scope,)
        yield Demand(key, wanted, path, matcher(wanted))


def matcher(wanted: object) -> Matcher:
    """Compile the value of an extra spec into a test of one capability value."""
    words = str(wanted).split()
    sign, rest = (words[0], words[1:]) if words else ("", [])
    if sign == "<or>":
        return _one_of(words)
    if sign not in _OPERATORS:
        return _same(wanted)
    if not rest:
        return lambda _have: False
    return _OPERATORS[sign](sign, rest[0])


def spellings(protocol: object) -> object:
    """A storage protocol, or a list of them, widened to all known spellings of each."""
    reported = protocol if isinstance(protocol, (list, tuple)) else [protocol]
    wide = list(reported)
    for group in _PROTOCOLS:
        if any(isinstance(one, str) and one in group for one in reported):
            wide.extend(sorted(group.difference(wide)))
    return wide if len(wide) > 1 else protocol


def _same(wanted: object) -> Matcher:
    as_boolean = boolean(wanted)

    def test(have: object) -> bool:
        if isinstance(have, bool):
            return have is as_boolean
        return have == wanted or (have is not None and str(have) == wanted)

    return test


def _numeric(sign: str, word: str) -> Matcher:
    compare, wanted = _NUMERIC[sign], number(word)

    def test(have: object) -> bool:
        value = number(have)
        return value is not None and wanted is not None and compare(value, wanted)

    return test


def _textual(sign: str, word: str) -> Matcher:
    compare = _TEXT[sign]
    return lambda have: have is not None and compare(str(have), word)


def _is(_sign: str, word: str) -> Matcher:
    wanted = boolean(word)
    return lambda have: wanted is not None and boolean(have) is wanted


def _contains(_sign: str, word: str) -> Matcher:
    return lambda have: isinstance(have, (str, Mapping)) and word in have


def _one_of(words: list[str]) -> Matcher:
    wanted = {word for sign, word in pairwise(words) if sign == "<or>"}
    tests = [_same(word) for word in wanted]
    return lambda have: any(test(have) for test in tests)


_OPERATORS: Mapping[str, Callable[[str, str], Matcher]] = {
    **dict.fromkeys(_NUMERIC, _numeric),
    **dict.fromkeys(_TEXT, _textual),
    "<is>": _is,
    "<in>": _contains,
}
