"""Files as the truth: JSON that is replaced whole, and locks that die with their holder.

The local driver keeps its manifests this way, the exports their intents. Locks are flock(2) locks
on files: they hold between processes and between threads (every `hold` opens the file anew), and
the kernel releases them when a process is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POLL = 0.005
"""Seconds between two looks at a lock that somebody else holds."""


def write_json(path: Path, content: Any) -> None:
    """Replace the file at once: whoever reads sees the old or the new content, also after a crash.

    Only one writer at a time may work on a path: the temporary name beside it is always the same,
    so that a crash leaves at most one.
    """
    scratch = path.with_name(path.name + ".tmp")
    with scratch.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)
    sync_directory(path.parent)


def read_json(path: Path) -> Any:
    """The content, or None where there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def remove(path: Path) -> None:
    """Unlink durably; a file that is not there is fine."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names that were created, renamed or removed in this directory last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Locks:
    """Named locks, each a file of one directory; the files do not pile up (see `forget`)."""

    def __init__(self, directory: Path, patience: float) -> None:
        self.directory = directory
        self.patience = patience

    @contextmanager
    def hold(
        self, name: str, *, shared: bool = False, patience: float | None = None
    ) -> Iterator[None]:
        """Hold the lock during the body. Raises TimeoutError after `patience` seconds.

        Not reentrant: a second `hold` of the same name in the same thread waits in vain.
        """
        path = self.directory / f"{name}.lock"
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        descriptor = _locked(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, deadline)
        try:
            yield
        finally:
            # Not left to close(): a child that is just being forked may have the file open, too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def forget(self, name: str) -> None:
        """Remove the lock's file. Only its holder may: waiters notice and make a new one."""
        (self.directory / f"{name}.lock").unlink(missing_ok=True)


def try_lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Take the lock of an open file, or say that somebody has it."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked(path: Path, how: int, deadline: float) -> int:
    """A descriptor that holds the lock of the file that is at `path` now, not of a removed one."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        while not try_lock(descriptor, how):
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise TimeoutError(f"{path.stem} is busy")
            time.sleep(POLL)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
