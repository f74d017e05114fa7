"""Other releases beside today's: the previous one, as it was, and tomorrow's.

The previous release's source is in `previous.tar.xz` (`tools/keep-previous` makes it); it runs in
today's virtual environment. Tomorrow's is today's code with one more migration.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
BREEZEBLOCK = REPOSITORY / ".venv" / "bin" / "breezeblock"
PREVIOUS = HERE / "previous.tar.xz"

RUN_PREVIOUS = """
import sys, cyclopts
from breezeblock.cli import doctor, run
app = cyclopts.App()
app.command(run.run)
app.command(doctor.doctor)
app()
"""
"""The commands that the archive has: the rest of them is not kept."""


@dataclass(frozen=True)
class Release:
    """How a release's command is started: words before its own, and what its environment needs."""

    command: Sequence[str]
    environment: Mapping[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of it, to its end."""
        environment = {**os.environ, **self.environment}
        command = [*self.command, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


def previous(folder: Path) -> Release:
    """The release before this one, unpacked into a folder."""
    with tarfile.open(PREVIOUS) as archive:
        archive.extractall(folder, filter="data")
    return Release((sys.executable, "-c", RUN_PREVIOUS), {"PYTHONPATH": str(folder / "src")})


TODAY = Release((str(BREEZEBLOCK),), {})

TOMORROW = Release(
    (sys.executable, "-m", "tests.upgrade.run_tomorrow"), {"PYTHONPATH": str(REPOSITORY)}
)
