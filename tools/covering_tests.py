"""Chooses for each route of the block storage API the test that covers it.

    .venv/bin/python tools/covering_tests.py

Reads what `tests/routes_touched.py` has noted (which test brought which route to a success) and
writes `tests/covering_tests.tsv`: a route, the version it begins with, a test. The test whose file
and name speak of the route is preferred, then the one that touches the fewest others. A route that
the notes say nothing of keeps its test; calls that are always refused (failover) are written into
the table by hand.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from breezeblock.api.routes import ROUTES

ROOT = Path(__file__).parents[1]
NOTES = ROOT / ".cache" / "coverage" / "routes_touched.json"
COVERING = ROOT / "tests" / "covering_tests.tsv"
BLIND = ("tests/service/test_idempotency_crashes.py",)
"""Tests that try every route and look at none in particular."""

DOCUMENTS = frozenset(f"GET {path} from none" for path in ("/", "/v3", "/v3/", "/healthcheck"))
"""What the application answers beside the route table."""

VERBS = {
    "POST": {"create", "created", "new", "add", "make", "made", "set"},
    "GET": {"list", "listed", "show", "shown", "read", "see", "page", "detail", "summary", "key"},
    "PUT": {"update", "updated", "change", "changed", "rename", "replace", "set"},
    "DELETE": {"delete", "deleted", "remove", "removed", "gone"},
}


def words(text: str) -> set[str]:
    """The words in a name, in the singular; `os` and `test` say nothing."""
    split = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()
    found = (_singular(word) for word in re.findall(r"[a-z]+", split))
    return {word for word in found if word not in ("os", "test", "a", "an", "the")}


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def fit(route: str, test: str) -> float:
    """How well the test's file and name speak of the route; more is better."""
    method, path, action = re.fullmatch(r"(\w+) (\S+)(?: \((.+)\))? from .*", route).groups("")  # type: ignore[union-attr]
    thing = words(re.sub(r"\{\w+\}|/action$", "", path)) | words(action)
    file, _, name = test.rpartition("::")
    about = words(Path(file).stem) - {"on", "database", "postgre"}
    likeness = len(thing & about) / len(thing | about) if thing else 0.0
    verbs = {_singular(verb) for verb in VERBS[method]} if not action else set()
    return 4 * likeness + len(words(name) & (thing | verbs)) / 2


def choose(notes: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """For each route that was touched, its test."""
    candidates: dict[str, list[str]] = defaultdict(list)
    breadth = {test: len(list(routes)) for test, routes in notes.items()}
    for test, routes in notes.items():
        if not test.startswith(BLIND):
            for route in routes:
                candidates[route].append(test)
    return {
        route: min(tests, key=lambda test: (-fit(route, test), breadth[test], test))
        for route, tests in candidates.items()
    }


def read() -> dict[str, str]:
    """The committed choice: route to test."""
    if not COVERING.exists():
        return {}
    with COVERING.open(encoding="utf-8", newline="") as file:
        return {row["route"]: row["test"] for row in csv.DictReader(file, delimiter="\t")}


def exists(test: str) -> bool:
    """Whether there is such a test: its file, with a function of its name."""
    file, _, rest = test.partition("::")
    name = rest.rpartition("::")[2]
    source = ROOT / file
    return source.exists() and f"def {name}(" in source.read_text(encoding="utf-8")


def main() -> int:
    if not NOTES.exists():
        print(f"{NOTES} is missing: run `make coverage`", file=sys.stderr)
        return 1
    notes = {test: routes for test, routes in json.loads(NOTES.read_text()).items() if exists(test)}
    served = {f"{route.describe()} from {route.since or '3.0'}" for route in ROUTES} | DOCUMENTS
    chosen = read() | choose(notes)
    covering = {route: test for route, test in chosen.items() if route in served and exists(test)}
    with COVERING.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("route", "test"))
        writer.writerows(sorted(covering.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
