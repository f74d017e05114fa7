"""What the demo stores its volume on: a backend each, with what it needs around it.

`local` needs nothing. `netapp` is a simulated ONTAP array, a process that ends with the demo; it
tells in the end, from the array's own log, how a volume became a LUN for a host.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
import socket
import ssl
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx2
import msgspec

from breezeblock.cli.demo_story import Request, story
from breezeblock.ontapsim import seed

Name = Literal["local", "netapp"]

HTTPS, ISCSI = 443, 3260
ATTEMPTS = 50
PATIENCE = 30.0


class BackendUnusableError(Exception):
    """The demo cannot have this backend on this machine; the text says what would help."""


class LocalBackend:
    """Files in the demo's data directory: what the service has when nobody says otherwise."""

    def __init__(self, data: Path) -> None:
        self.data = data

    @property
    def configuration(self) -> dict[str, Any]:
        """Its part of the service's configuration, once it is entered."""
        return {}

    @property
    def introduction(self) -> str:
        """What it has to say when it is there; empty: nothing."""
        return ""

    async def told(self) -> list[str]:
        """What it has to tell in the end, a line each."""
        return []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class NetAppBackend(LocalBackend):
    """A simulated ONTAP array with two FlexVols and two paths, over TLS, with CHAP."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self._password = secrets.token_urlsafe(12)
        self._addresses: tuple[str, str] = ("", "")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def configuration(self) -> dict[str, Any]:
        options = {
            "netapp_server_hostname": self._addresses[0],
            "netapp_ssl_cert_path": str(self._certificate),
            "netapp_login": "admin",
            "netapp_password": self._password,
            "netapp_vserver": "svm1",
            "netapp_lun_space_reservation": "disabled",
            "use_chap_auth": True,
            "chap_secret_key": secrets.token_urlsafe(24),
        }
        return {"backends": [{"name": "ontap", "driver": "netapp", "options": options}]}

    @property
    def introduction(self) -> str:
        return f"a simulated ONTAP array: {self._url}, LUNs at " + " and ".join(
            f"{address}:{ISCSI}" for address in self._addresses
        )

    @property
    def _url(self) -> str:
        return f"https://{self._addresses[0]}"

    @property
    def _certificate(self) -> Path:
        return self.data / f"certificate-{self._addresses[0]}.pem"

    async def told(self) -> list[str]:
        trust = ssl.create_default_context(cafile=str(self._certificate))
        async with httpx2.AsyncClient(verify=trust, timeout=PATIENCE) as client:
            reply = await client.get(f"{self._url}/simulator/log")
            left = await self._left(client)
        requests = msgspec.convert(reply.raise_for_status().json()["requests"], list[Request])
        return ["", *story(requests), left]

    async def _left(self, client: httpx2.AsyncClient) -> str:
        """What is on the array still; of the demo there is nothing."""
        left = []
        for path in ("storage/luns", "protocols/san/igroups", "protocols/san/iscsi/credentials"):
            reply = await client.get(f"{self._url}/api/{path}", auth=("admin", self._password))
            left.append(f"{reply.raise_for_status().json()['num_records']} {path.split('/')[-1]}")
        return f"still on the array: {', '.join(left)}"

    async def __aenter__(self) -> Self:
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        if shutil.which("tgtd", path=path) is None:
            raise BackendUnusableError(
                "the array serves its LUNs with tgtd, which is not installed: "
                "tools/packages guest array (make demo BACKEND=netapp does that by itself)"
            )
        if os.geteuid() != 0:
            raise BackendUnusableError(
                f"the array's ports and its tgtd need root: sudo {' '.join(sys.argv)}"
            )
        self._addresses = free_addresses()
        self.data.mkdir(parents=True)
        try:
            await self._start({**os.environ, "PATH": path})
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _start(self, environment: dict[str, str]) -> None:
        """Returns when it serves. The kernel ends it when the demo dies, however that happens."""
        plan = self.data / "seed.json"
        plan.write_bytes(msgspec.json.encode(self._seed()))
        listen = f"{self._addresses[0]}:{HTTPS}"
        with (self.data / "ontapsim.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-c"),
                "from breezeblock.cli.main import main; main()",
                *("ontapsim", "--data", self.data, "--seed", plan, "--listen", listen),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo: the volume is deleted first
            )
        assert self._process.stdout is not None
        try:
            ready = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)
        except TimeoutError:
            ready = b""
        if not ready:
            said = (self.data / "ontapsim.log").read_text(errors="replace").strip()
            raise BackendUnusableError(f"the simulated array does not start: {said[-1000:]}")

    def _seed(self) -> seed.Seed:
        nodes = ("sim-01", "sim-02")
        return seed.Seed(
            nodes=[seed.Node(name=name) for name in nodes],
            aggregates=[seed.Aggregate(name="aggr1", node=nodes[0], size_gb=100)],
            svms=[
                seed.Svm(
                    name="svm1",
                    iscsi_port=ISCSI,
                    lifs=[
                        seed.Lif(
                            name=f"iscsi_{node}", address=one, node=node, services=("data_iscsi",)
                        )
                        for node, one in zip(nodes, self._addresses, strict=True)
                    ],
                    volumes=[
                        seed.FlexVol(name=name, aggregate="aggr1", size_gb=20)
                        for name in ("vol1", "vol2")
                    ],
                )
            ],
            accounts=[seed.Account(name="admin", password=self._password)],
        )

    async def _stop(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


BACKENDS: dict[Name, type[LocalBackend]] = {"local": LocalBackend, "netapp": NetAppBackend}


def free_addresses() -> tuple[str, str]:
    """Two addresses of loopback where the array's ports are free; they are those of a real one.

    Raises BackendUnusableError.
    """
    refused = HTTPS
    for _ in range(ATTEMPTS):
        net = f"127.{64 + secrets.randbelow(190)}.{secrets.randbelow(256)}"
        pair = (f"{net}.1", f"{net}.2")
        taken = [port for port in (HTTPS, ISCSI) if not all(_free(one, port) for one in pair)]
        if not taken:
            return pair
        refused = taken[0]
    raise BackendUnusableError(
        f"port {refused} is taken on all of loopback by a server that listens on every address; "
        f"ss -ltnp 'sport = :{refused}' says which: stop it for the time of the demo"
    )


def _free(address: str, port: int) -> bool:
    try:
        socket.create_server((address, port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise BackendUnusableError(
            f"port {port} of {address} cannot be bound: {error.strerror}"
        ) from None
    return True
