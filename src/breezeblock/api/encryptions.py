"""Encryption over HTTP: how volumes of a type are to be encrypted, and how a volume is.

The id in paths that change something names nothing: a type has one encryption.
"""

from __future__ import annotations

from typing import Any, Literal

from breezeblock.api.access import owner_of
from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.model.encryptions import Encryption
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.volumes import Volume
from breezeblock.store import encryptions, volume_types, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.call import Reply
from breezeblock.web.routes import Route
from breezeblock.web.types import (
    UNSET,
    Body,
    Count,
    LooseBody,
    Text,
    UnsetType,
    timestamp,
)

Location = Literal["front-end", "back-end"]


class NewEncryption(LooseBody, frozen=True):
    """What encrypts, where (on the host or in the backend), and how."""

    provider: Text
    control_location: Location
    cipher: Text | UnsetType | None = UNSET
    key_size: Count | UnsetType | None = UNSET


class CreateEncryption(Body, frozen=True):
    encryption: NewEncryption


class EncryptionChanges(Body, frozen=True):
    provider: Text | UnsetType = UNSET
    control_location: Location | UnsetType = UNSET
    cipher: Text | UnsetType | None = UNSET
    key_size: Count | UnsetType | None = UNSET


class UpdateEncryption(Body, frozen=True):
    encryption: EncryptionChanges


def _given(wanted: NewEncryption | EncryptionChanges) -> dict[str, Any]:
    values = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    return {name: value for name, value in values.items() if value is not UNSET}


# -- types ------------------------------------------------------------------------------------


def view(encryption: Encryption) -> dict[str, Any]:
    return {
        "encryption_id": encryption.encryption_id,
        "cipher": encryption.cipher,
        "key_size": encryption.key_size,
        "provider": encryption.provider,
        "control_location": encryption.control_location,
        "volume_type_id": encryption.volume_type_id,
        "deleted_at": None,
        "deleted": False,
        "created_at": timestamp(encryption.created_at),
        "updated_at": timestamp(encryption.updated_at),
    }


async def show_of_type(call: ApiCall) -> dict[str, Any]:
    """All that is said; nothing when volumes of the type are not encrypted."""
    type_id = call.params["type_id"]

    def read(tx: ReadTx) -> Encryption | None:
        volume_types.get(tx, type_id)
        return encryptions.find(tx, type_id)

    found = await call.app.store.read(read)
    return {} if found is None else view(found)


async def show_key_of_type(call: ApiCall) -> dict[str, Any]:
    shown, key = await show_of_type(call), call.params["key"]
    if key not in shown:
        raise NotFound(f"Encryption of volume type {call.params['type_id']}:", key)
    return {key: shown[key]}


async def create(call: ApiCall) -> dict[str, Any]:
    type_id, given = call.params["type_id"], _given(call.body.encryption)

    def insert(tx: WriteTx) -> str:
        ident = new_id()
        made = Encryption(encryption_id=ident, volume_type_id=type_id, created_at=tx.now, **given)
        encryptions.insert(tx, made)
        return ident

    ident = await call.app.store.write(insert)
    return {"encryption": {**given, "volume_type_id": type_id, "encryption_id": ident}}


async def update(call: ApiCall) -> dict[str, Any]:
    type_id, given = call.params["type_id"], _given(call.body.encryption)
    await call.app.store.write(lambda tx: encryptions.update(tx, type_id, **given))
    return {"encryption": given}


async def delete(call: ApiCall) -> None:
    type_id = call.params["type_id"]
    await call.app.store.write(lambda tx: encryptions.delete(tx, type_id))


# -- volumes ----------------------------------------------------------------------------------


async def show_of_volume(call: ApiCall) -> dict[str, Any]:
    """What a hypervisor needs to know to use the volume."""
    volume_id, project = call.params["volume_id"], seen_by(call)

    def read(tx: ReadTx) -> tuple[Volume, Encryption | None]:
        volume = volumes.get(tx, volume_id, project)
        return volume, encryptions.find(tx, volume.volume_type_id)

    volume, found = await call.app.store.read(read)
    call.require("volume_extension:volume_encryption_metadata", owner_of(volume))
    shown: dict[str, Any] = {"encryption_key_id": volume.encryption_key_id}
    if found is not None:
        for key in ("control_location", "cipher", "key_size", "provider"):
            shown[key] = getattr(found, key)
    return shown


async def show_key_of_volume(call: ApiCall) -> Reply:
    """The bare value, as text; nothing when it is null."""
    shown, key = await show_of_volume(call), call.params["key"]
    if key not in shown:
        raise InvalidInput(f"Volume {call.params['volume_id']} has no {key[:255]} of encryption.")
    if shown[key] is None:
        return Reply()
    return Reply(str(shown[key]).encode(), headers={"content-type": "text/plain; charset=UTF-8"})


_TAGS = ("encryption",)
_RULE = "volume_extension:volume_type_encryption"
_TYPE = "/types/{type_id}/encryption"
_VOLUME = "/volumes/{volume_id}/encryption"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        _TYPE,
        show_of_type,
        policy=f"{_RULE}:get",
        summary="Show how volumes of a type are to be encrypted",
        tags=_TAGS,
    ),
    Route(
        "POST",
        _TYPE,
        create,
        body=CreateEncryption,
        policy=f"{_RULE}:create",
        summary="Say how volumes of a type are to be encrypted",
        tags=_TAGS,
    ),
    Route(
        "GET",
        f"{_TYPE}/{{key}}",
        show_key_of_type,
        policy=f"{_RULE}:get",
        summary="Show one thing of it",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        f"{_TYPE}/{{key}}",
        update,
        body=UpdateEncryption,
        policy=f"{_RULE}:update",
        summary="Change it; no volume may have the type",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        f"{_TYPE}/{{key}}",
        delete,
        policy=f"{_RULE}:delete",
        success=202,
        summary="Have volumes of a type not encrypted",
        tags=_TAGS,
    ),
    Route(
        "GET",
        _VOLUME,
        show_of_volume,
        summary="Show how a volume is encrypted",
        tags=_TAGS,
    ),
    Route(
        "GET",
        f"{_VOLUME}/{{key}}",
        show_key_of_volume,
        summary="Show one thing of it as plain text",
        tags=_TAGS,
    ),
)
