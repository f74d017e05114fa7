"""Volumes on their way into images: copied into a file of this host, in the format asked for.

A volume service has one `Packing`. The file is new each time and gone when its user is done, as
`staging` does it for the other way, and it is looked at before anybody gets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from breezeblock.images import qemu_img
from breezeblock.images.inspection import GIB, QEMU_NAMES, Refused, inspect
from breezeblock.images.scratch import Scratch
from breezeblock.images.staging import Progress

WRITABLE = frozenset({"raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx"})
"""Image formats that volumes can be copied into."""

_OPTIONS = {
    # Without it the disk would be as large as the next whole cylinder.
    "vhd": ("-o", "subformat=dynamic,force_size=on"),
    # The one that is made to be sent, and that image services expect.
    "vmdk": ("-o", "subformat=streamOptimized"),
}
_CHUNK = 1 << 20
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")


class Source(Protocol):
    """How QEMU reads a volume: a node in the words of its `BlockdevOptions`, and the secrets that
    the node refers to, by their ids (`drivers.base.Readable`)."""

    @property
    def node(self) -> Mapping[str, Any]: ...
    @property
    def secrets(self) -> Mapping[str, str]: ...


class NotMade(Exception):
    """The file could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A volume's content as an image file."""

    path: Path

    async def content(self, told: Progress) -> AsyncIterator[bytes]:
        """The file's bytes."""
        size, sent = max(self.path.stat().st_size, 1), 0
        with await asyncio.to_thread(self.path.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk
                sent += len(chunk)
                await told(100.0 * sent / size)


class Packing:
    """Makes image files. `scratch` is where they are meanwhile."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch

    @asynccontextmanager
    async def pack(
        self, source: Source, disk_format: str, size: int, name: str, told: Progress
    ) -> AsyncIterator[Packed]:
        """The content of a volume of `size` GiB, in a file that is there during the body.

        Raises NotMade; OSError when it finds no room.
        """
        kept = self._scratch.file(name)
        path, _ = await asyncio.to_thread(kept.__enter__)
        try:
            with qemu_img.objects(source.secrets) as objects:
                await _convert(source.node, objects, path, disk_format, told)
            await asyncio.to_thread(partial(_check, path, disk_format, size))
            yield Packed(path)
        finally:
            await asyncio.to_thread(kept.__exit__, None, None, None)


def _check(path: Path, disk_format: str, size: int) -> None:
    """Look at what was made as at what others have made. Raises NotMade."""
    try:
        found = inspect(path, disk_format, max_gigabytes=size)
    except Refused as error:
        raise NotMade(f"The file that was made is no good: {error}") from error
    if found.virtual_bytes != size * GIB:
        raise NotMade(f"The file that was made holds a disk of {found.virtual_bytes} bytes.")


async def _convert(
    source: Mapping[str, Any], objects: list[str], path: Path, disk_format: str, told: Progress
) -> None:
    """Have `qemu-img` copy it. Raises NotMade.

    It takes no lock on what it reads: should it outlive us, nobody has to wait for it.
    """
    command = qemu_img.bounded(
        *("convert", *objects, "-p", "-U", "-O", QEMU_NAMES.get(disk_format, disk_format)),
        *_OPTIONS.get(disk_format, ()),
        f"json:{json.dumps(source)}",
        str(path),
    )
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise NotMade("qemu-img is not installed") from None
    try:
        errors = asyncio.create_task(_read(child.stderr))
        await _follow(child.stdout, told)
        said = (await errors).decode(errors="replace").strip()
        if await child.wait() != 0:
            raise NotMade(said or f"qemu-img convert: {child.returncode}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    return await stream.read()


async def _follow(stream: asyncio.StreamReader | None, told: Progress) -> None:
    """Tell the percentages that it prints, until it is done."""
    assert stream is not None
    while said := await stream.read(4096):
        if found := _PERCENT.findall(said):
            await told(float(found[-1]))
