"""The image service as block storage sees it: Glance, or a folder of image files.

Both sides of the service use it. The API asks on behalf of its caller (`token`), so that nobody
makes a volume of an image that he must not see; volume services fetch and store bytes with the
service's own rights. Sizes are bytes unless a name says GiB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, Literal

import msgspec

Visibility = Literal["community", "public", "private", "shared"]


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What the image service says of an image. `properties` are its custom ones, as text.

    `size` is the file's, None while it has none; `min_disk` is GiB, `min_ram` MiB.
    """

    id: str
    name: str | None
    status: str
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    owner: str | None = None
    visibility: str = "private"
    protected: bool = False
    properties: Mapping[str, str] = {}


class NewImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a volume's content is to become; `id` is ours to choose, so that asking twice
    makes one image."""

    id: str
    name: str
    disk_format: str
    container_format: str
    visibility: Visibility = "private"
    protected: bool = False
    min_disk: int = 0
    min_ram: int = 0
    owner: str | None = None
    properties: Mapping[str, str] = {}


class ImageService(ABC):
    """Where images are. Every call raises Unavailable when it cannot be asked now."""

    checks_tokens: ClassVar[bool]
    """Whether it knows its callers, and shows each what he may see. Otherwise whoever asks on a
    caller's behalf compares `visibility` and `owner` himself."""

    @abstractmethod
    async def find(self, name_or_id: str, *, token: str | None = None) -> Image:
        """The image, if the token's owner may see it; without a token, with our own rights.

        An id comes first, then a name. Raises NotFound, Conflict when several have the name.
        """

    @abstractmethod
    def read(self, image_id: str) -> AsyncIterator[bytes]:
        """The bytes of the image's file. Raises NotFound."""

    @abstractmethod
    async def create(self, image: NewImage, *, token: str | None = None) -> Image:
        """Announce an image without bytes; one with this id that is ours is returned as it is."""

    @abstractmethod
    async def write(self, image_id: str, content: AsyncIterator[bytes]) -> None:
        """Give an announced image its bytes. One that has its bytes already keeps them."""

    @abstractmethod
    async def discard(self, image_id: str) -> None:
        """Remove an announced image that got no bytes; one that is gone, or whole, stays so."""

    async def close(self) -> None:  # noqa: B027 - a folder has none
        """Let go of connections."""
