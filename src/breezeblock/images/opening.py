"""The image service that the configuration asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from breezeblock.config import Config
from breezeblock.images.base import ImageService
from breezeblock.images.folder import Folder
from breezeblock.images.scratch import Scratch
from breezeblock.images.staging import Staging

if TYPE_CHECKING:
    import httpx2


def open_images(config: Config) -> ImageService:
    """Glance where one is configured, else the folder. Touches neither yet."""
    images = config.images
    if not images.endpoint:
        return Folder(Path(images.folder or config.data_dir / "images").absolute())
    from breezeblock.images.glance import Glance  # not loaded where it is not used

    return Glance(images.endpoint, _own_identity(config))


def open_staging(config: Config, service: ImageService) -> Staging:
    """How a volume service fetches images, and where it keeps those on their way."""
    scratch = Path(config.images.scratch or config.data_dir / "scratch").absolute()
    return Staging(service, Scratch(scratch, "image-"), config.images.max_virtual_gigabytes)


def _own_identity(config: Config) -> httpx2.Auth | None:
    from breezeblock.auth.keystone_client import ServiceToken
    from breezeblock.images.glance import FixedToken

    if config.auth.strategy == "keystone":
        return ServiceToken(config.auth.keystone)
    return FixedToken(config.images.token) if config.images.token else None
