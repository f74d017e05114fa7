"""The same sessions of the real clients, once with Cinder 29 and once with Breezeblock, compared.

`clients/` holds the sessions, `compare` the rules, `accepted.toml` the differences that are meant.
A case is one HTTP exchange. An accepted difference that does not occur any more fails, too.

`python -m tests.conformance.sessions --records DIRECTORY` keeps the records for a closer look.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.breezeblock import Breezeblock
from tests.conformance.cinder import REPOSITORY, Cinder
from tests.conformance.compare import Accepted, Comparison, Deviation, read_accepted
from tests.conformance.suite import Difference, Result, main

NAME = "sessions of the clients, field by field"
HERE = Path(__file__).parent
PYTHON = REPOSITORY / ".venv-clients" / "bin" / "python"
SESSIONS = ("cinderclient_session", "openstack_session")
PATIENCE = 900.0


@dataclass(frozen=True)
class Side:
    """Where a session was held, and its record."""

    root: str
    record: list[dict[str, Any]]


def hold(session: str, system: Cinder | Breezeblock, records: Path) -> Side:
    """Hold a session; its record is <records>/<session>-<system>.json."""
    record = records / f"{session}-{type(system).__name__.lower()}.json"
    done = subprocess.run(
        [str(PYTHON), str(HERE / "clients" / f"{session}.py"), system.root, str(record)],
        env={"PATH": os.environ["PATH"], "HOME": str(records), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode or not record.exists():
        raise RuntimeError(f"{session} with {system.name}: {done.stdout}\n{done.stderr[-3000:]}")
    return Side(system.root, json.loads(record.read_text()))


def judge(session: str, expected: Side, came: Side, accepted: Sequence[Accepted]) -> Result:
    """Count the exchanges that are the same, up to what is accepted."""
    passed, failed, details = 0, 0, []
    comparison = Comparison(expected.root, came.root)
    for step, deviations in comparison.compare(expected.record, came.record):
        left = [one for one in deviations if not _is_accepted(one, accepted)]
        details += [_told(session, step, one) for one in left]
        failed += bool(left)
        passed += not left
    return Result(session, passed, failed, 0, details)


def _is_accepted(deviation: Deviation, accepted: Sequence[Accepted]) -> bool:
    covering = [entry for entry in accepted if entry.covers(deviation)]
    for entry in covering:
        entry.used = True
    return bool(covering)


def _told(session: str, step: str, deviation: Deviation) -> Difference:
    case = f"{session} · {step}: {deviation.where}"
    case += f"\n    asked:    {deviation.asked[:300]}" if deviation.asked else ""
    return Difference(case, _short(deviation.expected), _short(deviation.came))


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 300 else text[:300] + " …"


def run(records: Path | None = None) -> Result:
    accepted = read_accepted(HERE / "accepted.toml")
    results = []
    with tempfile.TemporaryDirectory() as scratch, Cinder() as cinder, Breezeblock() as breezeblock:
        for session in SESSIONS:
            sides = [
                hold(session, system, records or Path(scratch)) for system in (cinder, breezeblock)
            ]
            results.append(judge(session, *sides, accepted))
    unused = [entry for entry in accepted if not entry.used]
    details = [detail for result in results for detail in result.details]
    details += [
        Difference(f"accepted.toml: {one.step} {one.where}", "occurs", "no such difference")
        for one in unused
    ]
    return Result(
        NAME,
        sum(result.passed for result in results),
        sum(result.failed for result in results) + len(unused),
        0,
        [*details, *(result.line for result in results)],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, help="where to keep the records")
    kept: Path | None = parser.parse_args().records
    main(NAME, lambda: run(kept))
