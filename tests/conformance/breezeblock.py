"""Breezeblock as the suites ask it: one process, HTTP basic users, the same backend's name.

`python -m tests.conformance.breezeblock` runs one until interrupted, beside `…cinder`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import bcrypt

from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.local import LocalDriver
from tests.conformance.people import PASSWORD, PEOPLE
from tests.conformance.running import Running, run_until_interrupted
from tests.engines.process import free_port

BREEZEBLOCK = Path(__file__).parents[2] / ".venv" / "bin" / "breezeblock"

CONFIGURATION = """\
host = "storage1"
data = "{home}/data"
report_interval = 1.0
[api]
port = {port}
[compute]
port = {compute_port}
[operations]
poll = 0.5
[[backends]]
name = "disks"
[backends.options]
pool = "pool1"
capacity_gb = 1000
[auth]
strategy = "basic"
"""


class Breezeblock(Running):
    """One running process. `root` is its base URL, `database` its SQLite file."""

    name = "Breezeblock"
    patience = 60.0

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"breezeblock-conformance-{os.getpid()}-"))
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self.database = self.home / "data" / "breezeblock.sqlite"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.home / "breezeblock.toml"
        config.write_text(
            # No compute service listens: there are no servers that could use a volume.
            CONFIGURATION.format(home=self.home, port=self.port, compute_port=free_port())
            + _users()
        )
        with (self.home / "breezeblock.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "--", str(BREEZEBLOCK), "run"),
                    *("api", "scheduler", "volume", "--config", str(config)),
                ],
                cwd=self.home,
                stdout=log,
                stderr=log,
            )
        self.wait_until_ready()

    def stop(self) -> None:
        """End the process and what it leaves running on purpose; remove the scratch directory."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for backend in (self.home / "data" / "backends").glob("*"):
            LocalDriver(BackendConfig(backend.name, "any", backend)).stop_all()
        shutil.rmtree(self.home, ignore_errors=True)

    def put(self, table: str, ident: str, field: str, value: str) -> None:
        with (
            contextlib.closing(sqlite3.connect(self.database, timeout=30)) as connection,
            connection,
        ):
            connection.execute(f"UPDATE {table} SET {field} = ? WHERE id = ?", (value, ident))

    def logs(self) -> str:
        return (self.home / "breezeblock.log").read_text(errors="replace")[-3000:]

    def ended(self) -> list[str]:
        assert self._process is not None
        return [] if self._process.poll() is None else ["breezeblock"]


def _users() -> str:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    return "".join(
        f'[[auth.users]]\nname = "{person.name}"\npassword = "{hashed}"\n'
        f'project_id = "{person.project}"\nroles = {list(person.roles)}\n'
        for person in PEOPLE.values()
    )


def main() -> None:
    """Run one until interrupted."""
    service = Breezeblock()
    run_until_interrupted(service, f"Directory: {service.home}")


if __name__ == "__main__":
    main()
