"""What real OpenStack services of the tests have in common: where they live, and how they start.

They live in `.venv-openstack` (`make openstack`) and serve their WSGI application by
`wsgi_server.py`. An empty database is made by the service's own migrations once and kept in
`.cache/`, since that takes longer than all the rest of a start.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx2

from tests.engines.process import EngineMissing, PrivateServer

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = REPOSITORY / ".venv-openstack"
LOCK = REPOSITORY / "requirements-openstack.lock"
CACHE = REPOSITORY / ".cache" / "openstack"
SERVER = Path(__file__).with_name("wsgi_server.py")


class OpenStackService(PrivateServer):
    """One service with SQLite, on a loopback port."""

    application: str
    """The module that holds its WSGI application."""

    def __init__(self, name: str) -> None:
        if not (ENVIRONMENT / "bin" / "python").exists():
            raise EngineMissing(f"There is no {ENVIRONMENT.name}: make openstack")
        super().__init__(name)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.home / f"{self._name}.sqlite"

    def write(self, name: str, sections: Mapping[str, Mapping[str, object]]) -> Path:
        """A configuration file in its directory."""
        path = self.home / name
        path.write_text(ini(sections))
        return path

    def manage(self, *command: str) -> None:
        """Run one of its administration commands."""
        result = subprocess.run(
            [str(ENVIRONMENT / "bin" / command[0]), *command[1:]],
            cwd=self.home,
            env=dict(self._environment()),
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")

    def make_database(self, *migrate: str) -> None:
        """An empty database with the service's tables: the kept one, or by its migrations."""
        lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
        kept = CACHE / f"{self._name}-{lock}.sqlite"
        if not kept.exists():
            self.manage(*migrate)
            CACHE.mkdir(parents=True, exist_ok=True)
            new = shutil.copy(self.database, kept.with_suffix(f".{os.getpid()}"))
            Path(new).rename(kept)  # whole or not there, whoever else is at it
        shutil.copy(kept, self.database)

    def _command(self) -> Sequence[str]:
        python = str(ENVIRONMENT / "bin" / "python")
        # -P: the modules beside the server must not hide the service's package of the same name.
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", python, "-P", str(SERVER)),
            *(self.application, str(self.port)),
        ]

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.endpoint}/healthcheck", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False


def ini(sections: Mapping[str, Mapping[str, object]]) -> str:
    """The text of a configuration file as OpenStack's services read them."""
    lines = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in options.items())]
    return "\n".join(lines) + "\n"
