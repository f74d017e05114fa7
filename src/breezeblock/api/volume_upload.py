"""os-volume_upload_image: copy a volume into a new image.

The image's id is chosen with the volume's status, then the image service is asked as the caller,
who is told at once when it does not want the image; the bytes follow from the volume service.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from breezeblock.api.access import locked_volume
from breezeblock.api.application import ApiCall
from breezeblock.api.image_source import KEPT, token_of
from breezeblock.api.volume_actions import volume_action
from breezeblock.images.base import Image, NewImage, Visibility
from breezeblock.images.packing import WRITABLE
from breezeblock.model import volumes as rules
from breezeblock.model.errors import BreezeblockError, Conflict, InvalidInput, InvalidState
from breezeblock.model.ids import new_id
from breezeblock.model.volume_types import VolumeType
from breezeblock.model.volumes import Volume
from breezeblock.store import attachments, volume_types
from breezeblock.store.store import WriteTx
from breezeblock.web.microversion import Version
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Bool, Description, Text1, timestamp
from breezeblock.workflows import upload_volume

RULE = "volume_extension:volume_actions"
OF_ANOTHER_IMAGE = frozenset({*KEPT, "image_id", "image_name", "signature_verified"})
"""Image metadata that tells of the image that the volume was made from, …"""
OF_OTHER_BYTES = (
    *("img_signature", "os_hash_", "os_glance_", "cinder_encryption_key"),
    *("owner_specified.openstack.md5", "owner_specified.openstack.sha256"),
)
"""… and how such begins that tells of its very bytes."""


class Upload(Body, frozen=True):
    """The wish before 3.1."""

    image_name: Text1
    force: Bool = False
    disk_format: Literal["raw", "vmdk", "vdi", "qcow2", "vhd", "vhdx", "ploop"] = "raw"
    container_format: Description | None = "bare"

    @property
    def shown_to(self) -> Visibility:
        return "private"

    @property
    def kept(self) -> bool:
        return False


class VisibleUpload(Upload, frozen=True):
    visibility: Visibility = "private"
    protected: Bool = False

    @property
    def shown_to(self) -> Visibility:
        return self.visibility

    @property
    def kept(self) -> bool:
        return bool(self.protected)


def upload_body(version: Version) -> type:
    return VisibleUpload if version >= (3, 1) else Upload


class Begun(msgspec.Struct, frozen=True):
    """What the transaction has made."""

    operation_id: str
    image_id: str
    volume: Volume
    volume_type: VolumeType


async def upload(call: ApiCall) -> dict[str, Any]:
    wanted: Upload = call.body
    images = call.app.images
    _check_formats(wanted)
    if images is None:
        raise InvalidState("This deployment has no image service to upload to.")
    begun: Begun = await call.app.store.write(lambda tx: _begin(tx, call, wanted))
    token = token_of(call) if images.checks_tokens else None
    new = _new_image(wanted, begun, owner=call.identity.project_id)
    try:
        image = await call.outside(lambda: images.create(new, token=token))
    except BreezeblockError as error:
        why = str(error)
        await call.app.store.write(
            lambda tx: upload_volume.not_announced(tx, begun.operation_id, why)
        )
        raise
    begins = await call.app.store.write(lambda tx: upload_volume.announced(tx, begun.operation_id))
    if not begins:
        raise Conflict(f"The upload of volume {begun.volume.id} was cut short.")
    return {"os-volume_upload_image": _view(begun, image)}


def _check_formats(wanted: Upload) -> None:
    if wanted.disk_format not in WRITABLE:
        known = ", ".join(sorted(WRITABLE))
        raise InvalidInput(f"disk_format: {wanted.disk_format} cannot be written, only {known}.")
    if wanted.container_format == "compressed":
        raise InvalidInput("container_format: compressed images are not made here.")


def _begin(tx: WriteTx, call: ApiCall, wanted: Upload) -> Begun:
    volume = locked_volume(tx, call, f"{RULE}:upload_image")
    if wanted.shown_to == "public":
        call.require(f"{RULE}:upload_public")
    connected = bool(attachments.of_volume(tx, volume.id))
    rules.check_upload(volume, connected=connected)
    image_id = new_id()
    caller = call.app.caller(call)
    operation = upload_volume.submit(tx, caller, volume, image_id, wanted.disk_format)
    return Begun(operation, image_id, volume, volume_types.get(tx, volume.volume_type_id))


def _new_image(wanted: Upload, begun: Begun, *, owner: str) -> NewImage:
    """The image of a volume is as bootable as the image that the volume was made from."""
    volume = begun.volume
    known = volume.image_metadata
    return NewImage(
        id=begun.image_id,
        name=wanted.image_name,
        disk_format=wanted.disk_format,
        container_format=wanted.container_format or "bare",
        visibility=wanted.shown_to,
        protected=wanted.kept,
        min_disk=volume.size if wanted.disk_format == "raw" else 0,
        min_ram=_number(known.get("min_ram")),
        owner=owner,
        properties={
            key: value
            for key, value in known.items()
            if key not in OF_ANOTHER_IMAGE and not key.startswith(OF_OTHER_BYTES)
        },
    )


def _number(text: str | None) -> int:
    """Users write image metadata, too: what is no number counts as none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else 0


def _view(begun: Begun, image: Image) -> dict[str, Any]:
    volume, volume_type = begun.volume, begun.volume_type
    return {
        "id": volume.id,
        "updated_at": timestamp(volume.updated_at),
        "status": "uploading",
        "display_description": volume.description,
        "size": volume.size,
        "volume_type": {
            "id": volume_type.id,
            "name": volume_type.name,
            "description": volume_type.description,
            "is_public": volume_type.is_public,
        },
        "image_id": image.id,
        "container_format": image.container_format,
        "disk_format": image.disk_format,
        "image_name": image.name,
        "visibility": image.visibility,
        "protected": image.protected,
    }


ROUTES: tuple[Route, ...] = (
    volume_action(
        "os-volume_upload_image",
        upload,
        "Copy a volume into a new image",
        upload_body,
        tag="volume images",
    ),
)
