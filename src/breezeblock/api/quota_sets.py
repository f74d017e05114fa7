"""Quotas over HTTP: a project's limits and usage, and the defaults of projects without their own.

A quota set holds the fixed resources and three more for every volume type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.model.errors import InvalidInput, InvalidState
from breezeblock.store import quotas, volume_types
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.query import parse_bool
from breezeblock.web.routes import Route
from breezeblock.web.types import MAX_INT, Body

IGNORED = frozenset({"id", "tenant_id"})
LONGEST_OWNER = 255
NO_USAGE = frozenset({"per_volume_gigabytes"})
"""Limits of one volume, not of what the project has in sum."""

_DIGITS = re.compile(r"-?[0-9]{1,10}", re.ASCII)
Limits = dict[str, Any]
"""Resource → limit as sent: a whole number or its text; see `limit_of`."""


class QuotaSet(Body, frozen=True):
    quota_set: Limits


def _resources(tx: ReadTx, call: ApiCall) -> list[str]:
    """The names of all resources that the caller may know: types that he cannot see are hidden."""
    found = list(call.app.quota_defaults)
    for name in volume_types.names(tx, seen_by(call)).values():
        found += quotas.keys_of_type(name)
    return found


def limits_of(tx: ReadTx, call: ApiCall, project: str) -> dict[str, int]:
    """Every resource with the limit that holds for the project (or the DEFAULT_CLASS)."""
    names = _resources(tx, call)
    limits = quotas.limits(tx, project, None, call.app.quota_defaults)
    return {name: limits.get(name, -1) for name in names}


async def show(call: ApiCall) -> dict[str, Any]:
    project = call.params["project"]
    call.require("volume_extension:quotas:show", {"project_id": project})
    with_usage = parse_bool("usage", call.query.get("usage", "false"))

    def read(tx: ReadTx) -> dict[str, Any]:
        limits = limits_of(tx, call, project)
        return _with_usage(limits, quotas.usages(tx, project)) if with_usage else dict(limits)

    return {"quota_set": {**await call.app.store.read(read), "id": project}}


def _with_usage(limits: Mapping[str, int], usages: Mapping[str, int]) -> dict[str, Any]:
    """Nothing is ever reserved: usage moves in the transaction of the rows that it counts."""
    return {
        name: {"limit": limit, "in_use": usages.get(name, 0), "reserved": 0}
        for name, limit in limits.items()
    }


async def show_defaults(call: ApiCall) -> dict[str, Any]:
    project = call.params["project"]
    call.require("volume_extension:quotas:show", {"project_id": project})
    limits = await call.app.store.read(lambda tx: limits_of(tx, call, quotas.DEFAULT_CLASS))
    return {"quota_set": {**limits, "id": project}}


async def update(call: ApiCall) -> dict[str, Any]:
    project = call.params["project"]
    wanted = {name: value for name, value in call.body.quota_set.items() if name not in IGNORED}
    if not call.body.quota_set:
        raise InvalidInput("quota_set: at least one quota must be given.")
    if len(project) > LONGEST_OWNER:
        raise InvalidInput(f"A project id has at most {LONGEST_OWNER} characters.")

    def change(tx: WriteTx) -> dict[str, int]:
        set_limits(tx, call, project, wanted, quotas.usages(tx, project))
        return limits_of(tx, call, project)

    return {"quota_set": await call.app.store.write(change)}


def set_limits(
    tx: WriteTx, call: ApiCall, owner: str, wanted: Limits, usages: Mapping[str, int]
) -> None:
    """Store limits of a project (or the DEFAULT_CLASS).

    The caller has checked that the owner's name can be stored. Raises InvalidInput for unknown
    names and bad values, InvalidState below what is in use.
    """
    known = frozenset(_resources(tx, call))
    for name, value in wanted.items():
        if name not in known:
            raise InvalidInput(f"Bad key in quota set: {name[:300]}.")
        limit = _limit(name, value)
        used = 0 if name in NO_USAGE else usages.get(name, 0)
        if 0 <= limit < used:
            raise InvalidState(f"Quota {name} cannot be {limit}: {used} are in use.")
        quotas.set_limit(tx, owner, name, limit)


def _limit(name: str, value: object) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if type(value) is not int or not -1 <= value <= MAX_INT:
        raise InvalidInput(f"Quota {name} must be a whole number from -1 to {MAX_INT}.")
    return value


async def delete(call: ApiCall) -> None:
    project = call.params["project"]
    await call.app.store.write(lambda tx: quotas.reset_limits(tx, project))


_TAGS = ("quotas",)
_RULE = "volume_extension:quotas"

_PATH = "/os-quota-sets/{project}"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        _PATH,
        show,
        query=("usage",),
        summary="Show a project's limits, with usage=true also what it uses",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        _PATH,
        update,
        body=QuotaSet,
        policy=f"{_RULE}:update",
        summary="Give a project limits of its own",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        _PATH,
        delete,
        policy=f"{_RULE}:delete",
        summary="Let the default limits hold again",
        tags=_TAGS,
    ),
    Route(
        "GET",
        f"{_PATH}/defaults",
        show_defaults,
        summary="Show the limits of projects that have none of their own",
        tags=_TAGS,
    ),
)
