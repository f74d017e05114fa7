"""A data plane with LUNs and hosts, for tests: what is published is said in a line or two.

Hosts are real initiators (libiscsi): `inquire` and `discover` are its tools, `Disk` is qemu-io
with a session that stays open.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from breezeblock.ontapsim import files
from breezeblock.ontapsim.data_plane import Credential, Svm, Unit
from breezeblock.ontapsim.iscsi import IscsiDataPlane

TARGET = "iqn.1992-08.com.netapp:sn.tests:vs.2"
ALICE, BOB = "iqn.2026-01.tests:alice", "iqn.2026-01.tests:bob"
MiB = 1 << 20
_CACHE = ("-d", "unmap", "-t", "none")
_PROMPT = b"qemu-io> "


def address(last: int) -> str:
    """A loopback address of this process, so that test runs do not meet."""
    pid = os.getpid()
    return f"127.{20 + (pid >> 16 & 31)}.{pid >> 8 & 255}.{((pid & 127) << 1) + last}"


@dataclass
class Array:
    """What one SVM shows; `publish` tells the data plane all of it."""

    directory: Path
    plane: IscsiDataPlane
    portals: list[tuple[str, int]] = field(
        default_factory=lambda: [(address(0), 3260), (address(1), 3260)]
    )
    access: dict[str, dict[int, Unit]] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    enabled: bool = True

    def lun(self, name: str, size: int = 16 * MiB) -> Unit:
        path = self.directory / "vol" / name
        files.make(path, size)
        return Unit(path, size, f"80tests{name:>5}".replace(" ", "-")[:12])

    def publish(self) -> None:
        access = {initiator: dict(units) for initiator, units in self.access.items()}
        portals = tuple(self.portals)
        self.plane.publish(
            (Svm("svm1", TARGET, portals, self.enabled, dict(self.credentials), access),)
        )

    def show(self, access: Mapping[str, Mapping[int, Unit]]) -> None:
        self.access = {initiator: dict(units) for initiator, units in access.items()}
        self.publish()

    def url(self, number: int, *, user: str = "", target: str = TARGET, more: str = "") -> str:
        at, port = self.portals[0]
        return f"iscsi://{user + '@' if user else ''}{at}:{port}/{target}/{number}{more}"


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it; what it says may be any bytes."""
    return subprocess.run(
        arguments, capture_output=True, encoding="latin-1", timeout=30, check=False
    )


def inquire(initiator: str, url: str, *more: str) -> str:
    """The LUN's inquiry data, or libiscsi's complaint."""
    done = tool("iscsi-inq", "-i", initiator, *more, url)
    return done.stdout + done.stderr


def discover(initiator: str, portal: tuple[str, int], user: str = "") -> str:
    at, port = portal
    done = tool(
        "iscsi-ls", "-s", "-i", initiator, f"iscsi://{user + '@' if user else ''}{at}:{port}"
    )
    return done.stdout + done.stderr


class Disk:
    """A host's open session to a LUN: qemu-io, a command at a time."""

    def __init__(self, array: Array, initiator: str, number: int, secret: str = "") -> None:
        at, port = array.portals[0]
        options = (
            f"driver=iscsi,transport=tcp,portal={at}:{port},target={TARGET},lun={number},"
            f"initiator-name={initiator}"
        )
        more = []
        if secret:
            options += ",user=joe,password-secret=s"
            more = ["--object", f"secret,id=s,data={secret}"]
        self._process = subprocess.Popen(
            ["qemu-io", *more, *_CACHE, "--image-opts", options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self._until_prompt()

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, command: str) -> str:
        """What qemu-io says to a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        return self._until_prompt()

    def _until_prompt(self) -> str:
        assert self._process.stdout is not None
        said = b""
        while not said.endswith(_PROMPT):
            piece = self._process.stdout.read(4096)
            if not piece:
                raise EOFError(said.decode())
            said += piece
        return said.removesuffix(_PROMPT).decode()

    def write(self, offset: int, length: int, pattern: int) -> str:
        return self.ask(f"write -P {pattern} {offset} {length}")

    def holds(self, offset: int, length: int, pattern: int) -> bool:
        said = self.ask(f"read -P {pattern} {offset} {length}")
        return f"read {length}/{length} bytes" in said and "verification failed" not in said

    def size(self) -> str:
        return self.ask("length").strip()


class Writer:
    """Writes block after block through an open session, until told to stop.

    `acknowledged` has the number of each block whose write was said to be done; block n is full of
    bytes of the value `mark(n)`.
    """

    BLOCK = 4096

    def __init__(self, disk: Disk, blocks: int) -> None:
        self._disk = disk
        self._blocks = blocks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: list[int] = []
        self.complaints: list[str] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @staticmethod
    def mark(number: int) -> int:
        return number % 251 + 1

    def _write(self) -> None:
        for number in range(self._blocks):
            if self._stop.is_set():
                return
            said = self._disk.write(number * self.BLOCK, self.BLOCK, self.mark(number))
            if f"wrote {self.BLOCK}/{self.BLOCK} bytes" in said:
                self.acknowledged.append(number)
            else:
                self.complaints.append(said)

    def wait_for(self, more: int) -> None:
        """Until that many more writes are acknowledged than now."""
        goal = len(self.acknowledged) + more
        while len(self.acknowledged) < goal:
            assert self._thread.is_alive(), self.complaints
            time.sleep(0.001)

    @classmethod
    def lost(cls, path: Path, acknowledged: list[int]) -> list[int]:
        """Which of these blocks are not in the file."""
        with path.open("rb") as file:
            return [n for n in acknowledged if not cls._holds(file, n)]

    @classmethod
    def _holds(cls, file: BinaryIO, number: int) -> bool:
        file.seek(number * cls.BLOCK)
        return file.read(cls.BLOCK) == bytes([cls.mark(number)]) * cls.BLOCK
