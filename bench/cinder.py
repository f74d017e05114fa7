"""A real Cinder 29 with Keystone, as it was measured: the deployment that ours is compared with.

Keystone, RabbitMQ, MariaDB, memcached, an API of two uWSGI processes, a scheduler, and a volume
service with upstream's fake driver, which costs nothing. Each is a process group of its own, so
that `bench/load.py --watch` counts it. Options that are not written below are Cinder's own; quotas
never refuse, as in our shapes.

`python -m bench.cinder` runs one until interrupted, to be asked anything by hand.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from bench.cinder_engines import KILLED_WITH_US, MariaDB, Memcached
from tests.engines.keystone import PASSWORD, Keystone
from tests.engines.openstack import ini
from tests.engines.process import EngineMissing, PrivateServer, started
from tests.engines.rabbitmq import RabbitMQ

ENVIRONMENT = Path(__file__).parents[1] / ".venv-cinder"
SERVICES = ("api", "scheduler", "volume")
PATIENCE = 120.0
API_PROCESSES = 2


class Program(PrivateServer):
    """One of Cinder's own programs. The API answers when it serves, the others when they run."""

    def __init__(self, role: str, config: Path) -> None:
        if not (ENVIRONMENT / "bin" / "cinder-volume").exists():
            raise EngineMissing(f"There is no {ENVIRONMENT.name}: make cinder")
        super().__init__(f"cinder-{role}")
        self._role, self._config = role, config

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> Sequence[str]:
        options = ("--config-file", str(self._config))
        if self._role != "api":
            return [*KILLED_WITH_US, str(ENVIRONMENT / "bin" / f"cinder-{self._role}"), *options]
        return [
            *(*KILLED_WITH_US, str(ENVIRONMENT / "bin" / "uwsgi")),
            *("--http-socket", f"127.0.0.1:{self.port}", "--master", "--die-on-term"),
            *("--processes", str(API_PROCESSES), "--enable-threads", "--lazy-apps"),
            *("--thunder-lock", "--buffer-size", "65535", "--disable-logging"),
            *("--add-header", "Connection: close"),  # it closes, and clients should know
            *("--virtualenv", str(ENVIRONMENT), "--module", "cinder.wsgi.api:application"),
            *("--pyargv", " ".join(options)),
        ]

    def _environment(self) -> Mapping[str, str]:
        path = f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}"
        return {**super()._environment(), "PATH": path}

    def _answers(self) -> bool:
        if self._role != "api":
            return self.running
        try:
            return httpx2.get(f"{self.url}/healthcheck", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False


@dataclass
class Cinder:
    """A running Cinder, in the words of `bench.shapes.Shape`."""

    programs: dict[str, Program]
    engines: dict[str, PrivateServer]
    keystone: Keystone
    mariadb: MariaDB
    name: str = "Cinder 29"

    @property
    def login(self) -> tuple[str, ...]:
        """Options of the load script."""
        return (
            *("--auth", "keystone", "--auth-url", self.keystone.url),
            *("--user", "admin", "--password", PASSWORD),
            *("--service-user", "breezeblock", "--service-password", PASSWORD),
        )

    @property
    def base(self) -> str:
        """Where clients find it, without a version."""
        return self.programs["api"].url

    @property
    def services(self) -> dict[str, int]:
        """Process groups of Cinder's own, by name."""
        return {role: program.pid for role, program in self.programs.items()}

    @property
    def groups(self) -> dict[str, int]:
        """Process groups of everything but the client."""
        return self.services | {name: engine.pid for name, engine in self.engines.items()}

    def start_programs(self) -> None:
        """Start what is Cinder's own; return when the API answers."""
        for role in ("volume", "scheduler", "api"):  # only the last one is waited for
            self.programs[role].start()

    def start_services(self) -> None:
        """The same; return when the scheduler knows the backend's pool."""
        self.start_programs()
        deadline = time.monotonic() + PATIENCE
        headers = {"X-Auth-Token": self.keystone.token("admin")}
        url = f"{self.base}/v3/scheduler-stats/get_pools"
        while not _pools(httpx2.get(url, headers=headers, timeout=30)):
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"Cinder has no pool:\n{self.logs()}")
            time.sleep(0.05)

    def stop_services(self) -> None:
        for program in self.programs.values():
            program.kill()

    def check(self) -> None:
        """Every process still runs."""
        for name, process in {**self.programs, **self.engines}.items():
            assert process.running, f"{name} has ended:\n{process.log()}"

    def logs(self) -> str:
        return "\n".join(f"{role}:\n{program.log()}" for role, program in self.programs.items())


@contextmanager
def cinder() -> Iterator[Cinder]:
    """A Cinder that serves; nothing of it is left afterwards."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="breezeblock-cinder-")))
        config = home / "cinder.conf"
        programs = {role: Program(role, config) for role in SERVICES}
        for program in programs.values():
            stack.callback(program.remove)
        keystone = stack.enter_context(started(Keystone()))
        rabbitmq = stack.enter_context(started(RabbitMQ()))
        mariadb = stack.enter_context(started(MariaDB()))
        memcached = stack.enter_context(started(Memcached()))
        config.write_text(_configuration(home, keystone, rabbitmq, mariadb, memcached))
        (home / "policy.yaml").write_text("{}\n")
        _make_database(config)
        engines: dict[str, PrivateServer] = {
            "mariadb": mariadb,
            "rabbitmq": rabbitmq,
            "keystone": keystone,
            "memcached": memcached,
        }
        running = Cinder(programs, engines, keystone, mariadb)
        running.start_services()
        yield running


def _configuration(
    home: Path, keystone: Keystone, rabbitmq: RabbitMQ, mariadb: MariaDB, memcached: Memcached
) -> str:
    tokens = {"memcached_servers": f"127.0.0.1:{memcached.port}", "service_token_roles": "service"}
    return ini(
        {
            "DEFAULT": {
                "state_path": home,
                "transport_url": rabbitmq.url.replace("amqp://", "rabbit://"),
                "auth_strategy": "keystone",
                "api_paste_config": ENVIRONMENT / "etc" / "cinder" / "api-paste.ini",
                "resource_query_filters_file": (
                    ENVIRONMENT / "etc" / "cinder" / "resource_filters.json"
                ),
                "host": "bench",
                "enabled_backends": "free",
                "default_volume_type": "__DEFAULT__",
                "glance_api_servers": "http://127.0.0.1:9",
                # No more is logged than by our shapes.
                "default_log_levels": "cinder=WARNING,keystonemiddleware=WARNING",
                **dict.fromkeys(("quota_volumes", "quota_gigabytes", "quota_snapshots"), -1),
            },
            "free": {
                "volume_driver": "cinder.tests.fake_driver.FakeLoggingVolumeDriver",
                "volume_backend_name": "free",
            },
            "database": {"connection": mariadb.url},
            "keystone_authtoken": {**keystone.filter("breezeblock"), **tokens},
            "oslo_concurrency": {"lock_path": home / "locks"},
            "oslo_policy": {"policy_file": home / "policy.yaml"},
            "key_manager": {"backend": "cinder.keymgr.conf_key_mgr.ConfKeyManager"},
            "coordination": {"backend_url": f"file://{home}/coordination"},
        }
    )


def _make_database(config: Path) -> None:
    manage = (str(ENVIRONMENT / "bin" / "cinder-manage"), "--config-file", str(config))
    done = subprocess.run([*manage, "db", "sync"], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no database for Cinder: {done.stderr.decode()[-2000:]}")


def _pools(reply: httpx2.Response) -> bool:
    return reply.status_code == 200 and bool(reply.json()["pools"])


def main() -> None:
    """Run one until interrupted."""
    began = time.monotonic()
    with cinder() as running:
        print(f"Cinder serves at {running.base}/v3 after {time.monotonic() - began:.0f} s.")
        print("bench/load.py", *("--base", running.base), *running.login, flush=True)
        for name, group in running.groups.items():
            print(f"--watch {name}={group}", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print("Stopped.")


if __name__ == "__main__":
    main()
