"""`breezeblock run`: the short way to its options reads what the whole command line reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.cli import run
from breezeblock.cli.commands import commands
from breezeblock.cli.run_options import RunOptions, plainly

PLAIN = [
    "",
    "api scheduler volume",
    "api --config /etc/breezeblock.toml",
    "--data d --listen 127.0.0.1 --port 8776 --compute-port 8774 --log-level warning compute-agent",
]
OTHER = [
    "--help",
    "api --help",
    "--port many",
    "--prot 1",
    "--port",
    "--data=d",
    "-- api",
    "--port 1 --port 2",
]


@pytest.mark.parametrize("line", PLAIN)
@pytest.mark.parametrize("variable", ["", "/etc/elsewhere.toml"])
def test_plain_words_are_read_as_the_command_line_reads_them(
    line: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("BREEZEBLOCK_CONFIG", variable)
    else:
        monkeypatch.delenv("BREEZEBLOCK_CONFIG", raising=False)
    told: list[RunOptions] = []
    monkeypatch.setattr(run, "run", told.append)
    commands(["run", *line.split()], result_action="return_value")
    assert [plainly(line.split())] == told
    assert told[0].file == (
        Path("/etc/breezeblock.toml")
        if "--config" in line
        else Path(variable)
        if variable
        else None
    )


@pytest.mark.parametrize("line", OTHER)
def test_anything_else_is_left_to_the_command_line(line: str) -> None:
    assert plainly(line.split()) is None
