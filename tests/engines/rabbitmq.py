"""A private RabbitMQ, for tests that need the real broker.

Debian's start script would collide with a broker of the machine and listens on all addresses, so
everything it may read or open is set here: home and cookie, node name, directories, and both ports
on loopback. No epmd: the node names its distribution port itself. The server sees only the plugins
it cannot do without, because it searches every plugin directory for every module it loads; that
halves its start.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.engines.process import HERE, EngineMissing, Place, PrivateServer, free_port

SCRIPTS = Path("/usr/lib/rabbitmq/bin")
RELEASES = Path("/usr/lib/rabbitmq/lib")

NOTED_SECONDS = 1.5


class RabbitMQ(PrivateServer):
    """RabbitMQ, on loopback unless told otherwise; user guest, virtual host /."""

    def __init__(self, place: Place = HERE) -> None:
        releases = sorted(RELEASES.glob("rabbitmq_server-*/plugins"))
        if not releases or not (SCRIPTS / "rabbitmq-server").exists():
            raise EngineMissing("RabbitMQ is not installed: apt-get install rabbitmq-server")
        super().__init__("rabbitmq", place)
        self._distribution_port = free_port()
        self._node = f"breezeblock-{self.port}@localhost"
        self._lay_out(releases[-1])

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self.place.address}:{self.port}/"

    def kill(self) -> None:
        """SIGKILL, as soon as the broker has noted which queues it has.

        Killed in the first second of a quorum queue's life it would forget the queue's log and
        never elect a leader for it again (seen with 3.10.8; rabbitmq-server issue 10070).
        """
        time.sleep(NOTED_SECONDS)
        super().kill()

    def _lay_out(self, plugins: Path) -> None:
        (self.home / "sbin").symlink_to(SCRIPTS)
        (self.home / "plugins").mkdir()
        for plugin in plugins.iterdir():
            if not plugin.name.startswith("rabbitmq_") or "prelaunch" in plugin.name:
                (self.home / "plugins" / plugin.name).symlink_to(plugin)
        (self.home / "enabled_plugins").write_text("[].\n")
        (self.home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {self.place.address}:{self.port}\n"
            "loopback_users = none\ndisk_free_limit.absolute = 10MB\n"
        )

    def _command(self) -> Sequence[str]:
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", f"{self.home}/sbin/rabbitmq-server"),
            *("-noinput", "-sname", self._node),
            *("-start_epmd", "false", "-erl_epmd_port", str(self._distribution_port)),
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
        ]

    def _environment(self) -> Mapping[str, str]:
        return {
            **super()._environment(),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
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
