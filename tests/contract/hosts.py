"""A host that uses exported volumes: QEMU's block layer as the client, for every transport.

`Disk` is one open connection (a qemu-io process); it says of each command whether it was
acknowledged. With `reconnect` the connection waits for a server that is away, as guests' do.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from breezeblock.drivers.base import ConnectionInfo

PROMPT = b"qemu-io> "
PATIENCE = 1.0
"""Seconds of silence after which it is looked whether the server still lets us in."""
NEWS = "iSCSI CheckCondition: SENSE KEY:UNIT_ATTENTION"
"""How the client mentions that the host's LUNs have changed; it repeats the command by itself."""


class Host:
    """A host by its name, which it also uses in its connector."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.initiator = f"iqn.2026-11.cloud.breezeblock:{name}"
        self.connector = {"host": name, "ip": "127.0.0.1", "initiator": self.initiator}

    @contextmanager
    def open(
        self, info: ConnectionInfo, *, reconnect: int = 0, read_only: bool = False
    ) -> Iterator[Disk]:
        """Connect. Raises ConnectionError when the server does not let us in."""
        disk = self._disk(info, reconnect, read_only)
        if info.driver_volume_type == "iscsi":
            disk.hopeless = lambda: self.refused(info)
        try:
            yield disk
        finally:
            disk.close()

    def refused(self, info: ConnectionInfo) -> bool:
        """Whether the server does not let us in."""
        try:
            self._disk(info).close()
        except ConnectionError:
            return True
        return False

    def _disk(self, info: ConnectionInfo, reconnect: int = 0, read_only: bool = False) -> Disk:
        return Disk([*(["-r"] if read_only else []), *self._command(info, reconnect)])

    def _command(self, info: ConnectionInfo, reconnect: int) -> list[str]:
        secrets = self.directory / str(info.data["volume_id"])
        node, objects = REACH[info.driver_volume_type](info.data, secrets, self.initiator)
        if reconnect and node["driver"] == "nbd":  # the others wait for ever, unasked
            node["reconnect-delay"] = reconnect
        helpers = [word for one in objects for word in ("--object", json.dumps(one))]
        return [*helpers, f"json:{json.dumps(node)}"]


class Disk:
    """A volume that a host has open. Every method tells whether the command succeeded.

    `hopeless`, for clients that try to log in again for ever: whether they are refused now.
    """

    hopeless: Callable[[], bool] | None = None

    def __init__(self, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            ["qemu-io", "-t", "writeback", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        complaint = self._answer()
        if self._process.poll() is not None:
            self.close()
            raise ConnectionError(complaint)
        size = self._ask("length")
        self.gib = int(size.removesuffix(" GiB")) if size.endswith(" GiB") else 0

    def write(self, byte: int, *, offset: int = 0, length: int = 65536) -> bool:
        return "wrote" in self._ask(f"write -P {byte} {offset} {length}")

    def reads(self, byte: int, *, offset: int = 0, length: int = 65536) -> bool:
        """Whether the place holds this byte all over."""
        return self._ask(f"read -P {byte} {offset} {length}").startswith("read ")

    def byte_at(self, offset: int) -> int:
        """The first byte of a block."""
        return int(self._ask(f"read -v {offset} 512").split(maxsplit=2)[1], 16)

    def flush(self) -> bool:
        return self._ask("flush") == ""

    def close(self) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError), self._process:
            pass  # its pipes are closed, and its end awaited

    def _ask(self, command: str) -> str:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return "qemu-io has ended"
        return self._answer()

    def _answer(self) -> str:
        """What it says until it asks for the next command (one at a time: it loses others)."""
        assert self._process.stdout is not None
        said = b""
        while not said.endswith(PROMPT):
            if self.hopeless and not select.select([self._process.stdout], [], [], PATIENCE)[0]:
                if not self.hopeless():
                    continue
                self.close()
                return "it is not let in again"
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                self._process.wait()
                return f"{said.decode()} qemu-io has ended"
            said += more
        lines = said.removesuffix(PROMPT).decode().splitlines()
        return "\n".join(line for line in lines if NEWS not in line).strip()


Node = tuple[dict[str, Any], list[dict[str, Any]]]
Reach = Callable[[Mapping[str, Any], Path, str], Node]


def _nbd(data: Mapping[str, Any], secrets: Path, _initiator: str) -> Node:
    node: dict[str, Any] = {"driver": "nbd", "export": data["export"]}
    if data["transport"] == "unix":
        return {**node, "server": {"type": "unix", "path": data["path"]}}, []
    node["server"] = {"type": "inet", "host": data["host"], "port": str(data["port"])}
    key = data.get("tls_psk_key")
    if key is None:
        return node, []
    secrets.mkdir(parents=True, exist_ok=True)
    (secrets / "keys.psk").write_text(f"{data['tls_psk_username']}:{key}\n")
    credentials = {
        "qom-type": "tls-creds-psk",
        "id": "keys",
        "dir": str(secrets),
        "username": data["tls_psk_username"],
        "endpoint": "client",
    }
    return {**node, "tls-creds": "keys"}, [credentials]


def _iscsi(data: Mapping[str, Any], secrets: Path, initiator: str) -> Node:
    node = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": data["target_portal"],
        "target": data["target_iqn"],
        "lun": data["target_lun"],
        "initiator-name": initiator,
    }
    if data.get("auth_method") != "CHAP":
        return node, []
    secrets.mkdir(parents=True, exist_ok=True)
    password = secrets / "chap"
    password.write_text(data["auth_password"])
    chap = {"qom-type": "secret", "id": "chap", "file": str(password)}
    return {**node, "user": data["auth_username"], "password-secret": "chap"}, [chap]


def _nfs(data: Mapping[str, Any], _secrets: Path, _initiator: str) -> Node:
    server, _, folder = data["export"].partition(":")
    where = {"type": "inet", "host": server}
    file = {"driver": "nfs", "server": where, "path": f"{folder}/{data['name']}"}
    return {"driver": data.get("format", "raw"), "file": file}, []


REACH: Mapping[str, Reach] = {"nbd": _nbd, "iscsi": _iscsi, "nfs": _nfs}
"""driver_volume_type → QEMU's node for the volume, and the objects that it needs."""
