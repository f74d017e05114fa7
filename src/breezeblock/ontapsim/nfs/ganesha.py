"""A ganesha of our own: its configuration, its folder, its process, and another one when it dies.

It listens on a private port and believes that it has told the machine's portmapper so: it sees a
`/run` of its own (a mount namespace), with a socket in it that agrees to everything. It dies with
this process, and is ended hard: what it has acknowledged is in the files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from breezeblock.ontapsim.nfs import client, portmapper
from breezeblock.ontapsim.nfs.listener import Listener

PRIVATE = "127.0.0.1"
_READY_WITHIN = 30.0
_ATTEMPTS = 5
_BREATH = 0.2

_START = 'mount --bind "$1" /run && shift && exec setpriv --pdeathsig KILL "$@"'


class GaneshaError(OSError):
    """Ganesha does not start."""


class Ganesha:
    """Serves junctions (folders by their paths) at `nfs` and `mount`, from `start` to `stop`.

    `directory` is its own. Export numbers are part of the handles that hosts hold, so they stay the
    same as long as a folder is served, through every restart: the caller chooses them.
    """

    def __init__(self, directory: Path, exports: Mapping[int, tuple[str, Path]]) -> None:
        self.nfs, self.mount = (PRIVATE, 0), (PRIVATE, 0)
        self._directory = directory
        self._exports = exports
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._error: Exception | None = None
        self._watch = threading.Thread(target=self._keep, name="ganesha", daemon=True)
        self._registry: Listener | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Returns when it serves."""
        run = self._directory / "run"
        for folder in (run, self._directory / "recovery"):
            folder.mkdir(parents=True, exist_ok=True)
        self._registry = Listener(_unix_listener(run, "rpcbind.sock"), portmapper.believe)
        self._watch.start()
        self._ready.wait()
        if self._error is not None:
            self.stop()
            raise self._error

    def stop(self) -> None:
        self._stopping.set()
        self._kill()
        self._watch.join()
        if self._registry is not None:
            self._registry.close()

    @contextmanager
    def still(self) -> Iterator[None]:
        """It writes nothing meanwhile; what it has acknowledged is in the files."""
        with self._guard:  # it is not replaced by one that runs
            process = self._process
            if process is None or process.poll() is not None:
                yield
                return
            process.send_signal(signal.SIGSTOP)
            try:
                _wait_until_stopped(process.pid)
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)

    def remove(self, junction: str, name: str) -> None:
        """Delete a file of the junction. OSError when that does not work, or it is not there."""
        client.remove(self.mount, self.nfs, junction, name)

    def _kill(self) -> None:
        with self._guard:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def _keep(self) -> None:
        """Start it, and again when it has died. It dies with the thread that starts it: this."""
        while not self._stopping.is_set():
            try:
                self._start_one()
            except Exception as error:
                if not self._ready.is_set():
                    self._error = error
                    self._ready.set()
                    return
            self._ready.set()
            if self._process is not None:
                self._process.wait()
            self._stopping.wait(_BREATH)

    def _start_one(self) -> None:
        for _ in range(_ATTEMPTS):
            ports = _free_ports(2)
            with self._guard:
                if self._stopping.is_set():
                    return
                self._process = self._spawn(*ports)
            if self._serves(ports[0]):
                self.nfs, self.mount = (PRIVATE, ports[0]), (PRIVATE, ports[1])
                return
            if self._stopping.is_set():
                return
            self._kill()
            self._process.wait()
        raise GaneshaError(
            "nfs-ganesha does not start: it needs root, its VFS module, and a file system with file"
            f" handles; see {self._directory}/ganesha.log and .err."
            " A seed whose interfaces have no data_nfs does without."
        )

    def _spawn(self, nfs_port: int, mount_port: int) -> subprocess.Popen[bytes]:
        here = self._directory
        (here / "ganesha.conf").write_text(self._configuration(nfs_port, mount_port))
        ganesha = ("ganesha.nfsd", "-F", "-f", f"{here}/ganesha.conf")
        files = ("-L", f"{here}/ganesha.log", "-p", f"{here}/ganesha.pid")
        return subprocess.Popen(
            ("unshare", "--mount", "sh", "-c", _START, "sh", f"{here}/run", *ganesha, *files),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(here / "ganesha.err").open("wb"),
            start_new_session=True,
        )

    def _serves(self, port: int) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + _READY_WITHIN
        while self._process.poll() is None and time.monotonic() < deadline:
            if client.answers((PRIVATE, port)):
                return True
            if self._stopping.wait(0.02):
                return False
        return False

    def _configuration(self, nfs_port: int, mount_port: int) -> str:
        # Files come and go behind its back, so it must not remember names and attributes.
        head = f"""
NFS_CORE_PARAM {{
    Protocols = 3; Bind_addr = {PRIVATE}; NFS_Port = {nfs_port}; MNT_Port = {mount_port};
    Enable_UDP = false; Enable_NLM = false; Enable_RQUOTA = false; mount_path_pseudo = true;
}}
NFSV4 {{ RecoveryRoot = "{self._directory}/recovery"; Graceless = true; }}
MDCACHE {{ Dir_Chunk = 0; }}
EXPORT_DEFAULTS {{ Attr_Expiration_Time = 0; }}
LOG {{ Default_Log_Level = WARN; }}
"""
        return head + "".join(
            f"""
EXPORT {{
    Export_Id = {number}; Path = "{folder}"; Pseudo = "{junction}";
    Access_Type = RW; Squash = No_Root_Squash; SecType = sys; Protocols = 3; Transports = TCP;
    FSAL {{ Name = VFS; }}
}}
"""
            for number, (junction, folder) in sorted(self._exports.items())
        )


def _unix_listener(folder: Path, name: str) -> socket.socket:
    """A listening socket in a folder, however long the folder's path is."""
    (folder / name).unlink(missing_ok=True)
    place = os.open(folder, os.O_PATH)
    try:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"/proc/self/fd/{place}/{name}")
        listening.listen()
        return listening
    finally:
        os.close(place)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((PRIVATE, 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def _wait_until_stopped(pid: int) -> None:
    """Until no thread of it runs: one that is in a system call stops when that is done."""
    while True:
        try:
            states = [_state(task) for task in Path(f"/proc/{pid}/task").iterdir()]
        except FileNotFoundError:
            return
        if all(state in "TtZX" for state in states):
            return
        time.sleep(0.001)


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
