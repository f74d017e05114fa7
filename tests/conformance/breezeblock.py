"""Breezeblock as the suites ask it: one process, HTTP basic users, the same backend's name.

`python -m tests.conformance.breezeblock` runs one until interrupted, beside `…cinder`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import bcrypt

from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.local import LocalDriver
from tests.conformance.people import PASSWORD, PEOPLE
from tests.engines.process import free_port

BREEZEBLOCK = Path(__file__).parents[2] / ".venv" / "bin" / "breezeblock"
PATIENCE = 60.0

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


class Breezeblock:
    """One running process. `root` is its base URL, `database` its SQLite file."""

    name = "Breezeblock"

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"breezeblock-conformance-{os.getpid()}-"))
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self.database = self.home / "data" / "breezeblock.sqlite"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Breezeblock:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return when requests are served to their end."""
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
        self._wait_until_ready()

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
        """Change a row behind the service's back."""
        with (
            contextlib.closing(sqlite3.connect(self.database, timeout=30)) as connection,
            connection,
        ):
            connection.execute(f"UPDATE {table} SET {field} = ? WHERE id = ?", (value, ident))

    def logs(self) -> str:
        """The end of its log."""
        return (self.home / "breezeblock.log").read_text(errors="replace")[-3000:]

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        request = urllib.request.Request(
            f"{self.root}/v3/scheduler-stats/get_pools",
            headers={"Authorization": PEOPLE["admin"].authorization},
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    if b"pool1" in reply.read():
                        return
            except (OSError, urllib.error.URLError):
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Breezeblock is not ready:\n{self.logs()}")
            time.sleep(0.1)


def _users() -> str:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    return "".join(
        f'[[auth.users]]\nname = "{person.name}"\npassword = "{hashed}"\n'
        f'project_id = "{person.project}"\nroles = {list(person.roles)}\n'
        for person in PEOPLE.values()
    )


def main() -> None:
    """Run one until interrupted."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a shell starts background jobs deaf to the first
        signal.signal(number, signal.default_int_handler)
    with Breezeblock() as breezeblock:
        print(f"Breezeblock serves at {breezeblock.root}/v3; directory {breezeblock.home}")
        sys.stdout.flush()
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("Stopped.")


if __name__ == "__main__":
    main()
