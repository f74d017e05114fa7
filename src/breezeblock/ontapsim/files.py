"""LUN files: sparse, one a LUN; made, grown, copied and measured.

A copy costs what is allocated in the source, or nothing where the file system shares extents. It
appears under its name when it is whole, so it may also replace a file that is being served: whoever
has that open keeps the old one (`Unit.generation` says that there is a new one).
"""

from __future__ import annotations

import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h: share all extents of another file
_STEP = 64 << 20  # what one copy_file_range asks for


def make(path: Path, size: int) -> None:
    """A new file of that length with nothing in it. One that is there is an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.truncate(size)
        os.fsync(file.fileno())
    _sync_name(path)


def resize(path: Path, size: int) -> None:
    """Give the file that length; what is beyond it is gone."""
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def copy(source: Path, destination: Path) -> None:
    """Put a copy of the file at `destination`, in place of what may be there."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f"{destination.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with source.open("rb") as origin, part.open("xb") as target:
            if not _share(origin.fileno(), target.fileno()):
                _copy_allocated(origin.fileno(), target.fileno())
            os.fsync(target.fileno())
        part.replace(destination)
    finally:
        part.unlink(missing_ok=True)
    _sync_name(destination)


def used(path: Path) -> int:
    """The bytes that are allocated to the file."""
    return path.stat().st_blocks * 512


def remove(path: Path) -> None:
    """Delete the file; one that is gone already is fine."""
    path.unlink(missing_ok=True)
    if path.parent.exists():
        _sync_name(path)


def _share(origin: int, target: int) -> bool:
    """Make the target share the origin's extents; False where that cannot be."""
    try:
        fcntl.ioctl(target, _FICLONE, origin)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV):
            return False
        raise
    return True


def _copy_allocated(origin: int, target: int) -> None:
    size = os.fstat(origin).st_size
    os.ftruncate(target, size)
    for start, end in _allocated(origin, size):
        _copy_range(origin, target, start, end)


def _allocated(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file's data are, from start to end."""
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only holes follow
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(origin: int, target: int, start: int, end: int) -> None:
    while start < end:
        try:
            count = os.copy_file_range(origin, target, min(end - start, _STEP), start, start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
            count = os.pwrite(target, os.pread(origin, min(end - start, 1 << 20), start), start)
        if count == 0:  # the source was made shorter meanwhile
            return
        start += count


def _sync_name(path: Path) -> None:
    """Make the folder's entry as durable as the file."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
