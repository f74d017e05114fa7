"""The image service of a stage: images on a shelf, which survives every crash.

Each look at it, and each change of it, is an effect of the actor who asks. The images' bytes are
one word each, and there are no files: drivers of the stage only note which image they were given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from breezeblock.images.base import Image, ImageService, NewImage
from breezeblock.images.staging import Progress, Staged
from breezeblock.model.errors import NotFound
from tests.crash.stage import Actor

GIB = 1 << 30
IMAGE = "1a6e0000-0000-4000-8000-000000000001"
"""The image that is there from the first day."""


def _first() -> dict[str, Image]:
    image = Image(id=IMAGE, name="debian", status="active", disk_format="raw", visibility="public")
    return {IMAGE: image}


@dataclass(frozen=True)
class Shelf:
    """Images, and the bytes of those that have some."""

    images: dict[str, Image] = field(default_factory=_first)
    contents: dict[str, bytes] = field(default_factory=lambda: {IMAGE: b"Debian"})

    def copy(self) -> Shelf:
        return Shelf(dict(self.images), dict(self.contents))

    def state(self) -> Any:
        shown = {(one.id, one.name, one.status) for one in self.images.values()}
        return frozenset(shown), frozenset(self.contents.items())

    def find(self, ident: str) -> Image:
        if ident not in self.images:
            raise NotFound("Image", ident)
        return self.images[ident]

    def content(self, ident: str) -> bytes:
        if ident not in self.contents:
            raise NotFound("Image", ident)
        return self.contents[ident]

    def announce(self, image: NewImage) -> Image:
        if image.id not in self.images:
            told = {"id": image.id, "name": image.name, "disk_format": image.disk_format}
            self.images[image.id] = Image(**told, status="queued", owner=image.owner)
        return self.images[image.id]

    def fill(self, ident: str, content: bytes) -> None:
        image = self.find(ident)
        if ident not in self.contents:
            self.contents[ident] = content
            self.images[ident] = msgspec.structs.replace(image, status="active", size=len(content))

    def discard(self, ident: str) -> None:
        if ident not in self.contents:
            self.images.pop(ident, None)


class ShelfDoor(ImageService):
    """An actor's way to the shelf."""

    checks_tokens = False

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    @property
    def _shelf(self) -> Shelf:
        shelf: Shelf = self._actor.stage.outside.shelf
        return shelf

    async def find(self, name_or_id: str, *, token: str | None = None) -> Image:
        return await self._actor.effect("image", "find", lambda: self._shelf.find(name_or_id))

    async def read(self, image_id: str) -> AsyncIterator[bytes]:
        yield await self._actor.effect("image", "read", lambda: self._shelf.content(image_id))

    async def create(self, image: NewImage, *, token: str | None = None) -> Image:
        return await self._actor.effect("image", "create", lambda: self._shelf.announce(image))

    async def write(self, image_id: str, content: AsyncIterator[bytes]) -> None:
        whole = b"".join([part async for part in content])
        await self._actor.effect("image", "write", lambda: self._shelf.fill(image_id, whole))

    async def discard(self, image_id: str) -> None:
        await self._actor.effect("image", "discard", lambda: self._shelf.discard(image_id))


class StagingDoor:
    """Stands where a volume service fetches images into files (`images/staging.py`)."""

    def __init__(self, images: ImageService) -> None:
        self._images = images

    @asynccontextmanager
    async def fetch(
        self, image_id: str, name: str, told: Progress, chosen: Mapping[str, str]
    ) -> AsyncIterator[Staged]:
        await self._images.find(image_id)
        async for _part in self._images.read(image_id):
            await told(100.0)
        yield Staged(staged_at(image_id), "raw", GIB)


class Packed:
    """A volume's content on its way; there is no file."""

    async def content(self, told: Progress) -> AsyncIterator[bytes]:
        yield b"a disk"
        await told(100.0)


class PackingDoor:
    """Stands where a volume service copies volumes into files (`images/packing.py`)."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    @asynccontextmanager
    async def pack(
        self, source: Any, disk_format: str, size: int, name: str, told: Progress
    ) -> AsyncIterator[Packed]:
        yield await self._actor.effect("driver", "qemu-img", Packed)


def staged_at(image_id: str) -> Path:
    """The file that a driver is given; it is not there."""
    return Path("/images", image_id)
