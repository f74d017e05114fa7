"""Faults to order: what goes wrong with which of the next calls.

A fault matches by method, path, query and body; the first `skip` calls that match pass, the next
`times` are hit, then it is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
Kind = Literal[
    "fail",
    "slow",
    "drop",
    "refuse",
    "late",
    "job_fails",
    "job_lost",
    "transfer_fails",
]
FOREVER = 1 << 30


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order. `path` and the values of `query` and `body` may have stars; keys of `body` are
    dotted."""

    what: Kind
    method: str = "*"
    path: str = "*"
    query: dict[str, str] = {}
    body: dict[str, str] = {}
    times: Annotated[int, Meta(ge=1)] = 1
    skip: Count = 0
    status: Annotated[int, Meta(ge=400, le=599)] = 500
    """For `fail`; with `code` and `message`, which the failing of jobs and transfers takes too."""
    code: str = "13565952"
    message: str = "Device busy"
    seconds: Annotated[float, Meta(ge=0)] = 0
    """For `slow`, and for `late`: 0 there is until it is let go."""

    def matches(self, method: str, path: str, query: Mapping[str, str], body: Any) -> bool:
        return (
            fnmatchcase(method, self.method.upper())
            and fnmatchcase(path, self.path.removeprefix("/api"))
            and all(fnmatchcase(query.get(k, ""), v) for k, v in self.query.items())
            and all(fnmatchcase(_at(body, k), v) for k, v in self.body.items())
        )


def _at(body: Any, path: str) -> str:
    for part in path.split("."):
        body = body.get(part) if isinstance(body, dict) else None
    return "" if body is None else str(body)


class Faults:
    """The orders that are open, in the order they were given. Several may hit the same call."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: dict[str, list[Any]] = {}
        """By name: the fault, how many calls still pass, how many are still hit."""

    def add(self, fault: Fault) -> str:
        name = str(uuid4())
        with self._guard:
            self._open[name] = [fault, fault.skip, fault.times]
        return name

    def remove(self, name: str) -> bool:
        with self._guard:
            return self._open.pop(name, None) is not None

    def clear(self) -> None:
        with self._guard:
            self._open.clear()

    def listing(self) -> list[dict[str, Any]]:
        with self._guard:
            return [
                {"uuid": name, **msgspec.to_builtins(fault), "skip": skip, "times": times}
                for name, (fault, skip, times) in self._open.items()
            ]

    def hit(self, method: str, path: str, query: Mapping[str, str], body: Any) -> list[Fault]:
        """The faults for this call, counted."""
        found = []
        with self._guard:
            for name, entry in list(self._open.items()):
                fault, skip, times = entry
                if not fault.matches(method, path, query, body):
                    continue
                if skip:
                    entry[1] -= 1
                    continue
                entry[2] -= 1
                found.append(fault)
                if times == 1:
                    del self._open[name]
        return found
