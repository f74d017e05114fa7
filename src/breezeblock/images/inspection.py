"""What an image file really is, found out before anything that follows it opens it.

A disk image can name other files (a backing file, a file for its data, extents), and whoever opens
it reads them: an image of three lines would show its owner the files of this machine. So every file
is looked at here first, by oslo.utils' inspectors, which follow nothing. `inspect` holds it against
what the image service says of it; only what passes is given to `qemu-img`, and then with its
format, because a raw disk may begin with anything. `detect` says what a file seems to be, for image
files that nobody has described.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from breezeblock.images import qemu_img

if TYPE_CHECKING:  # each function that looks into a file imports it: most processes never do
    from oslo_utils.imageutils import format_inspector as oslo

GIB = 1 << 30

RAW = frozenset({"raw", "iso", "ami", "ari", "aki"})
"""Image formats whose bytes are the disk's."""
QEMU_NAMES = {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"} | {
    "ploop": "parallels"
}
"""The other formats that volumes can be made from, with QEMU's names for them."""
SUFFIXES = {"vpc": "vhd", "img": None, "bin": None, "": None} | {
    name: name for name in ("raw", "iso", *QEMU_NAMES)
}
"""What a file's suffix says of its format; None: nothing."""

_CHUNK = 64 << 10
_PLOOP_MAGICS = (b"WithoutFreeSpace", b"WithouFreSpacExt")
_PLOOP_HEADER = struct.Struct("<32xIQ20x")  # entries of its table, sectors of the disk
_PLOOP_TABLE_AT = 64
_SECTOR = 512
_VDI_HEADER = struct.Struct("<344xI28xI8xI")  # where data begin, bytes of a block, blocks there are


class Refused(Exception):
    """No volume is made of this file; the text says why, for the user."""


class Inspected(msgspec.Struct, frozen=True):
    """A file that may be opened: as QEMU names its format, and the size of the disk in it."""

    format: str
    virtual_bytes: int


def inspect(path: Path, disk_format: str | None, *, max_gigabytes: int) -> Inspected:
    """Hold the file against what the image service says it is. Raises Refused."""
    if disk_format is None:
        raise Refused("The image has no disk format.")
    if path.stat().st_size == 0:
        raise Refused("The image's file is empty.")
    if disk_format in RAW:
        found = Inspected("raw", _of_raw(path, disk_format))
    elif disk_format in QEMU_NAMES:
        found = _of_container(path, disk_format)
    else:
        known = ", ".join(sorted(("raw", "iso", *QEMU_NAMES)))
        raise Refused(f"Its format {disk_format} is none of {known}.")
    if found.virtual_bytes > max_gigabytes * GIB:
        raise Refused(
            f"The disk in it has {_in_gib(found.virtual_bytes)} GiB, {max_gigabytes} are allowed."
        )
    return found


def detect(path: Path) -> tuple[str, int | None]:
    """The image format that a file seems to have, and the size of the disk in it when that is
    plain. Promises nothing: `inspect` does."""
    if _is_ploop(path):
        return "ploop", _ploop_size(path)
    names = {str(one): one for one in _matches(path)}
    for name in ("iso", "gpt", "luks", "raw"):  # bootable discs have partitions, too
        if name in names:
            return ("iso" if name == "iso" else "raw"), path.stat().st_size
    (name, found), *_ = names.items()
    return name, _quietly(lambda: found.virtual_size)


def _of_raw(path: Path, disk_format: str) -> int:
    if disk_format == "iso" and "iso" not in {str(one) for one in _matches(path)}:
        raise Refused("The image says it is a CD or DVD (iso), its file is not one.")
    return path.stat().st_size


def _of_container(path: Path, disk_format: str) -> Inspected:
    if disk_format == "ploop":
        if not _is_ploop(path):
            raise Refused("The image says it is of format ploop, its file is not.")
        size = _ploop_size(path)
    else:
        size = _checked_size(path, disk_format)
    if size is None:
        raise Refused("The image's file is damaged or cut off: it does not say its size.")
    told = _ask_qemu(path, QEMU_NAMES[disk_format])
    if told.backing_filename or told.full_backing_filename or _data_file(told):
        raise Refused("The image leads to another file.")
    if not _is_whole(path, disk_format):
        raise Refused("The image's file is damaged or cut off: some of its data are not there.")
    # QEMU rounds some formats up to whole cylinders: what it says is what a copy would have.
    return Inspected(QEMU_NAMES[disk_format], max(size, told.virtual_size))


def _checked_size(path: Path, disk_format: str) -> int | None:
    from oslo_utils.imageutils import format_inspector as oslo

    matches = _matches(path)
    found = {str(one): one for one in matches}
    if set(found) != {disk_format}:
        seems = " and ".join(sorted(found))
        raise Refused(
            f"The image says it is of format {disk_format}, its file seems to be {seems}."
        )
    inspector = found[disk_format]
    try:
        inspector.safety_check()
    except oslo.SafetyCheckFailed as error:
        why = "; ".join(f"{name}: {failure}" for name, failure in sorted(error.failures.items()))
        raise Refused(f"The image is not safe to open ({why}).") from error
    except oslo.ImageFormatError as error:
        raise Refused(f"The image's file is damaged or cut off ({error}).") from error
    return _quietly(lambda: inspector.virtual_size)


def _matches(path: Path) -> list[oslo.FileInspector]:
    """Every format that the file could be; `raw` only when it is no other."""
    from oslo_utils.imageutils import format_inspector as oslo

    with path.open("rb") as file:
        wrapper = oslo.InspectWrapper(file)
        while wrapper.read(_CHUNK):
            if wrapper.formats:
                break
        wrapper.close()
        return list(wrapper.formats or ())


def _quietly(size: Callable[[], int]) -> int | None:
    """A size out of a header that may be damaged."""
    from oslo_utils.imageutils import format_inspector as oslo

    try:
        return size() or None
    except (ValueError, LookupError, TypeError, struct.error, oslo.ImageFormatError):
        return None


def _is_ploop(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_PLOOP_MAGICS[0])) in _PLOOP_MAGICS


def _ploop_size(path: Path) -> int | None:
    """The size of the disk in a ploop image; None when not even its table is whole."""
    with path.open("rb") as file:
        start = file.read(_PLOOP_HEADER.size)
    if len(start) < _PLOOP_HEADER.size:
        return None
    entries, sectors = _PLOOP_HEADER.unpack(start)
    whole = path.stat().st_size >= _PLOOP_TABLE_AT + 4 * entries
    return sectors * _SECTOR if whole else None


class _Told(msgspec.Struct, rename="kebab"):
    """What `qemu-img info` says."""

    virtual_size: int
    backing_filename: str | None = None
    full_backing_filename: str | None = None
    format_specific: dict[str, object] | None = None


def _ask_qemu(path: Path, qemu_format: str) -> _Told:
    """The disk as QEMU sees it, within bounds of memory and time. Raises Refused."""
    try:
        told = qemu_img.run("info", "-U", "-f", qemu_format, "--output=json", str(path))
        return msgspec.json.decode(told, type=_Told)
    except (qemu_img.Failed, msgspec.DecodeError) as error:
        why = str(error).replace(str(path), "file")
        raise Refused(f"QEMU cannot read the image's file ({why}).") from error


def _is_whole(path: Path, disk_format: str) -> bool:
    """Whether the data are there that the file's tables lead to: who reads what lies behind the
    file's end gets zeros, and no error. Raises Refused when that takes too long."""
    try:
        checked = qemu_img.check(path, QEMU_NAMES[disk_format])
    except qemu_img.Failed as error:
        raise Refused(f"The image's file cannot be checked ({error}).") from error
    size = path.stat().st_size
    if disk_format == "vdi" and size < _vdi_needs(path):  # QEMU does not look
        return False
    if disk_format == "ploop" and size < checked.image_end_offset:  # QEMU forgives the last one
        return False
    return checked.sound


def _vdi_needs(path: Path) -> int:
    """How many bytes a VDI file has at least, as its header says; it has a whole one."""
    with path.open("rb") as file:
        begin, block, blocks = _VDI_HEADER.unpack(file.read(_VDI_HEADER.size))
    return int(begin + block * blocks)


def _data_file(told: _Told) -> bool:
    specific = (told.format_specific or {}).get("data")
    return isinstance(specific, dict) and "data-file" in specific


def _in_gib(size: int) -> int:
    return -(-size // GIB)
