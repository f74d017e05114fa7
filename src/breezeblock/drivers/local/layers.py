"""The files that hold the bytes: raw ones, and qcow2 overlays that stand on another layer.

The driver makes a layer as a draft, fills it, and names it in a manifest. Layers have names of
their own (`<uuid>.raw`, `<uuid>.qcow2`), so a file never stands for two things in its life.

Two directories stand beside them. `disposable` has an empty file for each layer that we may remove
once no manifest leads to it: drafts, and what a deletion dereferences. A layer without one is never
removed: when nothing leads to it, somebody may have lost a manifest. It is set aside, in
`lost+found`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import struct
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

from breezeblock.drivers.base import Image as DiskImage
from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.drivers.patience import Told
from breezeblock.drivers.qemu_convert import run_with_progress
from breezeblock.exports.files import remove, sync_directory, try_lock
from breezeblock.exports.storage_daemon import PACKAGES, Image
from breezeblock.images.qemu_img import bounded

log = logging.getLogger(__name__)

Format = Literal["raw", "qcow2"]

GIB = 1 << 30
FICLONE = 0x40049409
QUICK = 30.0
"""Seconds that qemu-img may take for work which does not depend on the volume's size."""

_QCOW2_HEADER = struct.Struct(">4sIQIIQIIQ")  # up to the place of the first table
_CHUNK = 64 << 20


class Layers:
    """The layers of a backend, in one directory. `reflinks` is known after `probe`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.marks = directory.with_name("disposable")
        self.lost_and_found = directory.with_name("lost+found")
        self.reflinks = False

    def probe(self) -> None:
        """Find out whether the file system can share blocks between files."""
        with self.draft("raw") as one, self.draft("raw") as other:
            one.write_bytes(b"\0" * 4096)
            self.reflinks = _reflink(one, other)
            one.unlink()
            other.unlink()

    @contextmanager
    def draft(self, kind: Format) -> Iterator[Path]:
        """A new, empty file, safe from sweeps during the body, which names it in a manifest.

        When the body fails the file is removed; when the process dies, a sweep does it.
        """
        path, descriptor = self._locked_file(kind)
        try:
            self.mark([path.name])
            yield path
        except BaseException:
            self.remove(path.name)
            raise
        else:
            # It lasts before anybody writes to the layer: from then on it is not ours to remove.
            self.unmark(path.name)
        finally:
            os.close(descriptor)

    def blank(self, draft: Path, size: int) -> None:
        """Fill the draft with `size` GiB of zeros, which take no space."""
        os.truncate(draft, size * GIB)
        self._sync(draft)

    def overlay(self, draft: Path, base: str, size: int) -> None:
        """Fill the draft with the base's content, and zeros up to `size` GiB, copying nothing."""
        create = ("create", "-q", "-u", "-f", "qcow2", "-b", base, "-F", kind_of(base))
        _qemu_img(*create, str(draft), str(size * GIB), patience=QUICK)
        self._sync(draft)

    def duplicate(self, draft: Path, base: str, size: int, told: Told) -> None:
        """Fill the draft (raw) with a copy of the base, and zeros up to `size` GiB.

        Nobody may write to the base meanwhile, unless the file system has reflinks.
        """
        source = self.directory / base
        if kind_of(base) == "qcow2":
            converting = ("convert", "-p", "-U", "-f", "qcow2", "-O", "raw")
            run_with_progress(["qemu-img", *converting, str(source), str(draft)], told)
        else:
            self._copy(source, draft, told)
        os.truncate(draft, size * GIB)
        self._sync(draft)

    def fill(self, draft: Path, image: DiskImage, size: int, told: Told) -> None:
        """Fill the draft (raw) with the disk in an image file, and zeros up to `size` GiB."""
        if image.format == "raw":
            self._copy(image.path, draft, told)
        else:
            converting = ("convert", "-p", "-f", image.format, "-O", "raw")
            try:
                run_with_progress(bounded(*converting, str(image.path), str(draft)), told)
            except TemporaryError as error:  # it was inspected, and is damaged further in
                raise PermanentError(str(error), remedy="Choose another image.") from error
        if draft.stat().st_size > size * GIB:
            raise PermanentError(f"The disk in the image does not fit into {size} GiB.")
        os.truncate(draft, size * GIB)
        self._sync(draft)

    def grow(self, name: str, size: int) -> None:
        """Make the layer at least `size` GiB; nobody has it open."""
        path = self.directory / name
        if kind_of(name) == "raw":
            if path.stat().st_size < size * GIB:
                os.truncate(path, size * GIB)
        elif self._header(name)[5] < size * GIB:
            _qemu_img("resize", "-q", "-f", "qcow2", str(path), str(size * GIB), patience=QUICK)
        self._sync(path)

    def mark(self, names: Iterable[str]) -> None:
        """Say that these are disposable as soon as no manifest leads to them."""
        for name in names:
            (self.marks / name).touch()

    def unmark(self, name: str) -> None:
        """Say, durably, that the layer is not disposable."""
        remove(self.marks / name)

    def marked(self) -> set[str]:
        return {path.name for path in self.marks.iterdir()}

    def remove(self, name: str) -> None:
        (self.directory / name).unlink(missing_ok=True)
        (self.marks / name).unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Move a file that we cannot account for to `lost+found`; where that fails it stays."""
        path, kept = self.directory / name, self.lost_and_found / name
        size = path.stat().st_size
        try:
            self.lost_and_found.mkdir(mode=0o700, exist_ok=True)
            if kept.exists():
                raise FileExistsError(f"{kept} is there already")
            path.rename(kept)
        except OSError as error:
            log.warning("No manifest leads to %s (%d bytes); it stays: %s", path, size, error)
        else:
            log.warning("No manifest leads to %s (%d bytes): moved to %s", path, size, kept)

    def lost(self) -> set[str]:
        """The layers that were set aside."""
        try:
            found = list(self.lost_and_found.iterdir())
        except OSError:  # none yet; or a file system's own, which is not for us to see
            return set()
        return {path.name for path in found if path.suffix in (".raw", ".qcow2")}

    def flush(self, name: str) -> None:
        """Bring what was written to the layer to the disk; hosts may go on writing."""
        with (self.directory / name).open("rb") as file:
            os.fdatasync(file.fileno())

    def chain(self, name: str) -> list[str]:
        """The layer and those it stands on, the top one first."""
        found = [name]
        while (below := self.below(found[-1])) is not None:
            found.append(below)
        return found

    def below(self, name: str) -> str | None:
        """The layer that this one stands on."""
        if kind_of(name) == "raw":
            return None
        _, _, offset, length, *_ = self._header(name)
        if not length:
            return None
        with self._find(name).open("rb") as file:
            return os.pread(file.fileno(), length, offset).decode()

    def untouched(self, name: str) -> bool:
        """Whether an overlay has no content of its own yet; nobody has it open."""
        if kind_of(name) == "raw":
            return False
        *_, entries, offset = self._header(name)
        with (self.directory / name).open("rb") as file:
            return not any(os.pread(file.fileno(), 8 * entries, offset))

    def size(self, name: str) -> int | None:
        """GiB that the layer really has, rounded down; None if it or one below is missing."""
        try:
            sizes = [self._virtual_size(one) for one in self.chain(name)]
        except FileNotFoundError:
            return None
        return sizes[0] // GIB

    def empty(self, name: str) -> bool:
        """Whether the file is as a draft begins, before it is marked."""
        return (self.directory / name).stat().st_size == 0

    def names(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()}

    def used_bytes(self) -> int:
        """What all layers take on the disk."""
        total = 0
        for path in self.directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512
        return total

    def image(self, name: str) -> Image:
        """The layer as a storage daemon opens it."""
        return Image(str(self.directory / name), kind_of(name))

    def _header(self, name: str) -> tuple[bytes, int, int, int, int, int, int, int, int]:
        """magic, version, backing file's offset and length, cluster bits, size in bytes, cipher,
        entries of the first table, its offset (QEMU's docs/interop/qcow2.txt)."""
        with self._find(name).open("rb") as file:
            start = file.read(_QCOW2_HEADER.size)
        if len(start) < _QCOW2_HEADER.size or not start.startswith(b"QFI\xfb"):
            return (b"", 0, 0, 0, 0, 0, 0, 0, 0)  # a draft that is being made, or was
        return cast(
            tuple[bytes, int, int, int, int, int, int, int, int], _QCOW2_HEADER.unpack(start)
        )

    def _virtual_size(self, name: str) -> int:
        path = self.directory / name
        found = path.stat().st_size
        return found if kind_of(name) == "raw" else self._header(name)[5]

    def _find(self, name: str) -> Path:
        path, lost = self.directory / name, self.lost_and_found / name
        return lost if not path.exists() and lost.exists() else path

    def _locked_file(self, kind: Format) -> tuple[Path, int]:
        while True:
            path = self.directory / f"{uuid.uuid4().hex}.{kind}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            # A sweep that saw the file before we had locked it may have removed it.
            if try_lock(descriptor) and path.exists():
                return path, descriptor
            os.close(descriptor)

    def _copy(self, source: Path, draft: Path, told: Told) -> None:
        if not (self.reflinks and _reflink(source, draft)):
            _copy_data(source, draft, told)

    def _sync(self, path: Path) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sync_directory(self.directory)


def kind_of(name: str) -> Format:
    return "raw" if name.endswith(".raw") else "qcow2"


def have_tools() -> bool:
    """Whether QEMU's tools, which overlays need, are installed."""
    return shutil.which("qemu-img") is not None


def _reflink(source: Path, target: Path) -> bool:
    """Share all of the source's blocks with the target; False where that is not possible."""
    with source.open("rb") as origin, target.open("r+b") as copy:
        try:
            fcntl.ioctl(copy.fileno(), FICLONE, origin.fileno())
        except OSError:
            return False
    return True


def _copy_data(source: Path, target: Path, told: Told) -> None:
    """Copy the parts that hold data; holes stay holes."""
    with source.open("rb") as origin, target.open("r+b") as copy:
        end = os.fstat(origin.fileno()).st_size
        position = 0
        while position < end:
            try:
                position = os.lseek(origin.fileno(), position, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                break
            hole = os.lseek(origin.fileno(), position, os.SEEK_HOLE)
            while position < hole:
                length = min(hole - position, _CHUNK)
                position += _copy_range(origin.fileno(), copy.fileno(), length, position)
                told(100.0 * position / end)
        os.truncate(copy.fileno(), end)


def _copy_range(origin: int, copy: int, length: int, position: int) -> int:
    """Copy a part to the same place; by the kernel's quickest way, or by the one that always goes.

    Returns how many bytes it were.
    """
    try:
        return os.copy_file_range(origin, copy, length, position, position)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    os.lseek(copy, position, os.SEEK_SET)
    return os.sendfile(copy, origin, position, length)


def _qemu_img(*arguments: str, patience: float | None = None) -> None:
    try:
        done = subprocess.run(
            ["qemu-img", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
    except FileNotFoundError as error:
        raise PermanentError("qemu-img is not installed.", remedy=f"{PACKAGES}.") from error
    except subprocess.TimeoutExpired as error:
        raise TemporaryError(f"qemu-img {arguments[0]} takes too long.") from error
    if done.returncode != 0:
        raise TemporaryError(f"qemu-img {arguments[0]} failed: {done.stderr.strip()}")
