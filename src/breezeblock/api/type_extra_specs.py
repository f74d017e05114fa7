"""The extra specs of a volume type over HTTP: what the scheduler and the drivers read.

They stay as they are while volumes have the type: those volumes were placed by what they said. A
value of null takes a key away, or leaves it out of a new type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.volume_types import SEEN_BY_ALL
from breezeblock.store import volume_types
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, MetadataOrNull, Text

SpecKey = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9\-_:.]{1,255}(?![\s\S])")]
Specs = dict[SpecKey, Text | None]
AnySpecs = MetadataOrNull
"""As a new type may have them: there, a key may also hold spaces and slashes."""


class ExtraSpecs(Body, frozen=True):
    extra_specs: Specs


def stored(specs: Mapping[str, str | None]) -> dict[str, str]:
    """The extra specs that are kept of those given."""
    return {key: value for key, value in specs.items() if value is not None}


def visible_specs(call: ApiCall, specs: Mapping[str, str]) -> dict[str, str]:
    """The extra specs that this caller may see: users see those that concern them."""
    if call.allowed("volume_extension:types_extra_specs:read_sensitive"):
        return dict(specs)
    return {key: value for key, value in specs.items() if key in SEEN_BY_ALL}


async def _visible(call: ApiCall) -> dict[str, str]:
    type_id, project = call.params["type_id"], seen_by(call)
    found = await call.app.store.read(lambda tx: volume_types.get(tx, type_id, project))
    return visible_specs(call, found.extra_specs)


async def _change(call: ApiCall, changes: Specs) -> None:
    type_id = call.params["type_id"]
    await call.app.store.write(lambda tx: volume_types.change_extra_specs(tx, type_id, changes))


async def list_specs(call: ApiCall) -> dict[str, dict[str, str]]:
    return {"extra_specs": await _visible(call)}


async def create(call: ApiCall) -> dict[str, Specs]:
    await _change(call, call.body.extra_specs)
    return {"extra_specs": call.body.extra_specs}


async def show(call: ApiCall) -> dict[str, str]:
    key, specs = call.params["key"], await _visible(call)
    if key not in specs:
        raise NotFound(f"Volume type {call.params['type_id']}: extra spec", key)
    return {key: specs[key]}


async def update(call: ApiCall) -> Specs:
    changes: Specs = call.body
    if list(changes) != [call.params["key"]]:
        raise InvalidInput("The body must have exactly one key, the one that is in the URL.")
    await _change(call, changes)
    return changes


async def delete(call: ApiCall) -> None:
    type_id, key = call.params["type_id"], call.params["key"]
    await call.app.store.write(lambda tx: volume_types.remove_extra_spec(tx, type_id, key))


_TAGS = ("volume types",)
_PATH = "/types/{type_id}/extra_specs"
_RULE = "volume_extension:types_extra_specs"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        _PATH,
        list_specs,
        policy=f"{_RULE}:index",
        summary="List a volume type's extra specs",
        tags=_TAGS,
    ),
    Route(
        "POST",
        _PATH,
        create,
        body=ExtraSpecs,
        policy=f"{_RULE}:create",
        summary="Set extra specs of a volume type that no volume has",
        tags=_TAGS,
    ),
    Route(
        "GET",
        f"{_PATH}/{{key}}",
        show,
        policy=f"{_RULE}:show",
        summary="Show one extra spec",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        f"{_PATH}/{{key}}",
        update,
        body=Specs,
        policy=f"{_RULE}:update",
        summary="Set one extra spec",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        f"{_PATH}/{{key}}",
        delete,
        policy=f"{_RULE}:delete",
        success=202,
        summary="Remove one extra spec",
        tags=_TAGS,
    ),
)
