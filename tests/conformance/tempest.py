"""Tempest's `tempest.api.volume` against Breezeblock with a real Keystone and a real Glance.

    python -m tests.conformance.tempest [REGEX]

A test that fails and stands in tempest_accepted.toml, with the reason, counts as skipped; one that
stands there and passes is a failure, so that the list cannot grow old.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx2

from tests.conformance.suite import Difference, Result, main
from tests.conformance.tempest_config import IMAGE, sections
from tests.engines.cloud import Cloud
from tests.engines.openstack import CACHE, ENVIRONMENT, ini

NAME = "tempest"
TESTS = r"^tempest\.api\.volume\."
AT_ONCE = 2
"""Classes of tests that run side by side: they wait more than they work."""

ACCEPTED = Path(__file__).with_name("tempest_accepted.toml")
RESULTS = Path(__file__).parent / "inside_tempest" / "results.py"

LOGS = CACHE / "tempest-logs"
"""Of the last run."""

RAISED = re.compile(r"[\w.]+(:|$)")
MOST_LINES = 12
"""Of what a failure says of itself; all of it is in the logs."""

IMAGE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Outcome:
    """What came of one test."""

    test: str
    status: str
    reason: str = ""


def run(regex: str = TESTS) -> Result:
    outcomes = asyncio.run(_outcomes(regex))
    return judge(outcomes, tomllib.loads(ACCEPTED.read_text()), whole=regex == TESTS)


def judge(
    outcomes: Iterable[Outcome], accepted: Mapping[str, str], *, whole: bool = False
) -> Result:
    """Counts and details. Reasons of skipping are told once, with their number.

    `whole`: all tests were run, so that an accepted failure of another test is a mistake.
    """
    outcomes = list(outcomes)
    passed = failed = skipped = 0
    details: list[Difference | str] = []
    reasons: Counter[str] = Counter()
    for outcome in outcomes:
        excuse = accepted.get(outcome.test)
        if outcome.status == "success" and excuse is None:
            passed += 1
        elif outcome.status == "skip":
            skipped += 1
            reasons[outcome.reason.splitlines()[-1] if outcome.reason else "no reason"] += 1
        elif outcome.status != "success" and excuse is not None:
            skipped += 1
            reasons[f"{outcome.test}: {excuse}"] += 1
        else:
            failed += 1
            expected = "pass" if excuse is None else "fail, says tempest_accepted.toml"
            details.append(
                Difference(outcome.test, expected, end_of(outcome.reason) or outcome.status)
            )
    if whole:
        for test in sorted(accepted.keys() - {outcome.test for outcome in outcomes}):
            failed += 1
            details.append(Difference(test, "be there, says tempest_accepted.toml", "no such test"))
    details += [f"skipped {number:3}: {reason}" for reason, number in sorted(reasons.items())]
    return Result(NAME, passed, failed, skipped, details)


def end_of(traceback: str) -> str:
    """What was raised, without the way there."""
    lines = traceback.splitlines()
    raised = [
        number
        for number, (before, line) in enumerate(pairwise(lines), start=1)
        if before.startswith("  ") and RAISED.match(line)
    ]
    return "\n".join(lines[raised[-1] :][:MOST_LINES] if raised else lines)


async def _outcomes(regex: str) -> list[Outcome]:
    cloud = Cloud(
        compute={"kernel_image": IMAGE},
        report_interval=5.0,
        service_down_time=60.0,
        log_level="info",
    )
    try:
        await cloud.start()
        # Tempest is told that there is a network service, or it would skip all tests with servers.
        # None of them uses a network, and wherever Tempest asks for one it is told 404.
        nowhere = f"{cloud.deployment.volume_url}/no-networks"
        await asyncio.to_thread(cloud.keystone.register, "network", "none", nowhere)
        await asyncio.to_thread(_upload_image, cloud)
        pools = await cloud.deployment.volume("GET", "/scheduler-stats/get_pools?detail=true")
        told = pools.json()["pools"][0]["capabilities"]
        pool = {name: told[name] for name in ("storage_protocol", "vendor_name")}
        home = cloud.deployment.home / "tempest"
        return await asyncio.to_thread(_run, home, cloud.keystone.url, pool, regex)
    finally:
        _keep_logs(cloud)
        await cloud.stop()


def _keep_logs(cloud: Cloud) -> None:
    """For whoever looks for the reason of a failure."""
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    homes = (cloud.deployment.home, cloud.deployment.home / "tempest")
    for home in (*homes, cloud.keystone.home, cloud.glance.home):
        for log in home.glob("*.log"):
            shutil.copy(log, LOGS / f"{home.name}-{log.name}")


def _upload_image(cloud: Cloud) -> None:
    """A small public image; that its bytes would boot nobody is not seen by these tests."""
    headers = {"X-Auth-Token": cloud.keystone.token("admin")}
    described = {
        "id": IMAGE,
        "name": "kernel",
        "visibility": "public",
        "disk_format": "raw",
        "container_format": "bare",
    }
    with httpx2.Client(base_url=f"{cloud.glance.endpoint}/v2", headers=headers, timeout=60) as http:
        http.post("/images", json=described).raise_for_status()
        kind = {"Content-Type": "application/octet-stream"}
        content = os.urandom(IMAGE_BYTES)
        http.put(f"/images/{IMAGE}/file", content=content, headers=kind).raise_for_status()


def _run(home: Path, keystone_url: str, pool: Mapping[str, str], regex: str) -> list[Outcome]:
    home.mkdir()
    (home / "locks").mkdir()
    (home / "tempest.conf").write_text(ini(sections(home, keystone_url, pool)))
    where = "import os, tempest; print(os.path.dirname(tempest.__file__))"
    package = Path(_tool(home, "python", "-P", "-c", where).strip())
    # The tests of one class share what the class has set up, so they run in one process.
    stestr = {"test_path": package / "test_discover", "top_dir": package.parent}
    options = {"DEFAULT": {**stestr, "group_regex": r"([^\.]*\.)*"}}
    (home / ".stestr.conf").write_text(ini(options))
    _tool(home, "stestr", "init")
    tests = [line for line in _tool(home, "stestr", "list", regex).splitlines() if "." in line]
    with (home / "output.log").open("wb") as output:
        subprocess.run(
            [_program("stestr"), "run", "--concurrency", str(AT_ONCE), regex],
            cwd=home,
            env=_environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    records = _tool(home, "python", "-P", str(RESULTS), str(home))
    recorded = [json.loads(line) for line in records.splitlines()]
    found = {record["id"]: record for record in recorded}
    if not found:
        raise RuntimeError(f"Tempest ran no test:\n{(home / 'output.log').read_text()[-3000:]}")
    return list(of_each(tests, found))


def of_each(tests: Iterable[str], found: Mapping[str, Mapping[str, str]]) -> Iterator[Outcome]:
    """Each listed test's outcome; what befalls a class befalls all its tests."""
    for test in tests:
        name = test.partition("[")[0]
        record = found.get(test) or found.get(f"setUpClass ({name.rpartition('.')[0]})")
        if record is None:
            yield Outcome(name, "lost", "it never ran")
        else:
            yield Outcome(name, record["status"], record["reason"])
    for ident, record in found.items():
        if ident.startswith("tearDownClass") and record["status"] == "fail":
            yield Outcome(ident, "fail", record["reason"])


def _tool(home: Path, *command: str) -> str:
    """The output of a program of Tempest's environment."""
    result = subprocess.run(
        [_program(command[0]), *command[1:]],
        cwd=home,
        env=_environment(home),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}"[-4000:])
    return result.stdout


def _program(name: str) -> str:
    return str(ENVIRONMENT / "bin" / name)


def _environment(home: Path) -> dict[str, str]:
    return {
        "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "TEMPEST_CONFIG_DIR": str(home),
        "LANG": "C.UTF-8",
        "OS_TEST_TIMEOUT": "300",
    }


if __name__ == "__main__":
    main(NAME, lambda: run(*sys.argv[1:2]))
