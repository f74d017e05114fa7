"""Images on their way into volumes: fetched into a file of this host, and looked at.

A volume service has one `Staging`. The file is new each time and gone when its user is done: who
fetches an image again, because a process died or a lease ran out, disturbs nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec

from breezeblock.images.base import Image, ImageService
from breezeblock.images.inspection import GIB, RAW, Refused, inspect
from breezeblock.images.scratch import Scratch, end_thin, write_thin

COMPARED = ("size", "checksum", "disk_format")
"""What must not have changed of an image since somebody chose it."""
Progress = Callable[[float], Awaitable[None]]
"""Told how far the work is, in percent; what it raises ends the work."""


class Staged(msgspec.Struct, frozen=True):
    """An image's file on this host, which may be opened with this format, in QEMU's words."""

    path: Path
    format: str
    virtual_bytes: int


class Staging:
    """Fetches images. `max_gigabytes`: the largest disk that one may hold."""

    def __init__(self, service: ImageService, scratch: Scratch, max_gigabytes: int) -> None:
        self.scratch = scratch
        self._service = service
        self._max_gigabytes = max_gigabytes

    @asynccontextmanager
    async def fetch(
        self, image_id: str, name: str, told: Progress, chosen: Mapping[str, str]
    ) -> AsyncIterator[Staged]:
        """The image in a file that is there during the body. `chosen`: what was said of it then.

        Raises NotFound, Unavailable; Refused when it is not what it says, or must not be opened;
        OSError when it finds no room.
        """
        image = await self._service.find(image_id)
        self._check(image)
        _check_unchanged(image, chosen)
        kept = self.scratch.file(name)
        path, file = await asyncio.to_thread(kept.__enter__)
        try:
            await self._fill(file, image, told)
            look = partial(inspect, path, image.disk_format, max_gigabytes=self._max_gigabytes)
            found = await asyncio.to_thread(look)
            yield Staged(path, found.format, found.virtual_bytes)
        finally:
            await asyncio.to_thread(kept.__exit__, None, None, None)

    def _check(self, image: Image) -> None:
        """What can be said without the file. Raises Refused."""
        if image.status != "active":
            raise Refused(f"Its status is {image.status}, it must be active.")
        if image.disk_format in RAW and (image.size or 0) > self._max_gigabytes * GIB:
            raise Refused(f"It has more than {self._max_gigabytes} GiB.")

    async def _fill(self, file: BinaryIO, image: Image, told: Progress) -> None:
        """Write the image's bytes into the file. Raises Refused when they are not what was said."""
        written = 0
        digest = hashlib.md5(usedforsecurity=False)

        def write(chunk: bytes) -> None:
            digest.update(chunk)
            write_thin(file, chunk)  # volumes keep the holes

        async for chunk in self._service.read(image.id):
            await asyncio.to_thread(write, chunk)
            written += len(chunk)
            if image.size is not None:
                if written > image.size:
                    raise Refused(f"It has more than the {image.size} bytes that it says.")
                await told(100.0 * written / (image.size or 1))
        await asyncio.to_thread(end_thin, file)
        if image.size is not None and written != image.size:
            raise Refused(f"It has {written} bytes, {image.size} are said.")
        if image.checksum and image.checksum != digest.hexdigest():
            raise Refused("Its bytes do not have the checksum that is said.")


def _check_unchanged(image: Image, chosen: Mapping[str, str]) -> None:
    """Nobody gets another image than he chose under the same id. Raises Refused."""
    for key in COMPARED:
        was, is_now = chosen.get(key), getattr(image, key)
        if was is not None and is_now is not None and was != str(is_now):
            what = key.replace("_", " ")
            raise Refused(
                f"It was replaced after the request: its {what} was {was}, and is {is_now} now."
            )
