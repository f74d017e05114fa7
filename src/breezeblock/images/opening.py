"""The image service that the configuration asks for."""

from __future__ import annotations

from pathlib import Path

import httpx2

from breezeblock.auth.keystone_client import ServiceToken
from breezeblock.config import Config
from breezeblock.images.base import ImageService
from breezeblock.images.folder import Folder
from breezeblock.images.glance import FixedToken, Glance
from breezeblock.images.scratch import Scratch


def open_images(config: Config) -> ImageService:
    """Glance where one is configured, else the folder. Touches neither yet."""
    images = config.images
    if not images.endpoint:
        return Folder(Path(images.folder or config.data_dir / "images").absolute())
    return Glance(images.endpoint, _own_identity(config))


def open_scratch(config: Config) -> Scratch:
    """Where a volume service keeps images on their way."""
    return Scratch(Path(config.images.scratch or config.data_dir / "scratch").absolute(), "image-")


def _own_identity(config: Config) -> httpx2.Auth | None:
    if config.auth.strategy == "keystone":
        return ServiceToken(config.auth.keystone)
    return FixedToken(config.images.token) if config.images.token else None
