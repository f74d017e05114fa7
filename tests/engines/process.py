"""A server process that belongs to the tests: what the engines have in common.

The subclasses say what to run and when it answers; this file finds ports, starts, stops, kills and
freezes. The servers ask the kernel to be killed when the tests die (`setpriv --pdeathsig`). The
kernel counts the death of the *thread* that started them, and tests restart servers from threads
that end early, so one thread that lives as long as the interpreter starts them all.
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engines")

PREFIX = "breezeblock-engine-"
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class EngineMissing(RuntimeError):
    """The machine lacks a server that the tests need; the text names the Debian package."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server runs: its address, and what its command is run by (a namespace's entry)."""

    address: str = "127.0.0.1"
    entry: tuple[str, ...] = ()


HERE = Place()


class PrivateServer(ABC):
    """One server with its data in a temporary directory, kept across stop, kill and start."""

    def __init__(self, name: str, place: Place = HERE) -> None:
        sweep()
        self.place = place
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-{name}-"))
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """The program to run; it must stay in the foreground and end on SIGTERM or SIGINT."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client would be served now."""

    def _environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8"}

    stop_signal = signal.SIGTERM

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server, which leads a session of its own. Only while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when clients are served. A server that runs already is left alone."""
        if self.running:
            return
        self._process = _starter.submit(self._spawn).result()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                self._end()
                raise RuntimeError(f"{self._name} did not start:\n{self.log()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it the polite way; data stay for the next start()."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._end()

    def kill(self) -> None:
        """SIGKILL all its processes; what it has written so far is there for the next start()."""
        self._end()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        """Kill it and delete its data."""
        self._end()
        shutil.rmtree(self.home, ignore_errors=True)
        atexit.unregister(self.remove)

    def log(self) -> str:
        """The end of what the server has printed."""
        path = self.home / "output.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self.home / "output.log").open("ab") as output:
            return subprocess.Popen(
                [*self.place.entry, *self._command()],
                cwd=self.home,
                env=dict(self._environment()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _end(self) -> None:
        if self._process is not None:
            self._signal_all(signal.SIGKILL)
            self._process.wait()

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        for pid in [self._process.pid, *descendants(self._process.pid)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def free_port() -> int:
    """A free loopback port below the ephemeral range.

    Inside that range a client that keeps trying a dead server's port may be given the very port
    as its own and end up connected to itself.
    """
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        port = random.randrange(10_000, max(first_ephemeral, 20_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free loopback port")


def sweep() -> None:
    """Delete what test processes that were killed have left behind."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(path, ignore_errors=True)


def descendants(pid: int) -> list[int]:
    """All processes below `pid`: servers put helpers in sessions of their own."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        parents.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


S = TypeVar("S", bound=PrivateServer)


@contextmanager
def started(server: S) -> Iterator[S]:
    """The server, running within; nothing of it is left afterwards."""
    try:
        server.start()
        yield server
    finally:
        server.remove()
