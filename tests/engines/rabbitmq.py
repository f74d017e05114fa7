"""A private RabbitMQ, for tests that need the real broker.

Debian's start script would collide with a broker of the machine and listens on all addresses, so
everything it may read or open is set here: home and cookie, node name, directories, and both ports
on its address. No epmd: a node finds all others at its own distribution port, so the nodes of a
cluster differ by their loopback addresses. The server sees only the plugins it cannot do without,
because it searches every plugin directory for every module it loads; that halves its start.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.engines.process import HERE, EngineMissing, Place, PrivateServer, free_port

SCRIPTS = Path("/usr/lib/rabbitmq/bin")
RELEASES = Path("/usr/lib/rabbitmq/lib")

NOTED_SECONDS = 1.5

TICK_SECONDS = 8
"""After which the nodes of a cluster count one that is frozen as gone (60 by default)."""


@dataclass(frozen=True)
class Together:
    """What the nodes of a cluster share. The first of them must start before the others."""

    addresses: tuple[str, ...]
    distribution_port: int = field(default_factory=free_port)
    cookie: str = field(default_factory=lambda: secrets.token_hex(10).upper())

    def names(self) -> list[str]:
        return [f"breezeblock@{address}" for address in self.addresses]


class RabbitMQ(PrivateServer):
    """RabbitMQ, on loopback unless told otherwise; user guest, virtual host /."""

    def __init__(self, place: Place = HERE, together: Together | None = None) -> None:
        releases = sorted(RELEASES.glob("rabbitmq_server-*/plugins"))
        if not releases or not (SCRIPTS / "rabbitmq-server").exists():
            raise EngineMissing("RabbitMQ is not installed: apt-get install rabbitmq-server")
        super().__init__("rabbitmq", place)
        self._together = together or Together((place.address,))
        self.node = f"breezeblock@{place.address}"
        self._lay_out(releases[-1])

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self.place.address}:{self.port}/"

    def url_of(self, user: str, password: str) -> str:
        """Where a new user, who may do everything, finds the broker; two seconds."""
        name, rights = f'<<"{user}">>', ", ".join(['<<".*">>'] * 3)
        backend = "rabbit_auth_backend_internal"
        self.control(
            "eval",
            f'{backend}:add_user({name}, <<"{password}">>, <<"tests">>), '
            f'{backend}:set_permissions({name}, <<"/">>, {rights}, <<"tests">>).',
        )
        return f"amqp://{user}:{password}@{self.place.address}:{self.port}/"

    def control(self, *words: str) -> str:
        """What `rabbitmqctl` answers; two seconds. Raises CalledProcessError."""
        arguments = self._erlang("-dist_listen", "false")
        program = [*self.place.entry, str(self.home / "sbin" / "rabbitmqctl")]
        done = subprocess.run(
            [*program, "--longnames", "-n", self.node, *words],
            env={**self._environment(), "RABBITMQ_CTL_ERL_ARGS": " ".join(arguments)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def kill(self) -> None:
        """SIGKILL, as soon as the broker has noted which queues it has.

        Killed in the first second of a quorum queue's life it would forget the queue's log and
        never elect a leader for it again (seen with 3.10.8; rabbitmq-server issue 10070).
        """
        time.sleep(NOTED_SECONDS)
        super().kill()

    def _lay_out(self, plugins: Path) -> None:
        (self.home / "sbin").symlink_to(SCRIPTS)
        (self.home / "escript").symlink_to(plugins.parent / "escript")
        (self.home / "plugins").mkdir()
        for plugin in plugins.iterdir():
            if not plugin.name.startswith("rabbitmq_") or "prelaunch" in plugin.name:
                (self.home / "plugins" / plugin.name).symlink_to(plugin)
        (self.home / "enabled_plugins").write_text("[].\n")
        settings = [
            f"listeners.tcp.1 = {self.place.address}:{self.port}",
            "loopback_users = none",
            "disk_free_limit.absolute = 10MB",
        ]
        for number, name in enumerate(self._together.names(), 1):
            settings.append(f"cluster_formation.classic_config.nodes.{number} = {name}")
        if len(self._together.addresses) > 1:  # as docs/operating.md recommends
            settings.append("cluster_partition_handling = pause_minority")
        (self.home / "rabbitmq.conf").write_text("\n".join(settings) + "\n")
        cookie = self.home / ".erlang.cookie"
        cookie.write_text(self._together.cookie)
        cookie.chmod(0o400)

    def _command(self) -> Sequence[str]:
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", f"{self.home}/sbin/rabbitmq-server"),
            *("-noinput", "-name", self.node),
            *self._erlang("-kernel", "inet_dist_use_interface", self._erlang_address()),
            *("-kernel", "net_ticktime", str(TICK_SECONDS)),
        ]

    def _erlang(self, *more: str) -> list[str]:
        port = str(self._together.distribution_port)
        return ["-start_epmd", "false", "-erl_epmd_port", port, *more]

    def _erlang_address(self) -> str:
        return "{" + self.place.address.replace(".", ",") + "}"

    def _environment(self) -> Mapping[str, str]:
        return {
            **super()._environment(),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_DIST_PORT": str(self._together.distribution_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{self.home}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{self.home}/advanced.config",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{self.home}/generated",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.home}/enabled_plugins",
            "RABBITMQ_FEATURE_FLAGS_FILE": f"{self.home}/feature_flags",
            "RABBITMQ_MNESIA_BASE": f"{self.home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{self.home}/log",
            "RABBITMQ_PID_FILE": f"{self.home}/pid",
            "RABBITMQ_SCRIPTS_DIR": f"{self.home}/sbin",
            "RABBITMQ_PLUGINS_DIR": f"{self.home}/plugins",
            "RABBITMQ_ALLOW_INPUT": "1",  # the script then becomes the server instead of its parent
        }

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.place.address, self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False


class RabbitMQCluster:
    """Three nodes that know each other; a queue has a replica on each."""

    def __init__(self) -> None:
        together = Together(("127.0.11.1", "127.0.11.2", "127.0.11.3"))
        self.nodes = [RabbitMQ(Place(address), together) for address in together.addresses]

    @property
    def url(self) -> str:
        """One URL that names all nodes."""
        hosts = ",".join(f"{node.place.address}:{node.port}" for node in self.nodes)
        return f"amqp://guest:guest@{hosts}/"

    def start(self) -> None:
        first, *others = self.nodes
        first.start()
        with ThreadPoolExecutor(len(others)) as threads:
            list(threads.map(RabbitMQ.start, others))

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()
