"""`qemu-img` on files of other people: never without a format, and within bounds.

A crafted header can make it take all memory or run for ever, so that its address space is limited
and, for what does not depend on the disk's size, its processor time (`prlimit`, where it is there).
"""

from __future__ import annotations

import shutil
import subprocess

MEMORY = 2 << 30
"""Bytes of address space that it may take; big images need some hundred MiB."""
SECONDS = 30
"""Of processor time, for what is quick."""


class Failed(Exception):
    """It is not installed, or it could not do it; the text says why."""


def run(*arguments: str) -> str:
    """Run a command that is quick, whatever the disk's size; what it prints. Raises Failed."""
    try:
        done = subprocess.run(
            bounded(*arguments, seconds=SECONDS),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=2 * SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise Failed("qemu-img is not installed") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"qemu-img {arguments[0]} takes too long") from None
    if done.returncode != 0:
        raise Failed(done.stderr.strip() or f"qemu-img {arguments[0]}: {done.returncode}")
    return done.stdout


def bounded(*arguments: str, seconds: int | None = None) -> list[str]:
    """The command line that keeps `qemu-img` within bounds."""
    command = ["qemu-img", *arguments]
    if shutil.which("prlimit") is None:
        return command
    time = [] if seconds is None else [f"--cpu={seconds}"]
    return ["prlimit", f"--as={MEMORY}", *time, "--", *command]
