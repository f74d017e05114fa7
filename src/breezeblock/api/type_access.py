"""Which projects may use a private volume type."""

from __future__ import annotations

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import NotFound
from breezeblock.store import volume_types
from breezeblock.store.store import ReadTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Text1


class ProjectAccess(Body, frozen=True):
    """The project is not looked up: whoever vouches for callers knows which there are."""

    project: Text1


async def list_access(call: ApiCall) -> dict[str, list[dict[str, str]]]:
    type_id = call.params["type_id"]

    def read(tx: ReadTx) -> list[str]:
        if volume_types.get(tx, type_id).is_public:
            raise NotFound("Access list of public volume type", type_id)
        return volume_types.projects(tx, type_id)

    granted = await call.app.store.read(read)
    return {
        "volume_type_access": [
            {"volume_type_id": type_id, "project_id": project} for project in granted
        ]
    }


async def add(call: ApiCall) -> None:
    type_id, project = call.params["type_id"], call.body.project
    await call.app.store.write(lambda tx: volume_types.grant(tx, type_id, project))


async def remove(call: ApiCall) -> None:
    type_id, project = call.params["type_id"], call.body.project
    await call.app.store.write(lambda tx: volume_types.revoke(tx, type_id, project))


_TAGS = ("volume types",)
_RULE = "volume_extension:volume_type_access"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/types/{type_id}/os-volume-type-access",
        list_access,
        policy=f"{_RULE}:get_all_for_type",
        summary="List the projects that may use a private type",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/types/{type_id}/action",
        add,
        action="addProjectAccess",
        body=ProjectAccess,
        policy=f"{_RULE}:addProjectAccess",
        success=202,
        summary="Let a project use a private type",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/types/{type_id}/action",
        remove,
        action="removeProjectAccess",
        body=ProjectAccess,
        policy=f"{_RULE}:removeProjectAccess",
        success=202,
        summary="Take it back",
        tags=_TAGS,
    ),
)
