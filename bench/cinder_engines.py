"""The two servers that Cinder is installed with and Breezeblock is not: MariaDB and memcached.

`tools/packages reference` installs them (Debian: mariadb-server-core, memcached). MariaDB keeps its
own settings, which flush each commit to the disk (`innodb_flush_log_at_trx_commit` is 1).
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence

from tests.engines.process import EngineMissing, PrivateServer

KILLED_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


def _needed(program: str, package: str) -> str:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise EngineMissing(f"There is no {program}: apt-get install {package}")
    return found


class MariaDB(PrivateServer):
    """MariaDB on a loopback port; user root without a password, one empty database `cinder`."""

    def __init__(self) -> None:
        program = _needed("mariadbd", "mariadb-server-core")
        super().__init__("mariadb")
        data = self.home / "data"
        (self.home / "begin.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS cinder CHARACTER SET utf8mb3;\n"
        )
        self._server = [
            *(program, "--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"),
            *("--bind-address=127.0.0.1", f"--port={self.port}"),
            *(f"--socket={self.home / 'socket'}", f"--pid-file={self.home / 'pid'}"),
            *("--skip-grant-tables", "--skip-networking=0", "--skip-name-resolve"),
            *("--max-connections=400", "--innodb-buffer-pool-size=512M"),
            f"--init-file={self.home / 'begin.sql'}",
        ]
        install = _needed("mariadb-install-db", "mariadb-server-core")
        made = subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"],
            cwd=self.home,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise RuntimeError(f"mariadb-install-db failed:\n{made.stdout}{made.stderr}")

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/cinder?charset=utf8"

    def _command(self) -> Sequence[str]:
        return [*KILLED_WITH_US, *self._server]

    def _answers(self) -> bool:
        return _greets(self.port)


def asked(server: MariaDB, question: str) -> str:
    """A MariaDB's answer of one value."""
    client = _needed("mariadb", "mariadb-client-core")
    address = ("--no-defaults", "-h", "127.0.0.1", "-P", str(server.port), "-u", "root")
    done = subprocess.run(
        [client, *address, "--batch", "--skip-column-names", "-e", question],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


class Memcached(PrivateServer):
    """memcached on a loopback port, where Cinder's API keeps the tokens that it has validated."""

    def __init__(self) -> None:
        self._program = _needed("memcached", "memcached")
        super().__init__("memcached")

    def _command(self) -> Sequence[str]:
        user = ("-u", getpass.getuser())
        return [*KILLED_WITH_US, self._program, "-l", "127.0.0.1", "-p", str(self.port), *user]

    def _answers(self) -> bool:
        return _greets(self.port, b"version\r\n")


def _greets(port: int, words: bytes = b"") -> bool:
    """Whether a server says anything, when spoken to in these words."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(words)
            return bool(connection.recv(1))
    except OSError:
        return False
