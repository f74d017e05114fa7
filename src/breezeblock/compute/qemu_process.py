"""QEMU as a process of the host: start it so that it outlives us, tell whether it lives, kill it.

Called by `qemu`. A QEMU holds a record lock on its pid file for as long as it lives; asking the
kernel who holds that lock answers "is it alive, and under which pid", for any process at any time:
no zombie, no reused pid and no file left behind by a crash can mislead it.

An agent run by systemd needs KillMode=process, else systemd kills the guests with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

from breezeblock.compute.hypervisor import HostError

BINARY = "qemu-system-x86_64"
_FLOCK = "hhqqi"  # struct flock of 64-bit Linux: type, whence, start, length, pid
_PROBE_TIMEOUT = 30.0
_DEATH_TIMEOUT = 10.0


def find_binary() -> str:
    """Path of the emulator; HostError with the remedy when it is not installed."""
    found = shutil.which(BINARY)
    if found is None:
        raise HostError(
            f"{BINARY} is not installed on this host, so it can run no guests.",
            remedy="On Debian or Ubuntu: apt-get install qemu-system-x86",
        )
    return found


def version(binary: str) -> str:
    """The first line of --version."""
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def probe_accelerator(binary: str) -> Literal["kvm", "tcg"]:
    """Find out by trying: /dev/kvm may be there and be of no use (nested machines, permissions)."""
    if not Path("/dev/kvm").exists():
        return "tcg"
    command = [binary, "-accel", "kvm", "-cpu", "host", "-machine", "q35", "-m", "16", "-S"]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "stdio"]
    try:
        done = subprocess.run(
            command, input=b"quit\n", capture_output=True, timeout=_PROBE_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return "tcg"
    return "kvm" if done.returncode == 0 else "tcg"


def holder(pid_file: Path) -> int | None:
    """Pid of the living QEMU that wrote this pid file, None when it is dead."""
    try:
        descriptor = os.open(pid_file, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, question)
    finally:
        os.close(descriptor)
    kind, _, _, _, pid = struct.unpack(_FLOCK, answer)
    return None if kind == fcntl.F_UNLCK else int(pid)


async def launch(
    command: Sequence[str], *, log: Path, ready: Callable[[], Awaitable[bool]], patience: float
) -> None:
    """Start QEMU, and return when it is `ready`, after `patience` seconds at most.

    HostError with QEMU's last words when it ends before that.
    """
    process = _spawn(command, log)
    deadline = asyncio.get_running_loop().time() + patience
    while not await ready():
        if process.returncode is not None:
            said = _text(log) or f"it ended with status {process.returncode}"
            raise HostError(f"QEMU did not start: {said}")
        if asyncio.get_running_loop().time() > deadline:
            process.kill()
            raise HostError(f"QEMU was not ready after {patience:.0f} s.", temporary=True)
        await asyncio.sleep(0.01)


def _spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own: it lives on when we end, and init adopts it.

    As long as we live a thread of ours waits for its end.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process


def _text(log: Path) -> str:
    return log.read_text(errors="replace").strip()


async def kill(pid_file: Path) -> None:
    """End the QEMU at once, and return when it is gone; a dead one is no error."""
    pid = holder(pid_file)
    if pid is None:
        return
    descriptor = os.pidfd_open(pid)
    try:
        if holder(pid_file) == pid:  # still the same process: the pid was not reused in between
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)
    if not await gone(pid_file, _DEATH_TIMEOUT):
        raise HostError(f"QEMU process {pid} does not die.", temporary=True)


async def gone(pid_file: Path, patience: float) -> bool:
    """Wait until the QEMU is dead, at most `patience` seconds."""
    deadline = asyncio.get_running_loop().time() + patience
    while holder(pid_file) is not None:
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
