"""One qemu-storage-daemon that serves one volume over NBD.

`nbd` decides what is to be served, this file knows how to run it. A daemon is never told anything
while it runs: everything is on its command line, and when that would have to be different (another
image, another mode, a revoked host) the daemon is replaced. That takes about 15 ms, for which
hosts wait: NBD clients of QEMU have `reconnect-delay`, and repeat what was not answered.

Daemons outlive us. One that runs holds a lock (`alive`) which the kernel takes away when it dies,
so nobody is fooled by a process id that another process has got since.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from breezeblock.exports.errors import ExportBusy, ExportRefused
from breezeblock.exports.files import try_lock
from breezeblock.exports.listeners import borrow
from breezeblock.exports.qmp import CommandRefused, Monitor, monitor

PROGRAM = "qemu-storage-daemon"
PACKAGES = "apt-get install qemu-utils qemu-system-common"

STARTS = 3
"""How often it is started before we give up: a killed one's lock on the image may linger."""
START_WITHIN = 15.0
STOP_WITHIN = 10.0
"""Seconds for the requests under way and the last flush; then the daemon is killed."""
COPY_WITHIN = 24 * 3600.0
LOOK_EVERY = 1.0
"""Seconds between two looks at how far a copy is."""


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image; QEMU follows a qcow2's chain of backing files by itself."""

    path: str
    format: Literal["raw", "qcow2"]


@dataclass(frozen=True, slots=True)
class Serving:
    """What a daemon serves. `keys` is the directory of the TLS keys, empty over unix sockets.

    `write_through` makes each write reach the disk before it is acknowledged.
    """

    image: Image
    name: str
    read_only: bool
    write_through: bool
    generation: int
    keys: str = ""

    @property
    def mark(self) -> str:
        """Stands on the daemon's command line, so that a running one can be told by it."""
        told = json.dumps(asdict(self), sort_keys=True)
        return "x" + hashlib.sha256(told.encode()).hexdigest()[:30]


def check_installed() -> str:
    """The program's path. Raises ExportRefused when it is not installed."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise ExportRefused(
            f"{PROGRAM} is not installed.", remedy=f"Install QEMU's tools: {PACKAGES}"
        )
    return program


class StorageDaemon:
    """The daemon of one export, which may run or not. The caller holds the volume's lock."""

    def __init__(self, home: Path, sockets: Path) -> None:
        self._home = home
        self._pid = home / "pid"
        self._alive = home / "alive"
        self._log = home / "log"
        self._monitor = sockets / "qmp.sock"

    def running(self) -> bool:
        """Whether it runs now."""
        try:
            descriptor = os.open(self._alive, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def serves(self, serving: Serving) -> bool:
        """Whether it runs and serves exactly this."""
        with self._process() as found:
            return found is not None and serving.mark in _command_line(found[0])

    def pidfd(self) -> int | None:
        """A descriptor that becomes readable when it dies; the caller closes it."""
        with self._process() as found:
            return os.dup(found[1]) if found else None

    def listener(self) -> socket.socket | None:
        """The socket that it listens on, if it runs and the kernel lets us have it."""
        with self._process() as found:
            told = re.search(
                r'"type": "fd", "str": "(\d+)"', _command_line(found[0]) if found else ""
            )
            return borrow(found[1], int(told[1])) if found and told else None

    def start(self, serving: Serving, listener: socket.socket) -> None:
        """Run it. Returns when it serves; raises ExportBusy with what it said instead.

        ExportRefused when the program is not installed.
        """
        program = check_installed()
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._monitor.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._pid.unlink(missing_ok=True)
        with self._alive.open("w") as alive, self._log.open("w+") as log:
            if not try_lock(alive.fileno()):
                raise ExportBusy(f"The storage daemon of {serving.name} still runs.")
            command = [program, *self._arguments(serving, listener.fileno())]
            for attempt in range(1, STARTS + 1):
                if _run(command, log, (listener.fileno(), alive.fileno())):
                    return
                if attempt == STARTS:
                    log.seek(0)
                    raise ExportBusy(f"{PROGRAM} ended: {log.read().strip()}")
                time.sleep(0.02 * attempt)

    def stop(self) -> None:
        """End it, and wait until it is gone. What it acknowledged is on the image then."""
        with self._process() as found:
            if found is None:
                return
            for number, patience in ((signal.SIGTERM, STOP_WITHIN), (signal.SIGKILL, 5.0)):
                signal.pidfd_send_signal(found[1], number)
                if select.select([found[1]], [], [], patience)[0]:
                    return
        raise ExportBusy(f"{PROGRAM} {found[0]} cannot be ended: its storage does not answer.")

    def copy(self, image: Image, target: Path, told: Callable[[float], None]) -> None:
        """Write the volume's content of this moment to `target`, a raw file of the same size.

        It is whole even though hosts go on writing: what they are about to change is copied first.
        """
        job = f"copy-{time.monotonic_ns()}"
        node = {"driver": "raw", "file": {"driver": "file", "filename": str(target)}}
        try:
            with monitor(self._monitor) as daemon:
                daemon.execute("blockdev-add", **node, node_name=job)
                try:
                    self._back_up(daemon, image, job, told)
                finally:
                    daemon.execute("blockdev-del", node_name=job)
        except CommandRefused as error:
            raise ExportBusy(f"The storage daemon refused the copy: {error}.") from error

    def _back_up(
        self, daemon: Monitor, image: Image, job: str, told: Callable[[float], None]
    ) -> None:
        daemon.execute("blockdev-backup", job_id=job, device=_node(image), target=job, sync="full")
        ended = self._watch(daemon, job, told)
        if "error" in ended:
            raise ExportBusy(f"The copy failed: {ended['error']}.")

    def _watch(self, daemon: Monitor, job: str, told: Callable[[float], None]) -> dict[str, Any]:
        """Wait for the end of a job; what the daemon says of it then."""
        deadline = time.monotonic() + COPY_WITHIN
        while True:
            ended = daemon.event("BLOCK_JOB_COMPLETED", LOOK_EVERY, device=job)
            if ended is not None:
                return ended
            if time.monotonic() > deadline:
                raise ExportBusy("The copy takes too long.")
            for one in daemon.execute("query-block-jobs"):
                if one["device"] == job and one["len"]:
                    told(100.0 * one["offset"] / one["len"])

    def _arguments(self, serving: Serving, listener: int) -> list[str]:
        image = serving.image
        server: dict[str, Any] = {"addr": {"type": "fd", "str": str(listener)}}
        keys = []
        if serving.keys:
            server["tls-creds"] = "keys"
            told = {"qom-type": "tls-creds-psk", "id": "keys", "endpoint": "server"}
            keys = ["--object", json.dumps({**told, "dir": serving.keys})]
        node = {
            "node-name": _node(image),
            "driver": image.format,
            "read-only": serving.read_only,
            "discard": "unmap",
            "file": {"driver": "file", "filename": image.path, "discard": "unmap"},
        }
        export = {
            "type": "nbd",
            "id": serving.mark,
            "node-name": _node(image),
            "name": serving.name,
            "writable": not serving.read_only,
            "writethrough": serving.write_through,
        }
        path = str(self._monitor).replace(",", ",,")
        return [
            *("--daemonize", "--pidfile", str(self._pid)),
            *("--chardev", f"socket,id=monitor,path={path},server=on,wait=off"),
            *("--monitor", "chardev=monitor"),
            *keys,
            *("--blockdev", json.dumps(node)),
            *("--nbd-server", json.dumps(server)),
            *("--export", json.dumps(export)),
        ]

    @contextmanager
    def _process(self) -> Iterator[tuple[int, int] | None]:
        """Process id and pidfd of the running daemon."""
        deadline = time.monotonic() + START_WITHIN
        while self.running():
            try:
                pid = int(self._pid.read_text())
                pidfd = os.pidfd_open(pid)
            except (FileNotFoundError, ValueError, ProcessLookupError):
                # Another process began to start it and died; it writes its id in a moment.
                if time.monotonic() > deadline:
                    raise ExportBusy(f"{PROGRAM} has written no process id.") from None
                time.sleep(0.005)
                continue
            try:
                # Still alive, so the id was its own when we opened it, not a successor's.
                yield (pid, pidfd) if self.running() else None
            finally:
                os.close(pidfd)
            return
        yield None


def _run(command: list[str], log: IO[str], descriptors: tuple[int, ...]) -> bool:
    """Whether the daemon started; it has said in the log why not."""
    try:
        started = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=descriptors,
            cwd="/",
            timeout=START_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExportBusy(f"{PROGRAM} does not start.") from error
    return started.returncode == 0


def _node(image: Image) -> str:
    return "n" + hashlib.sha256(image.path.encode()).hexdigest()[:30]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
