"""Images as the API meets them: which one the caller means, whether he may see it, whether it fits,
and what a volume keeps of it."""

from __future__ import annotations

from uuid import UUID

import msgspec

from breezeblock.api.application import ApiCall
from breezeblock.images.base import Image
from breezeblock.images.inspection import GIB
from breezeblock.model.errors import InvalidInput, NotFound

EVERYBODYS = ("public", "community")
KEPT = ("checksum", "container_format", "disk_format", "min_disk", "min_ram", "size")
VOLUME_TYPE = "cinder_img_volume_type"
"""The image property that names the type of volumes made from it."""


async def find(call: ApiCall, named: str, key: str) -> Image:
    """The image that `key` of the request names: by id, by a URL that ends in one, or by name.

    Raises InvalidInput when there is none that the caller may see, Conflict for an ambiguous name,
    Unavailable.
    """
    images = call.app.images
    if images is None:
        raise InvalidInput(f"{key}: this deployment has no image service to read images from.")
    token = token_of(call) if images.checks_tokens else None
    try:
        image = await call.outside(lambda: images.find(_meant(named), token=token))
    except NotFound:
        raise _unknown(key, named) from None
    if token is None and not _may_see(call, image):
        raise _unknown(key, named)
    return image


def check_usable(image: Image, size: int, key: str) -> None:
    """Whether a volume of `size` GiB can be made of it. Raises InvalidInput."""
    if image.status != "active":
        raise InvalidInput(f"{key}: image {image.id} is {image.status}, it must be active.")
    if image.min_disk > size:
        raise InvalidInput(f"size: the image asks for {image.min_disk} GiB at least, not {size}.")
    needed = -(-(image.virtual_size or image.size or 0) // GIB)
    if needed > size:
        raise InvalidInput(f"size: the disk in the image has {needed} GiB, {size} are too few.")


def metadata(image: Image) -> dict[str, str]:
    """What a volume shows of the image that it was made from."""
    kept = {key: getattr(image, key) for key in KEPT}
    return {
        **image.properties,
        **{key: str(value) for key, value in kept.items() if value is not None},
        "image_id": image.id,
        "image_name": image.name or "",
    }


class _Device(msgspec.Struct, frozen=True):
    """What Nova notes in an image that stands for the snapshots of a server's volumes."""

    source_type: str = ""
    boot_index: int | None = None
    snapshot_id: str | None = None


def snapshot_meant(image: Image) -> str | None:
    """The volume snapshot that an image without bytes stands for."""
    noted = image.properties.get("block_device_mapping")
    if image.size or not noted:
        return None
    try:
        devices = msgspec.json.decode(noted, type=list[_Device])
    except msgspec.DecodeError:
        return None
    for device in devices:
        if device.source_type == "snapshot" and device.boot_index == 0:
            return device.snapshot_id
    return None


def token_of(call: ApiCall) -> str | None:
    """The caller's own token, where it is one that the image service can ask Keystone about."""
    keystone = call.app.config.auth.strategy == "keystone"
    return call.headers.get("x-auth-token") if keystone else None


def _may_see(call: ApiCall, image: Image) -> bool:
    own = image.owner in (None, call.identity.project_id)
    return own or image.visibility in EVERYBODYS or call.identity.is_admin


def _meant(named: str) -> str:
    last = named.rpartition("/")[2]
    try:
        return str(UUID(last))
    except ValueError:
        return named


def _unknown(key: str, named: str) -> InvalidInput:
    return InvalidInput(f"{key}: the image {named} could not be found.")
