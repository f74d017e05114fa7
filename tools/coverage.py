"""Prints, as Markdown, which calls of the block storage API are served.

    .venv/bin/python tools/coverage.py /work/shared/api/endpoints.tsv > docs/api_coverage.md

The argument is a tab-separated list of the calls that the reference release serves, with the
columns method, path, action_key, min_microversion and default_policy. What is done is read from
the route table that the service itself runs on, so the table cannot say more than is true.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from breezeblock.api.routes import ROUTES
from breezeblock.web.routes import Route

BESIDE_THE_TABLE = frozenset({"/", "/v3", "/v3/", "/healthcheck"})
"""Documents without credentials: `web.app` serves them for every API."""
PREFIX = "/v3/{project_id}"


class Call(NamedTuple):
    """What tells calls apart; the names of the fields in a path do not."""

    method: str
    path: str
    action: str

    @classmethod
    def of(cls, method: str, path: str, action: str | None) -> Call:
        return cls(method, re.sub(r"\{[^}]*\}", "{}", path), action or "")


class Row(NamedTuple):
    method: str
    path: str
    action: str
    since: str
    state: str

    def markdown(self) -> str:
        action = f"`{self.action}`" if self.action else ""
        return f"| {self.method} | `{self.path}` | {action} | {self.since} | {self.state} |"


def judged(reference: Iterable[dict[str, str]], served: dict[Call, list[Route]]) -> Iterator[Row]:
    """The reference's calls, each with whether we serve it."""
    for wanted in reference:
        path = wanted["path"].removeprefix(PREFIX)
        since = wanted["min_microversion"].split(" ", 1)[0]
        routes = served.get(Call.of(wanted["method"], path, wanted["action_key"]))
        done = bool(routes) or wanted["path"] in BESIDE_THE_TABLE
        state = "not yet" if not done else f"done{_later(routes or (), since)}"
        yield Row(wanted["method"], path, wanted["action_key"], since, state)


def _later(routes: Iterable[Route], since: str) -> str:
    """How our range differs, if it begins later than the reference's."""
    begins = min((_number(route.since or "3.0") for route in routes), default=(0, 0))
    return f" from {begins[0]}.{begins[1]}" if begins > _number(since) else ""


def _number(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return (int(major), int(minor)) if major.isdigit() else (3, 0)


def own(served: dict[Call, list[Route]], reference: Iterable[dict[str, str]]) -> Iterator[Row]:
    """What we serve and the reference does not."""
    known = [
        Call.of(one["method"], one["path"].removeprefix(PREFIX), one["action_key"])
        for one in reference
    ]
    for call, (route, *_) in served.items():
        if not any(_covers(one, call) for one in known):
            yield Row(call.method, route.path, call.action, route.since or "3.0", "our own")


def _covers(general: Call, special: Call) -> bool:
    """Whether the first also means the second, as `/types/{}` means `/types/default`."""
    path = re.escape(general.path).replace(r"\{\}", "[^/]+")
    return (general.method, general.action) == (special.method, special.action) and bool(
        re.fullmatch(path, special.path)
    )


def table(title: str, rows: Iterable[Row]) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield "| method | path | action | since | state |"
    yield "|---|---|---|---|---|"
    yield from (row.markdown() for row in rows)


def report(reference: list[dict[str, str]]) -> Iterator[str]:
    """The whole document, line by line."""
    served: dict[Call, list[Route]] = defaultdict(list)
    for route in ROUTES:
        served[Call.of(route.method, route.path, route.action)].append(route)
    rows = list(judged(reference, served))
    done = sum(row.state.startswith("done") for row in rows)
    yield "# API coverage\n"
    yield "Made by `tools/coverage.py` from the route table; do not edit. Paths begin behind `/v3`"
    yield "and the optional project. What the calls do: [api.md](api.md).\n"
    yield f"**{done} of {len(rows)}** calls of the reference release are served."
    by_collection: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_collection[row.path.split("/")[1] or "versions"].append(row)
    by_collection["versions"] += by_collection.pop("v3", []) + by_collection.pop("healthcheck", [])
    yield "\n| collection | served |"
    yield "|---|---|"
    for name, some in by_collection.items():
        yield f"| {name} | {sum(row.state.startswith('done') for row in some)} of {len(some)} |"
    for name, some in by_collection.items():
        yield from table(name, some)
    yield from table("Not in the reference release", own(served, reference))


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    with Path(arguments[0]).open(encoding="utf-8", newline="") as file:
        reference = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    print("\n".join(report(reference)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
