"""`qemu-img` on files of other people: never without a format, and within bounds.

A crafted header can make it take all memory or run for ever, so that its address space is limited
and, for what does not depend on the disk's size, its processor time (`prlimit`, where it is there).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

MEMORY = 2 << 30
"""Bytes of address space that it may take; big images need some hundred MiB."""
SECONDS = 30
"""Of processor time, for what is quick."""
_NOTHING_LOST = frozenset({0, 3, 63})
"""What `check` ends with when it finds no errors, room that nobody uses, and a format that it does
not know how to check."""


class Failed(Exception):
    """It is not installed, or it could not do it; the text says why."""


class Checked(msgspec.Struct, frozen=True, rename="kebab"):
    """What `check` says. `image_end_offset`: where the last of the file's clusters ends."""

    sound: bool = True
    image_end_offset: int = 0


def run(*arguments: str) -> str:
    """Run a command that is quick, whatever the disk's size; what it prints. Raises Failed."""
    done = _finished(*arguments, errors=subprocess.PIPE)
    if done.returncode != 0:
        raise Failed(done.stderr.strip() or f"qemu-img {arguments[0]}: {done.returncode}")
    return done.stdout


def check(path: Path, qemu_format: str) -> Checked:
    """Whether everything is where the file's own tables say it is. Raises Failed.

    What it says of errors is not kept: there is a line for each of what may be millions.
    """
    command = ("check", "-U", "-f", qemu_format, "--output=json", str(path))
    done = _finished(*command, errors=subprocess.DEVNULL)
    if done.returncode not in _NOTHING_LOST:
        return Checked(sound=False)
    try:
        return msgspec.json.decode(done.stdout, type=Checked)
    except msgspec.DecodeError:  # of a format that it does not check
        return Checked()


def _finished(*arguments: str, errors: int) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            bounded(*arguments, seconds=SECONDS),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            timeout=2 * SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise Failed("qemu-img is not installed") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"qemu-img {arguments[0]} takes too long") from None


@contextmanager
def objects(secrets: Mapping[str, str]) -> Iterator[list[str]]:
    """Arguments that give `qemu-img` secrets by their ids; valid during the body.

    They are in files that nobody else may read: a command line is for all to see.
    """
    with tempfile.TemporaryDirectory(prefix="breezeblock-secrets-") as directory:
        arguments = []
        for number, (ident, secret) in enumerate(secrets.items()):
            path = Path(directory, str(number))
            path.write_text(secret)
            described = {"qom-type": "secret", "id": ident, "file": str(path)}
            arguments += ["--object", json.dumps(described)]
        yield arguments


def bounded(*arguments: str, seconds: int | None = None) -> list[str]:
    """The command line that keeps `qemu-img` within bounds."""
    command = ["qemu-img", *arguments]
    if shutil.which("prlimit") is None:
        return command
    time = [] if seconds is None else [f"--cpu={seconds}"]
    return ["prlimit", f"--as={MEMORY}", *time, "--", *command]
