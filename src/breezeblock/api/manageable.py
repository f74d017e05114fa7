"""What volumes and snapshots that could be adopted have in common over HTTP: which service is
meant, what a reference is, and the lists.

A list is asked of the backend, by way of its queue; the page that comes stands on the operation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import (
    InvalidInput,
    InvalidState,
    NotFound,
    OperationFailed,
    shortened,
)
from breezeblock.model.services import Service
from breezeblock.operations.submit import nobody
from breezeblock.store import services
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.query import Listing, parse_list
from breezeblock.web.routes import Route
from breezeblock.workflows import list_manageable
from breezeblock.workflows.list_manageable import Entry, Kind, Wanted

LONGEST = 1000
"""Characters of a reference's key or value."""


class Element(Struct, frozen=True):
    """An element of a list; what is behind `source_reference` is told in detail only."""

    reference: dict[str, str]
    size: int
    safe_to_manage: bool
    source_reference: dict[str, str] | UnsetType | None = UNSET
    reason_not_safe: str | UnsetType | None = UNSET
    cinder_id: str | UnsetType | None = UNSET
    extra_info: dict[str, Any] | UnsetType | None = UNSET


def listing(kind: Kind) -> Listing:
    """Sorted by reference or size; other words of the query are ignored."""
    return Listing(
        resource=kind,
        collection=f"manageable-{kind}s",
        columns={},
        public=(),
        sortable={"reference": "3.0", "size": "3.0"},
        default_sort=("reference", "desc"),
        for_everybody=True,
    )


LISTINGS: dict[Kind, Listing] = {"volume": listing("volume"), "snapshot": listing("snapshot")}
NAMES = ("host", "limit", "marker", "offset", "sort", "sort_key", "sort_dir")
"""Query parameters, for the OpenAPI document."""
TAGS = ("adopting",)


def list_routes(kind: Kind, path: str, since: str | None) -> tuple[Route, Route]:
    """The list of what could be adopted, and the one with reasons, on one of its paths."""

    async def list_(call: ApiCall) -> dict[str, Any]:
        return await answer(call, kind, detailed=False)

    async def list_detailed(call: ApiCall) -> dict[str, Any]:
        return await answer(call, kind, detailed=True)

    short = Route(
        "GET",
        path,
        list_,
        query=NAMES,
        policy=f"{kind}_extension:list_manageable",
        since=since,
        summary=f"List {kind}s of a backend that could be adopted",
        tags=TAGS,
    )
    return short, replace(
        short,
        path=f"{path}/detail",
        handler=list_detailed,
        summary=f"{short.summary}, with reasons",
    )


async def answer(call: ApiCall, kind: Kind, *, detailed: bool) -> dict[str, Any]:
    """One page of what a backend could have adopted. Raises InvalidInput, NotFound, InvalidState
    for what the backend refuses, StillRunning when it does not answer in time."""
    host = _host(call)
    wanted = _wanted(call, kind, host)
    asker = replace(nobody(call.request_id), reply_to=call.app.waiter.topic)

    def submit(tx: WriteTx) -> str:
        service_on(tx, call, host)
        return list_manageable.submit(tx, asker, wanted)

    try:
        answered = await call.app.wait(await call.app.store.write(submit))
    except OperationFailed as error:
        raise InvalidState(str(error)) from error
    shown = [_element(one, kind, detailed=detailed) for one in list_manageable.entries(answered)]
    return {LISTINGS[kind].collection: shown}


def _host(call: ApiCall) -> str:
    """The backend, or pool, that is asked: there are no clusters, which count from 3.17 on."""
    host, cluster = call.query.get("host"), call.query.get("cluster")
    return one_host(host, cluster if call.at_least(3, 17) else None)


def one_host(host: str | None, cluster: str | None) -> str:
    """Raises InvalidInput unless it is a host, and no cluster. Raises NotFound for clusters."""
    if bool(host) == bool(cluster):
        raise InvalidInput("One and only one of cluster and host must be given.")
    if cluster:
        raise NotFound("Cluster", cluster[:255])
    assert host
    return host


def _wanted(call: ApiCall, kind: Kind, host: str) -> Wanted:
    query = parse_list(call, LISTINGS[kind])
    backend, _, pool = host.partition("#")
    return Wanted(
        kind=kind,
        backend=backend,
        pool=pool,
        limit=query.limit,
        sort=tuple(pair for pair in query.sort if pair[0] in LISTINGS[kind].sortable),
        marker=_marker(query.marker),
        offset=query.offset,
    )


def _marker(text: str | None) -> dict[str, str] | None:
    """The reference of the last element seen, as JSON. Raises InvalidInput."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:
        raise InvalidInput(
            f"marker: {shortened(text)} is no reference in JSON, as the list shows it."
        ) from None


def _element(one: Entry, kind: Kind, *, detailed: bool) -> Element:
    shown = Element(one.reference, one.size, not one.managed and not one.reason)
    if kind == "snapshot":
        shown = msgspec.structs.replace(shown, source_reference=one.volume_reference)
    if not detailed:
        return shown
    return msgspec.structs.replace(
        shown,
        reason_not_safe=one.reason or ("already managed" if one.managed else None),
        cinder_id=one.managed,
        extra_info=one.extra or None,
    )


def service_on(tx: ReadTx, call: ApiCall, host: str) -> Service:
    """The volume service of a backend or pool. Raises NotFound, InvalidState."""
    backend = host.partition("#")[0]
    known = services.all_services(tx, call.app.config.service_down_time)
    for one in known:
        if one.binary == services.VOLUME and one.host == backend:
            _check_ready(one)
            return one
    raise NotFound("Host", host)


def _check_ready(service: Service) -> None:
    if service.disabled:
        raise InvalidState(f"The volume service {service.host} is disabled.")
    if not service.up:
        raise InvalidState(f"The volume service {service.host} is down.")


def reference(given: Any, field: str) -> dict[str, str]:
    """What the driver is told. A mere text is a name. Raises InvalidInput."""
    told = {"source-name": given} if isinstance(given, str) else given
    if not isinstance(told, dict) or not told:
        raise InvalidInput(f"{field}.ref: it must name something, as source-name or source-id do.")
    for key, value in told.items():
        if not isinstance(value, str) or not value or max(len(key), len(value)) > LONGEST:
            raise InvalidInput(
                f"{field}.ref.{shortened(key)}: it must be text of up to {LONGEST} characters."
            )
    return told
