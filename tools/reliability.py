"""Prints docs/reliability.md from the figures that the last runs have left.

    .venv/bin/python tools/reliability.py > docs/reliability.md

`make reliability` runs everything first. The suites write what they did to .cache/reliability:
crash points, random histories, chaos on real processes, deliberate defects. What is missing there
is an error: the page shall not claim what was not run. Faults that were found on the way are kept
by hand in docs/reliability_faults.tsv: what, who found it, and the test that holds it down.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.crash import array_world, compute_faults, faults  # noqa: E402 - found only now
from tests.crash.faults import Flavour  # noqa: E402

FIGURES = ROOT / ".cache" / "reliability"
FAULTS = ROOT / "docs" / "reliability_faults.tsv"

HEAD = """\
# Reliability: what was tried, and what came of it

This page is made by `tools/reliability.py` from the last run of each suite; no figure in it is
written by hand, and each part names the commit that was newest when it ended. It shows how we try
to break the promise that nothing is ever stuck or lost, how often we did so for this page, and what
we found.

The same rules are checked after every case, by one module, `src/breezeblock/model/invariants`: no
operation stays open; no passing status without one; backends hold what the database says and
nothing else; usage equals the rows; one server has a volume that is not shared; no host can reach a
volume without an attachment, and every connected attachment can; each failure is told once, with
cause and remedy; epochs never go back. `breezeblock doctor` checks them on a live deployment.
"""

POINTS = """\
## Crash points

The real API, engine, workflows and transactions run on a stage where every effect (a transaction, a
message, a call to a driver, to a guest or to another service) is a point. Each workflow is stopped
at each of its points, before the effect and after it but unrecorded, as `kill -9` does; a second
worker recovers; the rules are checked. A *position* is one place at which one thing went wrong in
one run; in a *pair* the recovery dies as well, at each of its own places. A workflow that has no
scenario fails the suite. On an array the real driver works on a simulated one, and each of its
requests is a point, too. All of it again: `make crash-points`.
"""

HISTORIES = """\
## Random histories

Hypothesis drives the service through HTTP with random requests, good and bad, and random faults,
and compares each answer with a small model. `make histories SEED=… EXAMPLES=…` takes any seed.
"""

CHAOS = """\
## Real processes, real faults

All roles run as processes on RabbitMQ and PostgreSQL, with one guest in QEMU. Clients create,
attach, write, detach, extend, snapshot, clone and delete; a nemesis kills (SIGKILL), freezes
(SIGSTOP, longer than a lease) and restarts services, broker, database and storage daemons, in an
order that comes from the seed (timing does not). At the end the rules are checked, and every byte
that a volume or snapshot has to hold is read again. `make chaos SECONDS=120 SEED=7`.
"""

DEFECTS = """\
## Deliberate defects

Tests that cannot fail prove nothing. Each of these patches (tests/mutants) breaks one of the laws;
the tests that are named with it must fail. `make mutants` shows it.
"""

LIMITS = """\
## What this does not show

- A deletion that freezes between its last look at the database and the driver's call, for longer
  than an administrator's reset waits (75 s), still deletes what was reset to `available`; the next
  sweep says that it is missing. Only a backend that knows epochs could prevent that.
- Lease renewal of a worker that lives, the disk under the database, and the network between hosts
  are not points of the enumeration; chaos freezes and kills processes, it does not tear pages.
  Networks are cut in a few cases (`tests/hosts`), not at every moment.
- The order of chaos' faults comes from its seed, their timing does not: a run cannot be repeated
  exactly. Random histories and crash points can.
- A sweep repairs what late work has left, some seconds or minutes later; until then the difference
  is there, and the crash points count it as healthy once the sweep has been.
"""

FOUND = """\
## Faults found on the way

| what was wrong | found by | held down by |
|---|---|---|
"""


def figures(name: str) -> Any:
    """What a suite has left. Raises SystemExit when it was not run."""
    path = FIGURES / f"{name}.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `make reliability`")
    return json.loads(path.read_text())


def tree_of(name: str) -> str:
    """The commit that was the newest when the figures were written."""
    written = int((FIGURES / f"{name}.json").stat().st_mtime)
    command = ["git", "rev-list", "-1", "--abbrev-commit", f"--before=@{written}", "HEAD"]
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"


def crash_points(title: str, name: str, flavours: Iterable[Flavour]) -> Iterator[str]:
    """Positions by flavour and workflow, then by scenario."""
    told = figures(name)
    scenarios = told["scenarios"]
    workflows = sorted({it["workflow"] for it in scenarios.values()})
    tried: Counter[tuple[str, str]] = Counter()
    for it in scenarios.values():
        for flavour, positions in it["flavours"].items():
            tried[flavour, it["workflow"]] += positions
        tried["pairs", it["workflow"]] += it["pairs"]
    meaning = {
        "crash": "the process dies there, before or after the effect",
        **{one.name: one.says for one in flavours},
        "late, and the next one late, too": "two that were overtaken wake up, one after the other",
        "pairs": "the process dies there, and the recovery dies as well, at each of its places",
    }
    nameless = {flavour for flavour, _ in tried} - meaning.keys()
    if nameless:
        raise SystemExit(f"nobody says what this is: {', '.join(sorted(nameless))}")
    yield f"### {title}\n"
    yield f"{told['cases']} cases in {told['seconds']:.0f} s, commit {tree_of(name)}.\n"
    yield from table(
        ("fault", "what happens", *(f"`{one}`" for one in workflows)),
        (
            (one, says, *(tried[one, workflow] or "-" for workflow in workflows))
            for one, says in meaning.items()
        ),
    )
    yield ""
    yield from table(
        ("scenario", "workflow", "positions", "pairs"),
        (
            (scenario, f"`{it['workflow']}`", sum(it["flavours"].values()), it["pairs"])
            for scenario, it in sorted(scenarios.items(), key=lambda one: one[1]["workflow"])
        ),
    )
    yield ""


def histories() -> Iterator[str]:
    told = figures("histories")
    seeds = ", ".join(str(one) for one in told["seeds"])
    yield (
        f"Seeds {seeds}: {told['examples']} histories, {told['steps']} steps, "
        f"{told['seconds']:.0f} s, commit {tree_of('histories')}. In {told['hit']} of them a fault "
        "struck the very work that was asked for.\n"
    )
    yield from table(("request or event", "times"), _most(told["rules"]))
    yield ""
    yield from table(("fault", "times"), _most(told["faults"]))
    yield ""


def chaos() -> Iterator[str]:
    # One file a seed, one entry a run.
    runs = [run for path in FIGURES.glob("chaos-*.json") for run in json.loads(path.read_text())]
    if not runs:
        raise SystemExit("no chaos run is on record: run `make reliability`")
    runs.sort(key=lambda one: one["seed"])
    kinds: Counter[str] = Counter()
    longest: dict[str, float] = {}
    done: Counter[str] = Counter()
    for one in runs:
        kinds.update(one["faults"])
        done.update(one["operations"])
        for workflow, seconds in one["longest_open"].items():
            longest[workflow] = max(seconds, longest.get(workflow, 0.0))
    yield from table(
        (
            "seed",
            "commit",
            "seconds",
            "faults",
            "operations",
            "longest open",
            "verified",
            "violations",
        ),
        (
            (
                one["seed"],
                one["commit"],
                round(one["seconds"]),
                sum(one["faults"].values()),
                sum(one["operations"].values()),
                f"{max(one['longest_open'].values(), default=0):.1f} s",
                f"{one['bytes_verified'] / 2**20:.0f} MiB",
                one["violations"] if isinstance(one["violations"], int) else len(one["violations"]),
            )
            for one in runs
        ),
    )
    yield ""
    yield from table(("fault", "times"), _most(kinds))
    yield ""
    yield "The longest time that an operation stayed open, faults included:\n"
    yield from table(
        ("workflow", "operations", "longest open"),
        ((f"`{one}`", done[one], f"{seconds:.1f} s") for one, seconds in sorted(longest.items())),
    )
    yield ""


def mutants() -> Iterator[str]:
    told = figures("mutants")
    caught = sum(one["caught"] for one in told)
    yield f"{len(told)} defects, {caught} caught, commit {tree_of('mutants')}.\n"
    yield from table(
        ("defect", "noticed first by"),
        ((one["what"], f"`{one['noticed']}`" if one["caught"] else "**nobody**") for one in told),
    )
    yield ""


def found() -> Iterator[str]:
    with FAULTS.open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            yield f"| {row['fault']} | {row['found by']} | `{row['test']}` |"
    yield ""


def _most(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def page() -> Iterator[str]:
    yield HEAD
    yield POINTS
    yield from crash_points("Block storage", "crash_points", faults.FLAVOURS)
    yield from crash_points("Compute", "compute_crash_points", compute_faults.FLAVOURS)
    yield from crash_points(
        "Block storage on a NetApp array", "netapp_crash_points", array_world.FLAVOURS
    )
    yield HISTORIES
    yield from histories()
    yield CHAOS
    yield from chaos()
    yield DEFECTS
    yield from mutants()
    yield FOUND.rstrip("\n")
    yield from found()
    yield LIMITS


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()).rstrip() + "\n")
