"""Compares two records of one session, exchange by exchange and field by field.

Statuses, headers, key sets, types and values have to be equal, but for what must differ: ids (which
have to stand for the same thing each time), times (same form), request ids, the base URL, and the
words of an error (its code and its key have to be equal).

Differences that we mean are listed in `accepted.toml`, each with its reason.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(Z|[+-]\d\d:\d\d)?")
SECRET = re.compile(r"[0-9a-f]{16}")
FAULTS = ("message", "code")
NAMED = {
    "body.extensions": "alias",
    "body.hosts": "host_name",
    "body.resource_filters": "resource",
}
"""Lists without an order: their elements are told apart by this field."""

Exchange = dict[str, Any]


@dataclass(frozen=True)
class Deviation:
    """One field in which an answer differs. `where` is `METHOD /route status|headers.…|body.…`."""

    step: str
    where: str
    expected: object
    came: object
    asked: str = ""


@dataclass
class Accepted:
    """A difference that we mean: patterns of step, place and both values, and why."""

    step: str
    where: str
    expected: str
    came: str
    why: str
    used: bool = False

    def covers(self, deviation: Deviation) -> bool:
        values = _text(deviation.expected), _text(deviation.came)
        told = (deviation.step, deviation.where, *values)
        patterns = (self.step, self.where, self.expected, self.came)
        return all(map(fnmatch.fnmatchcase, told, patterns))


def read_accepted(path: Path) -> list[Accepted]:
    """The accepted differences: [[difference]] tables of where and why; step, expected, came."""
    tree = tomllib.loads(path.read_text())
    return [
        Accepted(
            entry.get("step", "*"),
            _literal(entry["where"]),
            _literal(entry.get("expected", "*")),
            _literal(entry.get("came", "*")),
            entry["why"],
        )
        for entry in tree["difference"]
    ]


def _text(value: object) -> str:
    return "nothing" if value is None else str(value)


def _literal(pattern: str) -> str:
    """Brackets are those of lists here, not of fnmatch's sets."""
    return pattern.replace("[", "[[]")


@dataclass
class Comparison:
    """Walks two records side by side; `ids` says which id of one is which of the other."""

    root_expected: str
    root_came: str
    ids: dict[str, str] = field(default_factory=dict)
    _back: dict[str, str] = field(default_factory=dict)

    def compare(
        self, expected: Sequence[Exchange], came: Sequence[Exchange]
    ) -> Iterator[tuple[str, list[Deviation]]]:
        """Each exchange's label with its deviations."""
        expected, came = _arrived(expected), _arrived(came)
        others = {step: list(group) for step, group in groupby(came, lambda one: str(one["step"]))}
        for step, group in groupby(expected, lambda one: str(one["step"])):
            ours, theirs = list(group), others.pop(step, [])
            if len(ours) != len(theirs):
                asked = [f"{one['method']} {one['path']}" for one in (ours, theirs) for one in one]
                yield (
                    step,
                    [Deviation(step, "requests", len(ours), len(theirs), "; ".join(asked))],
                )
                continue
            for one, other in zip(ours, theirs, strict=True):
                yield step, list(self._exchange(step, one, other))
        for step, rest in others.items():
            yield step, [Deviation(step, "requests", 0, len(rest))]

    def _exchange(self, step: str, expected: Exchange, came: Exchange) -> Iterator[Deviation]:
        route = f"{expected['method']} {route_of(expected['path'])}"
        asked = (
            f"{came['method']} {came['path']} {came['version']} {came['request'] or ''}"
        ).strip()

        def deviation(where: str, one: object, other: object) -> Deviation:
            return Deviation(step, f"{route} {where}", one, other, asked)

        if came["method"] != expected["method"] or route_of(came["path"]) != route_of(
            expected["path"]
        ):
            yield deviation("request", expected["path"], came["path"])
        if (expected["status"], came["status"]) == (500, 400):
            return  # where the reference fails, we refuse
        if expected["status"] != came["status"] or came["status"] == 500:
            yield deviation("status", expected["status"], came["status"])
            if expected["status"] < 300 or came["status"] < 300:
                return
        for name in expected["headers"]:
            one, other = expected["headers"][name], came["headers"][name]
            if not self._same_text(one, other):
                yield deviation(f"headers.{name}", one, other)
        for where, one, other in self._walk("body", expected["body"], came["body"]):
            yield deviation(where, one, other)

    def _walk(self, where: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
        if isinstance(one, dict) and isinstance(other, dict):
            for key in sorted(one.keys() | other.keys()):
                place = f"{where}.{key}"
                if key not in other:
                    yield place, one[key], "(no such key)"
                elif key not in one:
                    yield place, "(no such key)", other[key]
                elif not (key == "message" and set(one) >= set(FAULTS)):
                    yield from self._walk(place, one[key], other[key])
        elif where in NAMED and isinstance(one, list) and isinstance(other, list):
            here, there = ({it[NAMED[where]]: it for it in items} for items in (one, other))
            yield from self._walk(f"{where}[]", here, there)
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                yield where, one, other
                return
            for here, there in zip(one, other, strict=True):
                yield from self._walk(f"{where}[]", here, there)
        elif isinstance(one, str) and isinstance(other, str):
            secrets = where.endswith("auth_key") and SECRET.fullmatch(one)
            if not (secrets and SECRET.fullmatch(other)) and not self._same_text(one, other):
                yield where, one, other
        elif type(one) is not type(other) or one != other:
            yield where, one, other

    def _same_text(self, one: str | None, other: str | None) -> bool:
        if one is None or other is None:
            return one is other
        one, other = (
            REQUEST_ID.sub("req-ID", text.replace(root, "ROOT"))
            for text, root in ((one, self.root_expected), (other, self.root_came))
        )
        if TIME.fullmatch(one) and TIME.fullmatch(other):
            return len(one) == len(other)
        ids, others = UUID.findall(one), UUID.findall(other)
        return UUID.sub("ID", one) == UUID.sub("ID", other) and all(map(self._same_id, ids, others))

    def _same_id(self, one: str, other: str) -> bool:
        there = self.ids.setdefault(one, other)
        back = self._back.setdefault(other, one)
        return (there, back) == (other, one)


def _arrived(record: Sequence[Exchange]) -> list[Exchange]:
    """Without redirections: who is sent on asks again, and that answer counts."""
    return [one for one in record if one["status"] not in (301, 302, 307, 308)]


def route_of(path: str) -> str:
    """A path without its query and ids."""
    return UUID.sub("ID", path.partition("?")[0]).rstrip("/") or "/"
