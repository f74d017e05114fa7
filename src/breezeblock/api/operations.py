"""Operations: what became of a request, step by step. Our own addition to the API (docs/api.md).

Operators see everything. Users see their own project's operations without the names of hosts,
backends and pools: why pools were refused is told to them in numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.model.errors import InvalidInput, NotFound, without_paths
from breezeblock.model.operation import Operation
from breezeblock.scheduler.summary import summarise
from breezeblock.store import operations
from breezeblock.store.store import ReadTx
from breezeblock.web.routes import Route
from breezeblock.web.types import timestamp

REASONS = 100
"""At most so many lines of reasons in a summary."""
FOR_ALL = ("event", "step", "seconds")
FOR_OPERATORS = (*FOR_ALL, "queue", "worker", "epoch", "note")


def view(call: ApiCall, operation: Operation) -> dict[str, Any]:
    """An operation as this caller may see it. Data and results stay inside: they may hold secrets
    of connections."""
    operator = call.identity.is_admin
    shown: dict[str, Any] = {
        "id": operation.id,
        "workflow": operation.workflow,
        "resource_type": operation.resource_type,
        "resource_id": operation.resource_id if operator else _without_host(operation.resource_id),
        "project_id": operation.project_id,
        "user_id": operation.user_id,
        "request_id": operation.request_id,
        "state": operation.state,
        "step": operation.step,
        "attempts": operation.attempts,
        "progress": operation.progress,
        "opened_at": _moment(operation.opened_at),
        "ended_at": _moment(operation.ended_at),
        "trail": _trail(operation, FOR_OPERATORS if operator else FOR_ALL),
        "placement": _placement(operation.data.get("ranking"), for_user=not operator),
        "failed_pools": [
            {"pool": one["pool"], "error": one["error"]}
            if operator
            else {"error": without_paths(one["error"])}
            for one in operation.data.get("tried", ())
        ],
        "failure": _failure(operation.failure, for_user=not operator),
    }
    if operator:
        shown |= {"queue": operation.queue, "worker": operation.worker, "epoch": operation.epoch}
    return shown


def _failure(failure: dict[str, Any] | None, *, for_user: bool) -> dict[str, Any] | None:
    if failure is None:
        return None
    shown = {key: value for key, value in failure.items() if key != "private"}
    if for_user and failure.get("private"):
        shown["cause"] = without_paths(str(failure.get("cause", "")))
    return shown


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return timestamp(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None))


def _without_host(resource_id: str) -> str:
    """Work on an export is work on `<volume>@<host>`."""
    return resource_id.partition("@")[0]


def _trail(operation: Operation, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """What happened: when (`after`: seconds since the request), and how long the work took."""
    began = operation.trail[0]["at"] if operation.trail else 0.0
    return [
        {"at": _moment(entry["at"]), "after": round(entry["at"] - began, 6)}
        | {key: entry[key] for key in keys if key in entry}
        for entry in operation.trail
    ]


def _placement(ranking: Mapping[str, Any] | None, *, for_user: bool) -> dict[str, Any] | None:
    """How the scheduler chose: the number of pools and the reasons as text; operators also get
    the candidates, best first, with their weights, and every refusal."""
    if not ranking:
        return None
    candidates, refusals = ranking["candidates"], ranking["refusals"]
    summary = summarise(
        [one["pool"] for one in candidates],
        [(one["pool"], one["filter"], one["reason"]) for one in refusals],
        counts=(ranking.get("fit", len(candidates)), ranking.get("refused", len(refusals))),
        for_user=for_user,
        limit=REASONS,
    )
    shown: dict[str, Any] = {"summary": summary.splitlines()}
    return shown if for_user else {**shown, "candidates": candidates, "refusals": refusals}


async def list_operations(call: ApiCall) -> dict[str, Any]:
    """The operations of a request, or of a resource with its exports, or both; oldest first."""
    request_id, resource_id = call.query.get("request_id"), call.query.get("resource_id")

    def read(tx: ReadTx) -> list[Operation]:
        if resource_id is None:
            return operations.of_request(tx, request_id or "")
        found = operations.touching(tx, resource_id)
        return [one for one in found if request_id in (None, one.request_id)]

    if not request_id and not resource_id:
        raise InvalidInput("request_id or resource_id must be given in the query.")
    found = await call.app.store.read(read)
    return {"operations": [view(call, one) for one in found if _may_see(call, one)]}


async def show(call: ApiCall) -> dict[str, Any]:
    operation_id = call.params["operation_id"]
    found = await call.app.store.read(lambda tx: operations.get(tx, operation_id))
    if found is None or not _may_see(call, found):
        raise NotFound("Operation", operation_id)
    return {"operation": view(call, found)}


def _may_see(call: ApiCall, operation: Operation) -> bool:
    return seen_by(call) in (None, operation.project_id)


# They tell what user messages tell, in more words: the same rules decide who may ask.
ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/operations",
        list_operations,
        query=("request_id", "resource_id"),
        policy="message:get_all",
        summary="List the operations of a request or of a resource",
        tags=("operations",),
    ),
    Route(
        "GET",
        "/operations/{operation_id}",
        show,
        policy="message:get",
        summary="Show what became of an operation, step by step",
        tags=("operations",),
    ),
)
