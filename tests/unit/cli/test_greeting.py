"""What `breezeblock run` says once it runs: to people how to use it, to machines one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from breezeblock.cli.run import greeting
from breezeblock.config import build
from breezeblock.services.process import ROLES

SCRIPT = """
import sys
from breezeblock.cli import logs, run
from breezeblock.config import build

logs.set_up("info", sys.argv[1])
run._greet(build({"log_format": sys.argv[1]}), ("api", "scheduler"))
"""


def said(format_: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as the logging of a process is set up once."""
    command = [sys.executable, "-c", SCRIPT, format_]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_machines_get_one_object_in_the_log_and_nothing_else() -> None:
    done = said("json")
    assert done.stdout == ""
    line = json.loads(done.stderr)
    assert (line["event"], line["roles"]) == ("breezeblock runs", ["api", "scheduler"])


def test_people_get_lines_to_paste() -> None:
    done = said("console")
    assert "breezeblock runs: api, scheduler" in done.stdout
    assert "openstack --os-cloud" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("public", "shown"),
    [
        ("", "http://127.0.0.1:8776/v3"),
        ("https://storage.example:8776", "https://storage.example:8776/v3"),
        ("https://storage.example/volume/", "https://storage.example/volume/v3"),
    ],
)
def test_it_names_the_address_that_clients_know(public: str, shown: str) -> None:
    lines = greeting(build({"api": {"public_endpoint": public}}), ROLES)
    assert f'block_storage_endpoint_override: "{shown}"' in lines
    assert ("127.0.0.1:8776" in lines) == (not public)
