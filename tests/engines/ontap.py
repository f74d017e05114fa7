"""A private ONTAP simulator: `breezeblock ontapsim` as a process, with two FlexVols and two LIFs.

Its addresses are of this process only, so that suites run side by side.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.process import PrivateServer

USER, PASSWORD = "admin", "cluster-secret"
SVM_USER, SVM_PASSWORD = "vsadmin", "svm-secret"
SVM, VOLUMES = "svm1", ("vol1", "vol2")
NODES = ("sim-01", "sim-02")

ISCSI_PORT = 3260
"""ONTAP's LIFs have no other."""

_seats = itertools.count()

SEED = """
version = "9.14.1"
[[nodes]]
name = "sim-01"
[[nodes]]
name = "sim-02"
[[aggregates]]
name = "aggr1"
node = "sim-01"
size_gb = 1000
[[svms]]
name = "svm1"
iscsi_port = {iscsi_port}
[[svms.lifs]]
name = "lif1"
address = "{first}"
node = "sim-01"
[[svms.lifs]]
name = "lif2"
address = "{second}"
node = "sim-02"
{volumes}[[accounts]]
name = "admin"
password = "cluster-secret"
[[accounts]]
name = "vsadmin"
password = "svm-secret"
svm = "svm1"
"""
VOLUME = """
[[svms.volumes]]
name = "{name}"
aggregate = "aggr1"
size_gb = 100
junction = "/{name}"
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else {}

    @property
    def code(self) -> str | None:
        """Of the error, if it is one."""
        return self.body.get("error", {}).get("code")


class OntapClient:
    """What tests ask of a simulator, wherever it runs."""

    host: str
    port: int
    certificate: Path | None = None
    """What to trust; None: it speaks plain HTTP."""

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = USER,
        password: str = PASSWORD,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """One request; a `body` of bytes is sent as it is. Raises ConnectionError if hung up on."""
        connection = self._connection()
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        try:
            connection.request(method, path, data, {"Authorization": f"Basic {secret}", **headers})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.certificate is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=60)
        trust = ssl.create_default_context(cafile=self.certificate)
        return http.client.HTTPSConnection(self.host, self.port, timeout=60, context=trust)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """What the array answers, which must not be an error."""
        answer = self.call(method, f"/api{path}", body)
        assert answer.status < 400, f"{method} {path}: {answer.status} {answer.raw!r}"
        return answer.body

    def records(self, path: str) -> list[Any]:
        records: list[Any] = self.api("GET", path)["records"]
        return records

    # The simulator itself

    def control(self, method: str, path: str, body: object = None) -> Any:
        answer = self.call(method, f"/simulator/{path}", body)
        assert answer.status < 400, f"{method} {path}: {answer.status} {answer.raw!r}"
        return answer.body

    def fault(self, what: str, **order: object) -> str:
        """Let something go wrong with the next call that matches; see docs/ontapsim.md."""
        name: str = self.control("POST", "faults", {"what": what, **order})["uuid"]
        return name

    def requests(self) -> list[Any]:
        """All requests since the last reset, in order."""
        requests: list[Any] = self.control("GET", "log")["requests"]
        return requests

    def settings(self, **settings: float) -> None:
        """`job_seconds`, `move_seconds`."""
        self.control("PATCH", "settings", settings)

    def reset(self) -> None:
        self.control("POST", "reset")
        self.settings(job_seconds=0, move_seconds=0)


class Ontap(PrivateServer, OntapClient):
    """The simulator. `url` is its REST API, `portals` where its LUNs are served."""

    def __init__(
        self, volumes: Sequence[str] = VOLUMES, *, tls: bool = False, ssh: bool = False
    ) -> None:
        super().__init__("ontap")
        addresses = _addresses(next(_seats))
        self.host = addresses[0]
        self.portals = tuple((address, ISCSI_PORT) for address in addresses)
        self.data = self.home / "data"
        self.console = (self.host, 22) if ssh else None
        self.certificate = self.data / f"certificate-{self.host}.pem" if tls else None
        self.seed = self.home / "seed.toml"
        self.seed.write_text(
            SEED.format(
                iscsi_port=ISCSI_PORT,
                first=addresses[0],
                second=addresses[1],
                volumes="".join(VOLUME.format(name=name) for name in volumes),
            )
        )

    user, password = USER, PASSWORD
    svm = SVM

    @property
    def url(self) -> str:
        return f"http{'s' if self.certificate else ''}://{self.host}:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """How the NetApp driver is told to reach it."""
        return {
            "netapp_server_hostname": self.host,
            "netapp_server_port": self.port,
            "netapp_transport_type": "https" if self.certificate else "http",
            "netapp_login": self.user,
            "netapp_password": self.password,
            "netapp_vserver": self.svm,
        }

    def _command(self) -> Sequence[str]:
        command = [sys.executable, "-c", "from breezeblock.cli.main import main; main()"]
        options: dict[str, object] = {
            "--data": self.data,
            "--seed": self.seed,
            "--listen": f"{self.host}:{self.port}",
        }
        if self.console:
            options["--ssh"] = "{}:{}".format(*self.console)
        words = [str(word) for option in options.items() for word in option]
        return [
            "setpriv",
            "--pdeathsig",
            "KILL",
            *command,
            "ontapsim",
            *words,
            *([] if self.certificate else ["--no-tls"]),
        ]

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


def _addresses(seat: int) -> tuple[str, str]:
    """Two of loopback that no other simulator uses: of this process, and this seat in it."""
    place = os.getpid() << 1
    net = f"127.{64 + (seat + (place >> 16)) % 128}.{place >> 8 & 255}"
    return f"{net}.{place & 255}", f"{net}.{place & 255 | 1}"
