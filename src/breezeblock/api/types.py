"""Volume types over HTTP. Extra specs and access have files of their own."""

from __future__ import annotations

import dataclasses
from typing import Any

from msgspec import field

from breezeblock.api.application import ApiCall
from breezeblock.api.resource_filters import FILTERS
from breezeblock.api.scope import seen_by
from breezeblock.api.type_extra_specs import AnySpecs, stored, visible_specs
from breezeblock.model.errors import InvalidInput, InvalidState
from breezeblock.model.ids import new_id
from breezeblock.model.volume_types import SEEN_BY_ALL, VolumeType
from breezeblock.store import default_types, volume_types
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.query import Column, Listing, page, parse_bool, parse_list
from breezeblock.web.routes import Route
from breezeblock.web.types import UNSET, Body, Bool, Description, RequiredName, UnsetType

READ_SENSITIVE = "volume_extension:types_extra_specs:read_sensitive"


class NewType(Body, frozen=True):
    """What a new type is."""

    name: RequiredName
    description: Description | None = None
    extra_specs: AnySpecs = {}
    is_public: Bool = field(default=True, name="os-volume-type-access:is_public")


class CreateType(Body, frozen=True):
    volume_type: NewType


class TypeChanges(Body, frozen=True):
    """What may be changed later; a name or description of null stays as it is."""

    name: RequiredName | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    is_public: Bool | UnsetType = UNSET


class UpdateType(Body, frozen=True):
    volume_type: TypeChanges


# `is_public` is read by `_wanted_kind`: what it means depends on who asks.
TYPES = Listing(
    resource="volume_type",
    collection="volume_types",
    links_key="volume_type_links",
    columns={
        "id": Column(),
        "name": Column(),
        "description": Column(),
        "qos_specs_id": Column("value"),
        "extra_specs": Column("metadata"),
    },
    public=FILTERS["volume_type"],
    sortable=dict.fromkeys(
        ("id", "name", "description", "is_public", "qos_specs_id", "created_at", "updated_at"),
        "3.0",
    ),
    strict_since="3.52",
    ignored=("is_public", "with_count"),
)
TYPES_BEFORE_3_52 = dataclasses.replace(TYPES, ignored=(*TYPES.ignored, "extra_specs"))


def view(
    call: ApiCall, volume_type: VolumeType, *, access: bool = True, qos: bool = True
) -> dict[str, Any]:
    """A type as this caller sees it; the wire leaves out some keys in some replies."""
    shown: dict[str, Any] = {
        "id": volume_type.id,
        "name": volume_type.name,
        "is_public": volume_type.is_public,
        "description": volume_type.description,
    }
    if call.allowed("volume_extension:access_types_extra_specs"):
        shown["extra_specs"] = visible_specs(call, volume_type.extra_specs)
    if qos and call.allowed("volume_extension:access_types_qos_specs_id"):
        shown["qos_specs_id"] = volume_type.qos_specs_id
    if access and call.allowed("volume_extension:volume_type_access"):
        shown["os-volume-type-access:is_public"] = volume_type.is_public
    return shown


async def list_types(call: ApiCall) -> dict[str, Any]:
    listing = TYPES if call.at_least(3, 52) else TYPES_BEFORE_3_52
    query = parse_list(call, listing)
    if listing is TYPES and "extra_specs" in call.query and "extra_specs" not in query.filters:
        raise InvalidInput("extra_specs: must be keys with their values, as {'key': 'value'}.")
    is_public = _wanted_kind(call)
    if _asks_for_hidden_specs(call, query.filters.get("extra_specs", {})):
        query = dataclasses.replace(query, empty=True)
    project = call.identity.project_id
    found = await call.app.store.read(
        lambda tx: volume_types.page(tx, query, project, is_public=is_public)
    )
    views = [view(call, one) for one in found.items]
    last = found.items[-1].id if found.items else None
    return page(call, listing, query, views, last, found.total)


def _wanted_kind(call: ApiCall) -> bool | None:
    """Public types and those shared with the project (True), only private ones, or all (None).

    Only administrators have the choice.
    """
    text = call.query.get("is_public")
    if text is None or not call.identity.is_admin:
        return True
    return None if text.strip().lower() == "none" else parse_bool("is_public", text)


def _asks_for_hidden_specs(call: ApiCall, wanted: dict[str, str]) -> bool:
    return not SEEN_BY_ALL.issuperset(wanted) and not call.allowed(READ_SENSITIVE)


async def show(call: ApiCall) -> dict[str, Any]:
    type_id, project = call.params["type_id"], seen_by(call)
    found = await call.app.store.read(lambda tx: volume_types.get(tx, type_id, project))
    return {"volume_type": view(call, found)}


async def show_default(call: ApiCall) -> dict[str, Any]:
    configured, limit = call.app.config.default_volume_type, seen_by(call)

    def read(tx: ReadTx) -> VolumeType:
        own = default_types.of_project(tx, call.identity.project_id, limit)
        return own or volume_types.resolve(tx, configured)

    return {"volume_type": view(call, await call.app.store.read(read), access=False)}


async def create(call: ApiCall) -> dict[str, Any]:
    wanted: NewType = call.body.volume_type

    def insert(tx: WriteTx) -> VolumeType:
        volume_type = VolumeType(
            id=new_id(),
            name=wanted.name,
            description=wanted.description,
            is_public=wanted.is_public,
            extra_specs=stored(wanted.extra_specs),
            created_at=tx.now,
        )
        volume_types.insert(tx, volume_type)
        return volume_type

    return {"volume_type": view(call, await call.app.store.write(insert), qos=False)}


async def update(call: ApiCall) -> dict[str, Any]:
    wanted: TypeChanges = call.body.volume_type
    given = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    changes = {name: value for name, value in given.items() if value not in (None, UNSET)}
    if not changes:
        raise InvalidInput("At least one of name, description and is_public must be given.")
    type_id, default = call.params["type_id"], call.app.config.default_volume_type

    def change(tx: WriteTx) -> VolumeType:
        if changes.get("name", default) != default:
            _refuse_default(tx, type_id, default, "renamed")
        return volume_types.update(tx, type_id, **changes)

    changed = await call.app.store.write(change)
    return {"volume_type": view(call, changed, access=False, qos=False)}


async def delete(call: ApiCall) -> None:
    type_id, default = call.params["type_id"], call.app.config.default_volume_type

    def remove(tx: WriteTx) -> None:
        _refuse_default(tx, type_id, default, "deleted")
        volume_types.delete(tx, type_id)

    await call.app.store.write(remove)


def _refuse_default(tx: WriteTx, type_id: str, default: str, what: str) -> None:
    """New volumes that name no type would find none."""
    if volume_types.lock(tx, type_id).name == default:
        raise InvalidState(
            f"Volume type {default} cannot be {what}: it is the configured default_volume_type."
        )


_TAGS = ("volume types",)

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/types",
        list_types,
        query=(*TYPES.names(), "is_public"),
        policy="volume_extension:type_get_all",
        summary="List volume types",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/types",
        create,
        body=CreateType,
        policy="volume_extension:type_create",
        summary="Create a volume type",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/types/default",
        show_default,
        policy="volume_extension:type_get",
        summary="Show the type of volumes that name none",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/types/{type_id}",
        show,
        policy="volume_extension:type_get",
        summary="Show a volume type",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        "/types/{type_id}",
        update,
        body=UpdateType,
        policy="volume_extension:type_update",
        summary="Rename, describe or (un)publish a volume type",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        "/types/{type_id}",
        delete,
        policy="volume_extension:type_delete",
        success=202,
        summary="Delete a volume type that no volume has",
        tags=_TAGS,
    ),
)
