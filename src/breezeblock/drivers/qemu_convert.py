"""`qemu-img convert` as drivers use it: it copies for long, and says how far it is."""

from __future__ import annotations

import os
import re
import subprocess

from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.drivers.patience import Told
from breezeblock.exports.storage_daemon import PACKAGES

_PERCENT = re.compile(rb"\(([0-9.]+)/100%\)")


def run_with_progress(command: list[str], told: Told) -> None:
    """Run `qemu-img … -p`, and tell how far it is. Raises TemporaryError, PermanentError."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except FileNotFoundError as error:
        raise PermanentError("qemu-img is not installed.", remedy=f"{PACKAGES}.") from error
    with process:
        assert process.stdout is not None
        last = b""
        while part := os.read(process.stdout.fileno(), 4096):
            last = (last + part)[-4096:]
            found = _PERCENT.findall(part)
            if found:
                told(float(found[-1]))
    if process.returncode != 0:
        said = _PERCENT.sub(b"", last).decode(errors="replace").strip()
        raise TemporaryError(f"qemu-img failed: {said}")
