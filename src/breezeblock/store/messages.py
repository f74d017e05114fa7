"""User messages in the database: why something failed, told to its owner."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from breezeblock.model.errors import NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.messages import Event, Message
from breezeblock.store import listing
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import messages

LIFE_TIME = timedelta(days=30)


def tell(
    tx: WriteTx,
    event: Event,
    *,
    project_id: str,
    request_id: str,
    resource_uuid: str,
    text: str,
) -> None:
    """Leave a message for the project, in the transaction of the failure it tells of."""
    tx.run(
        messages.insert().values(
            id=new_id(),
            project_id=project_id,
            request_id=request_id,
            resource_type=event.resource_type,
            resource_uuid=resource_uuid,
            event_id=event.event_id,
            message_level="ERROR",
            user_message=f"{event.action}: {text}",
            created_at=tx.now,
            expires_at=tx.now + LIFE_TIME,
        )
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
    where = sa.true() if project_id is None else messages.c.project_id == project_id
    rows, total = listing.page(tx, messages, query, where, kind="Message")
    return Page([_message(row) for row in rows], total)


def delete(tx: WriteTx, message_id: str) -> None:
    tx.run(messages.delete().where(messages.c.id == message_id))


def forget_expired(tx: WriteTx) -> int:
    """Remove messages whose life time is over; how many."""
    return tx.run(messages.delete().where(messages.c.expires_at < tx.now))
