"""Processes that die in the middle of a driver's method, at a place that the test chooses.

A driver changes the world through calls that Python reports to audit hooks (files, sockets,
processes), and by requests over connections that are kept open, which drivers report themselves.
`Crasher` runs one method in a child process whose hook kills it with SIGKILL just before the n-th
such call. No driver needs to know more; what a driver does is counted, not listed.

The children are forks of one helper process (this module, run as a program), which has everything
imported already.
"""

from __future__ import annotations

import base64
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breezeblock.drivers.netapp.client import REQUEST_EVENT
from tests.contract.drivers import CASES, patiently

EFFECTS = {
    REQUEST_EVENT,
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
    "shutil.rmtree",
    "socket.bind",
    "socket.connect",
    "subprocess.Popen",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Ended:
    """How the method ended: "killed" before the chosen effect, "done", or what it raised."""

    how: str
    effects: int


class Crasher:
    """Runs methods in processes of their own."""

    def __init__(self) -> None:
        self._helper = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.crashing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def run(
        self,
        case: str,
        root: Path,
        method: str,
        *arguments: Any,
        die_at: int = 0,
        **options: Any,
    ) -> Ended:
        """Call the method of a driver over the backend there, `case` naming one of `CASES`, in a
        new process, which dies before its effect number `die_at`."""
        request = (case, root, method, arguments, options, die_at)
        assert self._helper.stdin is not None and self._helper.stdout is not None
        self._helper.stdin.write(base64.b64encode(pickle.dumps(request)).decode() + "\n")
        how, effects = self._helper.stdout.readline().rsplit(maxsplit=1)
        return Ended(how, int(effects))

    def close(self) -> None:
        self._helper.communicate()


def _serve() -> None:
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _perform(base64.b64decode(line), writing)
        os.close(writing)
        with os.fdopen(reading) as told:
            said = told.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            print(f"killed {said.count('.')}", flush=True)
        else:
            print(f"{said.lstrip('.') or 'done'} {said.count('.')}", flush=True)


def _perform(request: bytes, report: int) -> None:
    """In the child: report a dot for each effect, and what was raised; never returns."""
    case, root, method, arguments, options, die_at = pickle.loads(request)
    try:
        driver = next(one for one in CASES if one.name == case).new(root)
        driver.setup()
        _arm(report, die_at)
        patiently(getattr(driver, method), *arguments, **options)
    except BaseException as error:
        os.write(report, type(error).__name__.encode())
    os._exit(0)


def _arm(report: int, die_at: int) -> None:
    effects = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal effects
        if event in EFFECTS or (event == "open" and arguments[2] & WRITING):
            effects += 1
            if effects == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(report, b".")

    sys.addaudithook(hook)


if __name__ == "__main__":
    _serve()
