"""Prints, as Markdown, which calls of the block storage API are served, and which test covers each.

    .venv/bin/python tools/coverage.py > docs/api-coverage.md

What is served is read from the route table that the service itself runs on, and what covers it
from `tests/covering_tests.tsv`, which `make coverage` renews by running the tests; so the page
cannot say more than is true. What there is to serve stands in `tests/conformance/endpoints.tsv`:
the calls of the reference release.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from breezeblock.api.routes import ROUTES
from breezeblock.web.routes import Route

TESTS = Path(__file__).parents[1] / "tests"
REFERENCE = TESTS / "conformance" / "endpoints.tsv"
COVERING = TESTS / "covering_tests.tsv"
BESIDE_THE_TABLE = ("/", "/v3", "/v3/", "/healthcheck")
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


class Served(NamedTuple):
    """One route, or one of the documents beside the table."""

    name: str
    path: str
    since: str

    @classmethod
    def route(cls, route: Route) -> Served:
        since = route.since or "3.0"
        return cls(f"{route.describe()} from {since}", route.path, since)

    @classmethod
    def document(cls, path: str) -> Served:
        return cls(f"GET {path} from none", path, "3.0")


class Row(NamedTuple):
    method: str
    path: str
    action: str
    since: str
    state: str
    tests: tuple[str, ...]

    def markdown(self) -> str:
        action = f"`{self.action}`" if self.action else ""
        tests = "<br>".join(f"`{test}`" for test in self.tests)
        return (
            f"| {self.method} | `{self.path}` | {action} | {self.since} | {self.state} | {tests} |"
        )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def all_served(routes: Iterable[Route]) -> dict[Call, list[Served]]:
    """All that we answer to; several routes are one call when only their versions differ."""
    served: dict[Call, list[Served]] = defaultdict(list)
    for path in BESIDE_THE_TABLE:
        served[Call("GET", path, "")].append(Served.document(path))
    for route in routes:
        served[Call.of(route.method, route.path, route.action)].append(Served.route(route))
    return served


def judged(
    reference: Iterable[dict[str, str]],
    served: Mapping[Call, list[Served]],
    covering: Mapping[str, str],
) -> Iterator[Row]:
    """The reference's calls, each with whether we serve it and what tests it."""
    for wanted in reference:
        path = wanted["path"].removeprefix(PREFIX)
        since = wanted["min_microversion"].split(" ", 1)[0]
        ours = served.get(Call.of(wanted["method"], path, wanted["action_key"]), [])
        state = f"done{_later(ours, since)}" if ours else "not yet"
        yield Row(
            wanted["method"], path, wanted["action_key"], since, state, _tests(ours, covering)
        )


def _tests(ours: Iterable[Served], covering: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(covering[one.name] for one in ours if one.name in covering))


def _later(ours: Iterable[Served], since: str) -> str:
    """How our range differs, if it begins later than the reference's."""
    begins = min(_number(one.since) for one in ours)
    return f" from {begins[0]}.{begins[1]}" if begins > _number(since) else ""


def _number(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return (int(major), int(minor)) if major.isdigit() else (3, 0)


def own(
    served: Mapping[Call, list[Served]],
    reference: Iterable[dict[str, str]],
    covering: Mapping[str, str],
) -> Iterator[Row]:
    """What we serve and the reference does not."""
    known = [
        Call.of(one["method"], one["path"].removeprefix(PREFIX), one["action_key"])
        for one in reference
    ]
    for call, ours in served.items():
        if not any(_covers(one, call) for one in known):
            tests = _tests(ours, covering)
            yield Row(call.method, ours[0].path, call.action, ours[0].since, "our own", tests)


def _covers(general: Call, special: Call) -> bool:
    """Whether the first also means the second, as `/types/{}` means `/types/default`."""
    path = re.escape(general.path).replace(r"\{\}", "[^/]+")
    return (general.method, general.action) == (special.method, special.action) and bool(
        re.fullmatch(path, special.path)
    )


def table(title: str, rows: Iterable[Row]) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield "| method | path | action | since | state | covered by |"
    yield "|---|---|---|---|---|---|"
    yield from (row.markdown() for row in rows)


def report(routes: Iterable[Route] = ROUTES) -> Iterator[str]:
    """The whole page, line by line."""
    reference, served = rows_of(REFERENCE), all_served(routes)
    covering = {row["route"]: row["test"] for row in rows_of(COVERING)}
    rows = list(judged(reference, served, covering))
    done = sum(row.state.startswith("done") for row in rows)
    yield "# API coverage\n"
    yield "Made by `make coverage` from the route table and from a run of the tests; do not edit."
    yield "Paths begin behind `/v3` and the optional project; `since` is the reference release's"
    yield "first microversion with the call. `covered by` is the test that looks at it most closely"
    yield "of those that bring it to a success. What the calls do: [api.md](api.md).\n"
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
    yield from table("Not in the reference release", own(served, reference, covering))


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(__doc__)
    print("\n".join(report()))
