"""Default volume types of single projects (3.62): what new volumes get that name no type.

Projects are not looked up: whoever vouches for callers knows which there are.
"""

from __future__ import annotations

from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.store import default_types
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, LooseBody, RequiredName

LONGEST_PROJECT = 255


class DefaultType(Body, frozen=True):
    """The type, by name or id."""

    volume_type: RequiredName


class SetDefaultType(LooseBody, frozen=True):
    default_type: DefaultType


def view(project_id: str, type_id: str) -> dict[str, str]:
    return {"project_id": project_id, "volume_type_id": type_id}


async def list_defaults(call: ApiCall) -> dict[str, Any]:
    found = await call.app.store.read(default_types.every)
    return {"default_types": [view(project, type_id) for project, type_id in found.items()]}


async def show(call: ApiCall) -> dict[str, Any]:
    project = _project(call, "default_get")
    found = await call.app.store.read(lambda tx: default_types.get(tx, project))
    return {"default_type": view(project, found)}


async def put(call: ApiCall) -> dict[str, Any]:
    project, wanted = _project(call, "default_set_or_update"), call.body.default_type.volume_type
    if len(project) > LONGEST_PROJECT:
        raise InvalidInput(f"A project id has at most {LONGEST_PROJECT} characters.")
    try:
        chosen = await call.app.store.write(lambda tx: default_types.assign(tx, project, wanted))
    except NotFound as missing:
        raise InvalidInput(f"default_type.volume_type: {missing}") from None
    return {"default_type": view(project, chosen)}


async def delete(call: ApiCall) -> None:
    project = _project(call, "default_unset")
    await call.app.store.write(lambda tx: default_types.forget(tx, project))


def _project(call: ApiCall, rule: str) -> str:
    """The path's project, which the policy is asked about. Raises Forbidden."""
    project = call.params["project"]
    call.require(f"volume_extension:{rule}", {"project_id": project})
    return project


_TAGS = ("default types",)
_PATH = "/default-types/{project}"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/default-types",
        list_defaults,
        since="3.62",
        policy="volume_extension:default_get_all",
        summary="List the projects that have a default volume type of their own",
        tags=_TAGS,
    ),
    Route(
        "GET",
        _PATH,
        show,
        since="3.62",
        summary="Show a project's own default volume type",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        _PATH,
        put,
        since="3.62",
        body=SetDefaultType,
        summary="Give a project a default volume type of its own",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        _PATH,
        delete,
        since="3.62",
        success=204,
        summary="Let the configured default volume type hold for a project again",
        tags=_TAGS,
    ),
)
