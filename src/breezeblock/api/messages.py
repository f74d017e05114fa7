"""User messages (3.3): why work failed after its request was accepted."""

from __future__ import annotations

from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.api.resource_filters import FILTERS
from breezeblock.api.scope import seen_by
from breezeblock.model.listing import ListQuery
from breezeblock.model.messages import Message
from breezeblock.store import messages
from breezeblock.store.store import WriteTx
from breezeblock.web.query import Column, Listing, page, parse_list
from breezeblock.web.routes import Route
from breezeblock.web.types import timestamp

MESSAGES = Listing(
    resource="message",
    collection="messages",
    links_key="messages_links",
    columns={
        name: Column()
        for name in (
            "id",
            "project_id",
            "request_id",
            "resource_type",
            "resource_uuid",
            "event_id",
            "message_level",
            "user_message",
        )
    },
    public=FILTERS["message"],
    sortable=dict.fromkeys(
        (
            "id",
            "request_id",
            "resource_type",
            "resource_uuid",
            "event_id",
            "message_level",
            "created_at",
            "expires_at",
        ),
        "3.5",
    ),
    ignored=("with_count",),
)


def view(call: ApiCall, message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": message.id,
        "event_id": message.event_id,
        "user_message": message.user_message,
        "message_level": message.message_level,
        "created_at": timestamp(message.created_at),
        "guaranteed_until": timestamp(message.expires_at),
        "request_id": message.request_id,
        "links": call.link("messages", message.id),
    }
    if message.resource_type:
        shown["resource_type"] = message.resource_type
    if message.resource_uuid:
        shown["resource_uuid"] = message.resource_uuid
    return shown


async def list_messages(call: ApiCall) -> dict[str, Any]:
    """Before 3.5 all query parameters are ignored."""
    if not call.at_least(3, 5):
        query = ListQuery(limit=call.service.max_limit)
        found = await call.app.store.read(
            lambda tx: messages.page(tx, query, call.identity.project_id)
        )
        return {"messages": [view(call, one) for one in found.items]}
    query = parse_list(call, MESSAGES)
    found = await call.app.store.read(lambda tx: messages.page(tx, query, call.identity.project_id))
    last = found.items[-1].id if found.items else None
    return page(call, MESSAGES, query, [view(call, one) for one in found.items], last)


async def show(call: ApiCall) -> dict[str, Any]:
    message_id, project = call.params["message_id"], seen_by(call)
    found = await call.app.store.read(lambda tx: messages.get(tx, message_id, project))
    call.require("message:get", {"project_id": found.project_id})
    return {"message": view(call, found)}


async def delete(call: ApiCall) -> None:
    message_id, project = call.params["message_id"], seen_by(call)

    def remove(tx: WriteTx) -> None:
        found = messages.get(tx, message_id, project)
        call.require("message:delete", {"project_id": found.project_id})
        messages.delete(tx, message_id)

    await call.app.store.write(remove)


_TAGS = ("messages",)

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/messages",
        list_messages,
        since="3.3",
        query=MESSAGES.names(),
        policy="message:get_all",
        summary="List user messages",
        tags=_TAGS,
    ),
    Route(
        "GET",
        "/messages/{message_id}",
        show,
        since="3.3",
        summary="Show a user message",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        "/messages/{message_id}",
        delete,
        since="3.3",
        success=204,
        summary="Delete a user message",
        tags=_TAGS,
    ),
)
