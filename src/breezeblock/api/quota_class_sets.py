"""Quota classes: only the one named `default` means anything.

What is stored there are the limits of projects without their own, and wins over the configuration.
"""

from __future__ import annotations

from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.api.quota_sets import LONGEST_OWNER, Limits, limits_of, set_limits
from breezeblock.model.errors import InvalidInput
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body


class QuotaClassSet(Body, frozen=True):
    quota_class_set: Limits


def _owner(quota_class: str) -> str:
    """How the class is called in the project column; no project id begins with a colon."""
    return f":{quota_class}"


async def show(call: ApiCall) -> dict[str, Any]:
    quota_class = call.params["quota_class"]
    limits = await call.app.store.read(lambda tx: limits_of(tx, call, _owner(quota_class)))
    return {"quota_class_set": {**limits, "id": quota_class}}


async def update(call: ApiCall) -> dict[str, Any]:
    owner, wanted = _owner(call.params["quota_class"]), call.body.quota_class_set
    if len(owner) > LONGEST_OWNER:
        raise InvalidInput(f"The name of a quota class has at most {LONGEST_OWNER - 1} characters.")
    for name, value in wanted.items():
        if isinstance(value, str) and value.startswith("-"):
            raise InvalidInput(f"Quota {name[:300]} as text must be a whole number without sign.")

    def change(tx: WriteTx) -> dict[str, int]:
        set_limits(tx, call, owner, wanted, {})
        return limits_of(tx, call, owner)

    return {"quota_class_set": await call.app.store.write(change)}


_TAGS = ("quotas",)
_RULE = "volume_extension:quota_classes"
_PATH = "/os-quota-class-sets/{quota_class}"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        _PATH,
        show,
        policy=f"{_RULE}:get",
        summary="Show the limits of a quota class",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        _PATH,
        update,
        body=QuotaClassSet,
        policy=f"{_RULE}:update",
        summary="Change the limits of a quota class",
        tags=_TAGS,
    ),
)
