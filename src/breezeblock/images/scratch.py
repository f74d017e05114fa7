"""Files on their way: whole and renamed, or gone, also when their maker is killed.

A scratch file is locked by whoever fills it (flock, which dies with the process), so that the next
one to come can tell what is left over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 64 << 10


def write_thin(file: BinaryIO, chunk: bytes) -> None:
    """Write what comes next, zeros as holes: they take no room. The writer ends with `end_thin`."""
    for start in range(0, len(chunk), BLOCK):
        block = chunk[start : start + BLOCK]
        if block.count(0) == len(block):
            file.seek(len(block), os.SEEK_CUR)
        else:
            file.write(block)


def end_thin(file: BinaryIO) -> None:
    """The file ends here, also when that is in a hole."""
    file.truncate(file.tell())


class Scratch:
    """The scratch files of one directory: those whose names begin with `prefix`."""

    def __init__(self, directory: Path, prefix: str = "") -> None:
        self.directory = directory
        self.prefix = prefix

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[tuple[Path, BinaryIO]]:
        """A new, empty file, removed at the end unless it was renamed meanwhile."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, file = self._locked(name)
        try:
            yield path, file
        finally:
            file.close()
            path.unlink(missing_ok=True)

    def _locked(self, name: str) -> tuple[Path, BinaryIO]:
        while True:
            path = self.directory / f"{self.prefix}{name}.{os.urandom(4).hex()}"
            file = path.open("xb")
            # A `clear` that saw the file before we had locked it may have removed it.
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists():
                    return path, file
            file.close()

    def clear(self) -> None:
        """Remove what dead processes have left."""
        for path in self.directory.glob(f"{self.prefix}*"):
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: in use
                path.unlink()
