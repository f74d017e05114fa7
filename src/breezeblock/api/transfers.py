"""Transfers over HTTP: a project offers a volume, another one takes it over with the key.

Two paths lead here, `/volume-transfers` and the older `/os-volume-transfer`, which knows neither
`no_snapshots` nor paging and does not take encrypted volumes. Links name the older one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec

from breezeblock.api.access import locked_volume
from breezeblock.api.application import ApiCall
from breezeblock.api.scope import own_project, seen_by
from breezeblock.api.volume_create import check_volume_limit
from breezeblock.model import transfers as rules
from breezeblock.model.errors import InvalidInput, InvalidState, NotFound, OverQuota
from breezeblock.model.ids import new_id
from breezeblock.model.listing import ListQuery
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.transfers import Transfer
from breezeblock.model.usage import of_snapshot, of_volume
from breezeblock.model.volumes import AWAITING_TRANSFER, Volume
from breezeblock.store import (
    attachments,
    operations,
    quotas,
    snapshots,
    transfers,
    volume_types,
    volumes,
)
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.microversion import Version
from breezeblock.web.query import Column, Listing, page, parse_list
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Bool, RequiredName, Uuid, timestamp

NEW, OLD = "/volume-transfers", "/os-volume-transfer"

_TEXTS = (
    "id",
    "volume_id",
    "display_name",
    "source_project_id",
    "destination_project_id",
)
TRANSFERS = Listing(
    resource="transfer",
    collection="transfers",
    links_key="transfers_links",
    columns={
        **dict.fromkeys((*_TEXTS, "name", "project_id"), Column()),
        **dict.fromkeys(("no_snapshots", "accepted"), Column("bool")),
    },
    public=(),
    for_everybody=True,
    like_since=None,
    sortable=dict.fromkeys((*_TEXTS, "no_snapshots", "created_at", "updated_at"), "3.0"),
    all_tenants="lenient",
)
WITHOUT_PAGES = replace(TRANSFERS, default_sort=("created_at", "asc"))
"""The older list, oldest first: limit and offset cut it, nothing leads to the rest."""
OF_PAGES = frozenset({"marker", "sort", "sort_key", "sort_dir"})


class NewTransfer(Body, frozen=True):
    volume_id: Uuid
    name: RequiredName | None = None


class NewTransferOfSnapshots(NewTransfer, frozen=True):
    no_snapshots: Bool = False


class CreateTransfer(Body, frozen=True):
    transfer: NewTransfer


class CreateTransferOfSnapshots(Body, frozen=True):
    transfer: NewTransferOfSnapshots


def create_body(version: Version) -> type:
    return CreateTransferOfSnapshots if version >= (3, 55) else CreateTransfer


class Key(Body, frozen=True):
    """A key of digits alone may come as a number."""

    auth_key: str | int


class Accept(Body, frozen=True):
    accept: Key


def summary(call: ApiCall, transfer: Transfer) -> dict[str, Any]:
    return {
        "id": transfer.id,
        "volume_id": transfer.volume_id,
        "name": transfer.name,
        "links": call.link(OLD.removeprefix("/"), transfer.id),
    }


def detail(call: ApiCall, transfer: Transfer) -> dict[str, Any]:
    """A transfer with the keys of the request's version."""
    shown = {**summary(call, transfer), "created_at": timestamp(transfer.created_at)}
    if call.at_least(3, 55):
        shown["no_snapshots"] = transfer.no_snapshots
    if call.at_least(3, 57):
        shown |= {
            "source_project_id": transfer.source_project_id,
            "destination_project_id": transfer.destination_project_id,
            "accepted": transfer.accepted,
        }
    return shown


# -- what there is ---------------------------------------------------------------------------------


async def list_transfers(call: ApiCall) -> dict[str, Any]:
    return await _list(call, summary)


async def list_detailed(call: ApiCall) -> dict[str, Any]:
    return await _list(call, detail)


async def _list(call: ApiCall, view: Any) -> dict[str, Any]:
    paged = _is_new(call) and call.at_least(3, 59)
    query = _query(call, paged=paged)
    project = None if query.all_tenants else call.identity.project_id
    found = await call.app.store.read(lambda tx: transfers.page(tx, query, project))
    shown = [view(call, one) for one in found.items]
    if not paged:
        return {"transfers": shown}
    return page(call, TRANSFERS, query, shown, found.items[-1].id if shown else None)


def _query(call: ApiCall, *, paged: bool) -> ListQuery:
    dropped = frozenset() if paged else OF_PAGES
    asked = {name: text for name, text in call.query.items() if name not in dropped}
    as_asked = msgspec.structs.replace(call, query=asked)
    query = parse_list(as_asked, TRANSFERS if paged else WITHOUT_PAGES)
    filters = dict(query.filters)
    if not query.all_tenants:
        filters.pop("project_id", None)  # one sees his own alone, whichever he asks for
    limit = query.limit or call.service.max_limit
    return replace(query, limit=limit, filters=filters)


async def show(call: ApiCall) -> dict[str, Any]:
    transfer_id, project = call.params["transfer_id"], seen_by(call)
    found = await call.app.store.read(lambda tx: transfers.get(tx, transfer_id, project))
    call.require("volume:get_transfer", {"project_id": found.source_project_id})
    return {"transfer": detail(call, found)}


# -- offering --------------------------------------------------------------------------------------


async def create(call: ApiCall) -> dict[str, Any]:
    """Offer a volume. This answer alone tells the key."""
    made = await call.outside(_new_key)
    transfer = await call.app.store.write(lambda tx: _create(tx, call, made))
    return {"transfer": {**detail(call, transfer), "auth_key": made[0]}}


async def _new_key() -> tuple[str, str, str]:
    """A key, a salt, and what is kept of the key."""
    auth_key, salt = rules.new_auth_key(), rules.new_salt()
    return auth_key, salt, await asyncio.to_thread(rules.hash_of, auth_key, salt)


def _create(tx: WriteTx, call: ApiCall, key: tuple[str, str, str]) -> Transfer:
    wanted: NewTransfer = call.body.transfer
    volume = locked_volume(tx, call, "volume:create_transfer", wanted.volume_id)
    no_snapshots = isinstance(wanted, NewTransferOfSnapshots) and wanted.no_snapshots
    rules.check_offer(
        volume,
        () if no_snapshots else _of_owner(tx, volume),
        attachments.of_volume(tx, volume.id),
        no_snapshots=no_snapshots,
        encrypted_allowed=_is_new(call) and call.at_least(3, 70),
    )
    _, salt, auth_key_hash = key
    transfer = Transfer(
        id=new_id(),
        volume_id=volume.id,
        name=wanted.name,
        salt=salt,
        auth_key_hash=auth_key_hash,
        no_snapshots=no_snapshots,
        source_project_id=volume.project_id,
        created_at=tx.now,
    )
    transfers.insert(tx, transfer)
    volumes.transition(tx, volume.id, {volume.status}, AWAITING_TRANSFER)
    return transfer


async def delete(call: ApiCall) -> None:
    """Withdraw the offer: the volume is its owner's as before."""
    transfer_id, project = call.params["transfer_id"], seen_by(call)

    def withdraw(tx: WriteTx) -> None:
        found = transfers.get(tx, transfer_id, project)
        call.require("volume:delete_transfer", {"project_id": found.source_project_id})
        volumes.find_locked(tx, found.volume_id)
        found = transfers.get(tx, transfer_id, project)  # somebody may just have accepted it
        transfers.withdraw(tx, found.volume_id)
        attachments.settle_volume(tx, found.volume_id)

    await call.app.store.write(withdraw)


# -- taking over -----------------------------------------------------------------------------------


async def accept(call: ApiCall) -> dict[str, Any]:
    """Take over a volume that another project offers; its key is all that it takes."""
    transfer_id, auth_key = call.params["transfer_id"], str(call.body.accept.auth_key)
    # The key and its hash belong to the id and never change, so they are compared outside of the
    # transaction, which others wait for.
    found = await call.app.store.read(lambda tx: transfers.get(tx, transfer_id))
    if not await asyncio.to_thread(found.opens_with, auth_key):
        raise InvalidInput(f"auth_key: it is not the key of transfer {transfer_id}.")
    try:
        await call.app.store.write(lambda tx: _accept(tx, call, found))
    except OverQuota as over:
        raise OverQuota(over.reason) from None  # here the wire does not name the kind of limit
    return {"transfer": summary(call, found)}


def _accept(tx: WriteTx, call: ApiCall, offer: Transfer) -> None:
    """Volume, snapshots and what both projects are counted to use change hands in one."""
    volume = volumes.find_locked(tx, offer.volume_id)
    transfers.get(tx, offer.id)  # accepted by somebody else, or withdrawn, until we had the volume
    if volume is None:
        raise NotFound("Transfer", offer.id)
    volume_types.get(tx, volume.volume_type_id, seen_by(call))
    owned = [] if offer.no_snapshots else _locked(tx, _of_owner(tx, volume))
    present = attachments.of_volume(tx, volume.id)
    rules.check_accept(volume, owned, present)
    _check_idle(tx, volume, owned)
    receiver = own_project(call)
    check_volume_limit(tx, call.app, receiver, volume.size)
    _move_usage(tx, call, volume, owned)

    transfers.withdraw(tx, volume.id)
    owner = {"project_id": receiver, "user_id": call.identity.user_id}
    volumes.transition(tx, volume.id, {AWAITING_TRANSFER}, "available", **owner)
    for snapshot in owned:
        snapshots.update(tx, snapshot.id, **owner)
    for one in present:  # what the old owner tried and gave up
        attachments.delete(tx, one.id)


def _of_owner(tx: ReadTx, volume: Volume) -> list[Snapshot]:
    """The snapshots that go with the volume: its owner's. Another project may have some, which
    were left to it when it gave the volume away."""
    owned = snapshots.of_volume(tx, volume.id)
    return [one for one in owned if one.project_id == volume.project_id]


def _locked(tx: WriteTx, owned: list[Snapshot]) -> list[Snapshot]:
    """The same, which nobody else changes until the transaction ends, less those just deleted."""
    found = (snapshots.find_locked(tx, one.id) for one in owned)
    return [one for one in found if one is not None]


def _check_idle(tx: ReadTx, volume: Volume, owned: list[Snapshot]) -> None:
    """No work that was begun for the old owner goes on behind the new one's back."""
    for resource_id in (volume.id, *(one.id for one in owned)):
        under_way = operations.open_touching(tx, resource_id)
        if under_way:
            raise InvalidState(
                f"Volume {volume.id} cannot be transferred now: work is under way "
                f"({under_way[0].workflow})."
            )


def _move_usage(tx: WriteTx, call: ApiCall, volume: Volume, owned: list[Snapshot]) -> None:
    """Raises OverQuota. Projects are counted in a fixed order, so that two that give each other
    volumes do not wait for each other."""
    receiver = own_project(call)
    if receiver == volume.project_id:
        return
    used: Counter[str] = Counter()
    name = volume_types.get(tx, volume.volume_type_id).name
    used.update(of_volume(volume.size, name, consumes=volume.consumes_quota))
    for one in owned:
        name = volume_types.get(tx, one.volume_type_id).name
        used.update(of_snapshot(one.size, name, consumes=one.consumes_quota))
    less = {resource: -amount for resource, amount in used.items()}
    changes = {receiver: dict(used), volume.project_id: less}
    for project_id in sorted(changes):
        quotas.charge(tx, project_id, changes[project_id], call.app.quota_defaults)


def _is_new(call: ApiCall) -> bool:
    return call.route.path.startswith(NEW)


# -- routes ----------------------------------------------------------------------------------------


def _routes(path: str, body: Any) -> tuple[Route, ...]:
    tags = ("transfers",)
    older = " (older path)" if path == OLD else ""
    names, rule = TRANSFERS.names(), "volume:get_all_transfers"
    one = f"{path}/{{transfer_id}}"
    return (
        Route(
            "GET",
            path,
            list_transfers,
            query=names,
            policy=rule,
            summary=f"List transfers{older}",
            tags=tags,
        ),
        Route(
            "POST",
            path,
            create,
            body=body,
            success=202,
            secret=True,
            summary=f"Offer a volume to another project{older}",
            tags=tags,
        ),
        Route(
            "GET",
            f"{path}/detail",
            list_detailed,
            query=names,
            policy=rule,
            summary=f"List transfers in full{older}",
            tags=tags,
        ),
        Route("GET", one, show, summary=f"Show a transfer{older}", tags=tags),
        Route("DELETE", one, delete, success=202, summary=f"Withdraw a transfer{older}", tags=tags),
        Route(
            "POST",
            f"{one}/accept",
            accept,
            body=Accept,
            policy="volume:accept_transfer",
            success=202,
            summary=f"Take over a volume{older}",
            tags=tags,
        ),
    )


ROUTES: tuple[Route, ...] = (*_routes(NEW, create_body), *_routes(OLD, CreateTransfer))
