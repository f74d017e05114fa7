"""One tgtd of our own: starting, stopping, standing still, and the commands it is told with.

It listens on a loopback address and a control socket that nobody else uses, so any number of
simulators run side by side. It keeps no configuration: a new one starts empty.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import time
from pathlib import Path

_SOCKET = "tgt"  # relative to the folder: a socket's path may be no longer than 107 bytes
_TGTD = ("setpriv", "--pdeathsig", "KILL", "tgtd", "-f", "-C", "0", "-t", "2")
_PATIENCE = 10.0
_VENDOR, _PRODUCT = "NETAPP", "LUN C-Mode"
_NAA = "600a0980"  # NetApp's part of a LUN's world-wide name
_IN_USE = ("this logical unit is still active", "this target is still active")


class TgtError(Exception):
    """tgtd refused a command, or is not there."""


class StillInUseError(TgtError):
    """Commands of a host are being worked on; that passes."""


class Tgt:
    """A tgtd process whose control socket and log are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.portal = ("", 0)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. It dies with the thread that starts it."""
        end_leftovers(self.folder)
        # An address that is as good as ours alone: where tgtd cannot listen it would listen to all.
        address = f"127.{64 + secrets.randbelow(190)}.{_octet()}.{_octet()}"
        self.portal = (address, 10_000 + secrets.randbelow(20_000))
        with (self.folder / "tgtd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*_TGTD, "--iscsi", "portal={}:{}".format(*self.portal)],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(TgtError):
                portals = self._tell("--mode", "portal", "--op", "show")
                if portals.split() == ["Portal:", "{}:{},1".format(*self.portal)]:
                    return
            if self.dead or time.monotonic() > deadline:
                log = (self.folder / "tgtd.log").read_text(errors="replace")
                raise TgtError(f"tgtd does not start: {log.strip()[-500:]}")
            time.sleep(0.01)

    @property
    def dead(self) -> bool:
        return self._process is None or _has_ended(self._process, 0)

    def wait(self) -> None:
        """Until it has ended."""
        if self._process is not None:
            _has_ended(self._process, None)

    def kill(self) -> None:
        """End it at once: it ignores polite signals while it has targets."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Let it stand still. Back from here, no thread of it is inside a write."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while not self.dead and not all(map(_stands_still, _entries(threads))):
            time.sleep(0.001)

    def go_on(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def add_target(self, target: int, name: str) -> None:
        self._tell("--mode", "target", "--op", "new", "--tid", str(target), "-T", name)
        self._tell("--mode", "target", "--op", "bind", "--tid", str(target), "-I", "ALL")

    def remove_target(self, target: int) -> None:
        """StillInUseError while a session is open."""
        self._tell("--mode", "target", "--op", "delete", "--tid", str(target))

    def add_unit(self, target: int, number: int, path: Path, serial: str) -> None:
        unit = ["--mode", "logicalunit", "--tid", str(target), "--lun", str(number)]
        self._tell(*unit, "--op", "new", "-b", str(path.resolve()))
        # Sectors are of 512 bytes, eight of them physically one; what is unmapped is freed.
        identity = (
            f"vendor_id={_VENDOR},product_id={_PRODUCT},product_rev=9999,scsi_sn={serial},"
            f"scsi_id={naa(serial)},lbppbe=3,thin_provisioning=1"
        )
        try:
            self._tell(*unit, "--op", "update", "--params", identity)
        except TgtError:
            self.remove_unit(target, number)
            raise

    def remove_unit(self, target: int, number: int) -> None:
        """StillInUseError while commands are worked on; afterwards its file is closed."""
        unit = ["--mode", "logicalunit", "--tid", str(target), "--lun", str(number)]
        self._tell(*unit, "--op", "delete")

    def _tell(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ["tgtadm", "-C", "0", "--lld", "iscsi", *arguments],
                cwd=self.folder,
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TgtError(f"tgtd does not answer to {' '.join(arguments)}") from error
        if done.returncode:
            message = done.stderr.strip()
            kind = StillInUseError if any(hint in message for hint in _IN_USE) else TgtError
            raise kind(f"tgtadm {' '.join(arguments)}: {message}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "TGT_IPC_SOCKET": _SOCKET}


def naa(serial: str) -> str:
    """The world-wide name of the LUN with that serial number."""
    return _NAA + serial.encode("ascii").hex()


def end_leftovers(folder: Path) -> None:
    """Kill a tgtd that somebody who is gone has left behind in that folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().strip() != "tgtd":
                continue
            if not (process / "cwd").readlink().samefile(folder):
                continue
            leftover = os.pidfd_open(int(process.name))
            try:
                signal.pidfd_send_signal(leftover, signal.SIGKILL)
            finally:
                os.close(leftover)
            while process.exists() and _state(process) != "Z":
                time.sleep(0.005)
    for name in (f"{_SOCKET}.0", f"{_SOCKET}.0.lock"):
        (folder / name).unlink(missing_ok=True)


def _has_ended(process: subprocess.Popen[bytes], timeout: float | None) -> bool:
    """Whether it ended within that time. It is not reaped: several threads may ask."""
    if process.returncode is not None:
        return True
    handle = os.pidfd_open(process.pid)
    try:
        return bool(select.select([handle], [], [], timeout)[0])
    finally:
        os.close(handle)


def _octet() -> int:
    return 1 + secrets.randbelow(254)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _stands_still(thread: Path) -> bool:
    return _state(thread) in ("T", "Z", "")


def _state(process: Path) -> str:
    """The letter of a process or thread in /proc; empty when it is gone."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
