"""A private PostgreSQL, for tests that need the real database.

It refuses to run as root: then it runs as the user `postgres` of Debian's package. Unless it is to
be durable it does not fsync, so the machine's power must not fail, but a SIGKILL loses no committed
transaction.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from tests.engines.process import HERE, EngineMissing, Place, PrivateServer

RELEASES = Path("/usr/lib/postgresql")


class Postgres(PrivateServer):
    """PostgreSQL, on loopback unless told otherwise; superuser `postgres` without a password."""

    stop_signal = signal.SIGINT  # "fast": ends sessions instead of waiting for them

    def __init__(self, place: Place = HERE, *, durable: bool = False) -> None:
        self._durable = durable
        releases = sorted(RELEASES.glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
        if not releases:
            raise EngineMissing("PostgreSQL is not installed: apt-get install postgresql-15")
        super().__init__("postgres", place)
        self._programs = releases[-1].parent
        self._initialise()

    @property
    def url(self) -> str:
        """Of the database `postgres`, for SQLAlchemy."""
        return self._url("postgres")

    def create_database(self, name: str) -> str:
        """Create an empty database; return its URL for SQLAlchemy."""
        with psycopg.connect(self._conninfo(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def remove(self) -> None:
        self.stop()  # killed, it would leave a shared memory segment behind
        super().remove()

    def _initialise(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self.home, "postgres", "postgres")
        options = ("--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8")
        result = subprocess.run(
            [*self._as_user(), str(self._programs / "initdb"), "-D", str(self._data), *options],
            cwd=self.home,
            env=dict(self._environment()),
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise RuntimeError(f"initdb failed:\n{result.stdout}{result.stderr}")
        if self.place != HERE:
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")

    @property
    def _data(self) -> Path:
        return self.home / "data"

    def _as_user(self) -> Sequence[str]:
        user = ("--reuid", "postgres", "--regid", "postgres", "--init-groups")
        return ["setpriv", "--pdeathsig", "QUIT", *(user if os.getuid() == 0 else ()), "--"]

    def _command(self) -> Sequence[str]:
        return [
            *(*self._as_user(), str(self._programs / "postgres"), "-D", str(self._data)),
            *(() if self._durable else ("-F",)),
            *("-p", str(self.port), "-c", f"listen_addresses={self.place.address}"),
            *("-c", "unix_socket_directories=", "-c", "max_connections=200"),
        ]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._conninfo(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _conninfo(self) -> str:
        return f"host={self.place.address} port={self.port} user=postgres dbname=postgres"

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@{self.place.address}:{self.port}/{database}"
