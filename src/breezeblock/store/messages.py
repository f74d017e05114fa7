"""User messages in the database: why something failed, told to its owner."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from breezeblock.model.errors import NotFound, shortened
from breezeblock.model.ids import new_id
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.messages import Event, Message
from breezeblock.model.operation import Operation
from breezeblock.store import listing
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import messages

LIFE_TIME = timedelta(days=30)
LONGEST = 1000
"""Characters of a message; a backend's words may be of any length."""


def tell(tx: WriteTx, event: Event, operation: Operation, text: str) -> None:
    """Leave a message for the operation's project, in the transaction of what it tells of.

    It belongs to the resource that the operation is on; for work on an export, to the volume.
    """
    tx.run(
        messages.insert().values(
            id=new_id(),
            project_id=operation.project_id,
            request_id=operation.request_id,
            resource_type=event.resource_type,
            resource_uuid=operation.resource_id.partition("@")[0],
            event_id=event.event_id,
            message_level="ERROR",
            user_message=shortened(f"{event.action}: {text}", LONGEST),
            created_at=tx.now,
            expires_at=tx.now + LIFE_TIME,
        )
    )


_LISTED = listing.Listed(
    messages,
    "Message",
    owner=messages.c.project_id,
    few=(messages.c.resource_uuid, messages.c.request_id),
)


def _message(row: sa.Row[Any]) -> Message:
    return Message(**row._mapping)


def get(tx: ReadTx, message_id: str, project_id: str | None) -> Message:
    where = sa.true() if project_id is None else messages.c.project_id == project_id
    row = tx.first(sa.select(messages).where(messages.c.id == message_id, where))
    if row is None:
        raise NotFound("Message", message_id)
    return _message(row)


def page(tx: ReadTx, query: ListQuery, project_id: str | None) -> Page:
    rows, total = _LISTED.page(tx, query, project_id)
    return Page([_message(row) for row in rows], total)


def delete(tx: WriteTx, message_id: str) -> None:
    tx.run(messages.delete().where(messages.c.id == message_id))


def forget_expired(tx: WriteTx) -> int:
    """Remove messages whose life time is over; how many."""
    return tx.run(messages.delete().where(messages.c.expires_at < tx.now))
