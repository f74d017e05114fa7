"""The command as a process: how it ends when nobody reads what it prints."""

from __future__ import annotations

import os
import subprocess
import sys

COMMAND = [sys.executable, "-c", "from breezeblock.cli.main import main; main()"]


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        ended = subprocess.run(
            [*COMMAND, "config"], stdout=nobody, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_reader_that_stays_gets_all(tmp_path: os.PathLike[str]) -> None:
    ended = subprocess.run([*COMMAND, "config"], capture_output=True, check=True, cwd=tmp_path)
    assert ended.stderr == b""
    assert b"max_limit = 1000" in ended.stdout


def test_a_connection_that_breaks_inside_is_told() -> None:
    broken = (
        "import breezeblock.cli.main as cli\n"
        "def app(): raise BrokenPipeError('the broker left')\n"
        "cli.app = app\n"
        "cli.main()"
    )
    ended = subprocess.run([sys.executable, "-c", broken], capture_output=True, check=False)
    assert (ended.returncode, b"the broker left" in ended.stderr) == (1, True)
