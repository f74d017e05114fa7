"""Attachments in the database, and the volume's status that follows from them."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.attachments import Attachment, volume_status_after
from breezeblock.model.errors import NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.volumes import AWAITING_TRANSFER, FREE_TO_MIGRATE
from breezeblock.store import listing, operations, transfers
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import attachments, volumes

ALIASES = {
    "instance_id": attachments.c.instance_uuid,
    "attached_host": attachments.c.host_name,
}
"""Further names of columns in list queries."""


_LISTED = listing.Listed(
    attachments,
    "Attachment",
    owner=attachments.c.project_id,
    aliases=ALIASES,
    few=(attachments.c.volume_id, attachments.c.instance_uuid),
)


def _attachment(row: sa.Row[Any]) -> Attachment:
    return Attachment(**row._mapping)


def insert(tx: WriteTx, attachment: Attachment) -> None:
    tx.insert(attachments, msgspec.structs.asdict(attachment))


def find(tx: ReadTx, attachment_id: str) -> Attachment | None:
    row = tx.first(sa.select(attachments).where(attachments.c.id == attachment_id))
    return _attachment(row) if row else None


def get(tx: ReadTx, attachment_id: str, project_id: str | None = None) -> Attachment:
    """The attachment, if it is the project's (None: anybody's). Raises NotFound."""
    attachment = find(tx, attachment_id)
    if attachment is None or (project_id is not None and attachment.project_id != project_id):
        raise NotFound("Attachment", attachment_id)
    return attachment


def page(tx: ReadTx, query: ListQuery, project_id: str | None) -> Page:
    rows, total = _LISTED.page(tx, query, project_id)
    return Page([_attachment(row) for row in rows], total)


def of_volume(tx: ReadTx, volume_id: str) -> list[Attachment]:
    statement = sa.select(attachments).where(attachments.c.volume_id == volume_id)
    return [_attachment(row) for row in tx.rows(statement.order_by(attachments.c.created_at))]


def update(tx: WriteTx, attachment_id: str, **values: Any) -> bool:
    values.setdefault("updated_at", tx.now)
    statement = attachments.update().where(attachments.c.id == attachment_id)
    return bool(tx.run(statement.values(values)))


def delete(tx: WriteTx, attachment_id: str) -> None:
    tx.run(attachments.delete().where(attachments.c.id == attachment_id))


def settle_volume(tx: WriteTx, volume_id: str) -> None:
    """Give the volume the status that its attachments say (shared facts, state_machines.md 3).

    Not while it is being migrated, or uploaded with nothing attached any more.
    """
    row = tx.first(sa.select(volumes).where(volumes.c.id == volume_id).with_for_update())
    if row is None or row.migration_status not in FREE_TO_MIGRATE:
        return
    left = [one.attach_status for one in of_volume(tx, volume_id)]
    if row.status == "uploading" and not left:
        return
    status, attach_status = volume_status_after(left)
    stays = row.status == "error_deleting" or transfers.is_offered(tx, volume_id)
    follow(tx, volume_id, row.status if stays else status, attach_status)


def follow(tx: WriteTx, volume_id: str, status: str, attach_status: str) -> None:
    """Give the volume the status that an attachment brings about.

    While an operation of the volume's own is open its status stays: that operation's end settles
    it (design, law 3). An offer to another project does not outlive the status of awaiting it.
    """
    values = {"attach_status": attach_status, "updated_at": tx.now}
    if operations.open_on(tx, volume_id) is None:
        values["status"] = status
        if status != AWAITING_TRANSFER:
            transfers.withdraw(tx, volume_id)
    tx.run(volumes.update().where(volumes.c.id == volume_id).values(values))
