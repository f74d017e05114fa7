"""Volumes of the block storage service as the compute API sees them: may this one be attached?"""

from __future__ import annotations

from http import HTTPStatus

from breezeblock.compute.api.application import ApiCall
from breezeblock.compute.block_storage import BlockStorage, BlockStorageError, Volume
from breezeblock.model.errors import InvalidInput, InvalidState, NotFound, Unavailable

MULTIATTACH = (2, 60)
"""The first version whose clients may attach a volume to several servers."""


async def visible_volume(call: ApiCall, storage: BlockStorage, volume_id: str) -> Volume:
    """The volume, if block storage shows it and it is the caller's. Raises NotFound, Unavailable.

    A service user sees every project's volumes, so the project is looked at here, too.
    """
    try:
        volume = await call.outside(lambda: storage.volume(volume_id))
    except BlockStorageError as error:
        raise refusal(error, volume_id) from error
    owned = volume.project_id in (None, call.identity.project_id)
    if not owned and not call.identity.is_admin:
        raise NotFound("Volume", volume_id)
    return volume


def refusal(error: BlockStorageError, volume_id: str) -> Exception:
    """What block storage's answer to a request for a volume means to our client."""
    if error.status == HTTPStatus.NOT_FOUND:
        return NotFound("Volume", volume_id)
    if error.status == HTTPStatus.BAD_REQUEST:
        return InvalidInput(error.message)
    return Unavailable(error.message)


def check_attachable(volume: Volume, *, multiattach_allowed: bool) -> None:
    """Whether a server may be given the volume. Raises InvalidState, InvalidInput."""
    if volume.multiattach and not multiattach_allowed:
        raise InvalidInput(
            f"Volume {volume.id} may be attached to several servers: this needs compute API "
            f"version {MULTIATTACH[0]}.{MULTIATTACH[1]} or later."
        )
    shared = volume.multiattach and volume.status in ("in-use", "reserved", "attaching")
    if volume.status != "available" and not shared:
        raise InvalidState(
            f"Invalid volume: Volume {volume.id} status must be available, not {volume.status}."
        )
