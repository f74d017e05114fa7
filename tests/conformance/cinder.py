"""The reference: a real Cinder 29, started in a scratch directory and stopped at the end.

API, scheduler and volume service are Cinder's own programs from `.venv-cinder`, on a PostgreSQL and
a RabbitMQ of their own (on SQLite three writers get "database is locked" now and then). Only
Keystone and the storage are replaced (`inside_cinder`, `identity`): callers are those of `people`,
the one backend, `storage1@disks#pool1`, holds no bytes.

`python -m tests.conformance.cinder` runs one until interrupted, to be asked anything by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from tests.conformance.identity import Identity
from tests.conformance.people import PASSWORD, PEOPLE
from tests.conformance.running import Running, run_until_interrupted
from tests.engines.postgres import Postgres
from tests.engines.process import free_port
from tests.engines.rabbitmq import RabbitMQ

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = REPOSITORY / ".venv-cinder"
PROGRAMS = ("cinder-api", "cinder-scheduler", "cinder-volume")

CONFIGURATION = """\
[DEFAULT]
state_path = {home}
lock_path = {home}/locks
api_paste_config = {home}/api-paste.ini
resource_query_filters_file = {environment}/etc/cinder/resource_filters.json
auth_strategy = keystone
transport_url = {bus}
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {port}
osapi_volume_workers = 1
host = storage1
enabled_backends = disks
storage_availability_zone = nova
default_volume_type = __DEFAULT__
report_interval = 2
periodic_interval = 10
periodic_fuzzy_delay = 0
backend_stats_polling_interval = 3
rpc_response_timeout = 20
glance_api_servers = http://127.0.0.1:9
{settings}
[database]
connection = {database}
[oslo_concurrency]
lock_path = {home}/locks
[keystone_authtoken]
auth_url = {identity}
[oslo_policy]
policy_file = {home}/policy.yaml
[key_manager]
backend = cinder.keymgr.conf_key_mgr.ConfKeyManager
[coordination]
backend_url = file://{home}/coordination
[disks]
volume_driver = tests.conformance.inside_cinder.backend.NoBytes
volume_backend_name = disks
"""


class ReferenceMissing(RuntimeError):
    """The environment that Cinder runs in is not there; the text says how to make it."""


class Cinder(Running):
    """One running Cinder 29. `root` is its base URL."""

    name = "Cinder 29"
    patience = 120.0

    def __init__(self, **settings: str) -> None:
        if not (ENVIRONMENT / "bin" / "cinder-api").exists():
            raise ReferenceMissing("`make cinder` installs the reference")
        self.home = Path(tempfile.mkdtemp(prefix=f"breezeblock-cinder-{os.getpid()}-"))
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self._bus = RabbitMQ()
        self._database = Postgres()
        self._identity = Identity()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._bus.start()
        self._database.start()
        self._configure()
        self._make_database()
        for program in PROGRAMS:
            self._launch(program)
        self.wait_until_ready()

    def stop(self) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the workers that it has forked
            process.wait()
        self._bus.remove()
        self._database.remove()
        self._identity.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def put(self, table: str, ident: str, field: str, value: str) -> None:
        names = {"table": sql.Identifier(table), "field": sql.Identifier(field)}
        statement = sql.SQL("UPDATE {table} SET {field} = %s WHERE id = %s").format(**names)
        with psycopg.connect(self._database.url.replace("+psycopg", "")) as connection:
            connection.execute(statement, (value, ident))

    def logs(self) -> str:
        return "\n".join(
            f"{log.name}:\n{log.read_text(errors='replace')[-3000:]}"
            for log in sorted(self.home.glob("*.log"))
        )

    def _configure(self) -> None:
        settings = "\n".join(f"{key} = {value}" for key, value in self._settings.items())
        text = CONFIGURATION.format(
            home=self.home,
            environment=ENVIRONMENT,
            bus=self._bus.url.replace("amqp://", "rabbit://"),
            database=self._database.url.replace("+psycopg:", "+psycopg2:"),
            port=self.port,
            identity=self._identity.url,
            settings=settings,
        )
        (self.home / "cinder.conf").write_text(text)
        (self.home / "policy.yaml").write_text("{}\n")
        users = {
            person.name: {
                "password": PASSWORD,
                "project": person.project,
                "roles": person.roles,
            }
            for person in PEOPLE.values()
        }
        (self.home / "users.json").write_text(json.dumps(users))
        paste = (ENVIRONMENT / "etc" / "cinder" / "api-paste.ini").read_text()
        paste = paste.replace(" authtoken keystonecontext ", " personas keystonecontext ")
        paste += (
            "\n[filter:personas]\n"
            "paste.filter_factory = tests.conformance.inside_cinder.personas:factory\n"
            f"users = {self.home / 'users.json'}\n"
        )
        (self.home / "api-paste.ini").write_text(paste)

    def _make_database(self) -> None:
        done = subprocess.run(
            [self._program("cinder-manage"), "--config-file", self._config, "db", "sync"],
            env=self._environment,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"no database for Cinder: {done.stderr.decode()[-2000:]}")

    def _launch(self, program: str) -> None:
        with (self.home / f"{program}.log").open("ab") as log:
            self._processes[program] = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "--"),
                    *(self._program(program), "--config-file", self._config),
                ],
                cwd=self.home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ended(self) -> list[str]:
        return [name for name, one in self._processes.items() if one.poll() is not None]

    @property
    def _config(self) -> str:
        return str(self.home / "cinder.conf")

    @property
    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
        }

    @staticmethod
    def _program(name: str) -> str:
        return str(ENVIRONMENT / "bin" / name)


def main() -> None:
    """Run one until interrupted."""
    cinder = Cinder()
    run_until_interrupted(
        cinder,
        f"Directory: {cinder.home}   Users: {', '.join(PEOPLE)}   Password: {PASSWORD}",
        f"Try: curl -u member:{PASSWORD} {cinder.root}/v3/volumes/detail",
    )


if __name__ == "__main__":
    main()
