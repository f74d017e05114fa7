"""Shows that the tests catch each of the deliberate defects in tests/mutants.

    .venv/bin/python tools/mutants.py [NAME …] [--jobs N]

A defect is a patch with a head: what is wrong with it, and the tests that have to notice. Each is
applied to a copy of the tree and those tests are run there; they must fail. The same tests must
pass on the copy without a defect, otherwise catching one would mean nothing. Ends badly when a
defect survives; the figures go to .cache/reliability/mutants.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATCHES = ROOT / "tests" / "mutants"
RESULTS = ROOT / ".cache" / "reliability" / "mutants.json"
PATIENCE = 400
"""Seconds after which tests that hang count as having noticed."""


@dataclass(frozen=True)
class Defect:
    """A deliberate defect: its patch, what is wrong, and the arguments of pytest that notice."""

    patch: Path
    what: str
    tests: tuple[str, ...]

    @classmethod
    def read(cls, patch: Path) -> Defect:
        """Raises ValueError when the head says too little."""
        head = dict(
            line.removeprefix("# ").split(": ", 1)
            for line in patch.read_text().splitlines()
            if line.startswith("# ") and ": " in line
        )
        try:
            return cls(patch, head["Defect"], tuple(shlex.split(head["Caught by"])))
        except KeyError as missing:
            raise ValueError(f"{patch.name} has no line '# {missing.args[0]}: …'") from None

    @property
    def name(self) -> str:
        return self.patch.stem


@dataclass(frozen=True)
class Outcome:
    """How the tests ended for one defect; `noticed` names the first test that failed."""

    name: str
    what: str
    caught: bool
    noticed: str
    seconds: float


def defects(names: Sequence[str] = ()) -> list[Defect]:
    """All of them, or those that are named, by name."""
    found = [Defect.read(patch) for patch in sorted(PATCHES.glob("*.patch"))]
    unknown = set(names) - {one.name for one in found}
    if unknown:
        raise SystemExit(f"there is no defect {', '.join(sorted(unknown))}")
    return [one for one in found if not names or one.name in names]


def copy_tree(target: Path) -> None:
    """The tree as it stands, without what is built in it; the environments are shared."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT
    )
    for name in filter(None, listed.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    for shared in (".venv", ".venv-clients"):
        (target / shared).symlink_to(ROOT / shared)


def fits(defect: Defect) -> bool:
    """Whether the patch still applies to the tree as it stands."""
    return not _git_apply(defect, ROOT, "--check").returncode


def apply(defect: Defect, tree: Path) -> None:
    """Put the defect in. Raises SystemExit when the code has moved away from the patch."""
    done = _git_apply(defect, tree)
    if done.returncode:
        raise SystemExit(f"{defect.name} does not apply any more: {done.stderr.strip()}")


def _git_apply(defect: Defect, tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "apply", "--recount", "-C1", *options, str(defect.patch)],
        cwd=tree,
        capture_output=True,
        text=True,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)},
    )


def run_tests(tree: Path, tests: Iterable[str]) -> tuple[bool, str]:
    """(passed, the first test that did not) of these tests in this tree."""
    command = [str(tree / ".venv/bin/python"), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {
        "PYTHONPATH": str(tree / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "EVERY_PLACE": "1",
    }
    try:
        done = subprocess.run(
            [*command, "--tb=no", "-rfE", *tests],
            cwd=tree,
            capture_output=True,
            text=True,
            env=environment,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return False, f"still running after {PATIENCE} s"
    if done.returncode not in (0, 1):  # neither passed nor failed: nothing was tested
        raise SystemExit(f"pytest {' '.join(tests)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return done.returncode == 0, failed[0].split(" ", 1)[1].split(" - ")[0] if failed else ""


def judge(defect: Defect, base: Path) -> Outcome:
    """Run the defect's tests with it in place."""
    began = time.monotonic()
    tree = base / defect.name
    copy_tree(tree)
    apply(defect, tree)
    passed, noticed = run_tests(tree, defect.tests)
    shutil.rmtree(tree)
    outcome = Outcome(
        defect.name, defect.what, not passed, noticed, round(time.monotonic() - began, 1)
    )
    verdict = f"caught by {noticed}" if outcome.caught else "SURVIVED"
    print(f"{defect.name:42} {outcome.seconds:6.1f} s  {verdict}", flush=True)
    return outcome


def check_healthy(chosen: Iterable[Defect], base: Path) -> None:
    """The tests must pass where no defect is. Raises SystemExit."""
    tree = base / "healthy"
    copy_tree(tree)
    for tests in sorted({one.tests for one in chosen}):
        passed, noticed = run_tests(tree, tests)
        if not passed:
            raise SystemExit(f"{noticed} fails without any defect: mend that first")
    shutil.rmtree(tree)


def record(outcomes: Iterable[Outcome]) -> None:
    """Keep the last outcome of each defect that is still there."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    by_name = {one["name"]: one for one in known} | {one.name: asdict(one) for one in outcomes}
    present = {one.name for one in defects()}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = [by_name[name] for name in sorted(present & by_name.keys())]
    RESULTS.write_text(json.dumps(kept, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="defects to try; all of them by default")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--trust", action="store_true", help="skip the run without defects")
    told = parser.parse_args()
    chosen = defects(told.names)
    with tempfile.TemporaryDirectory(prefix="breezeblock-mutants-") as base:
        if not told.trust:
            check_healthy(chosen, Path(base))
        with ThreadPoolExecutor(told.jobs) as pool:
            outcomes = list(pool.map(lambda one: judge(one, Path(base)), chosen))
    record(outcomes)
    survived = [one.name for one in outcomes if not one.caught]
    print(f"mutants: {len(outcomes)} defects, {len(outcomes) - len(survived)} caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
