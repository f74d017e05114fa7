"""Attachments in the database, and the volume's status that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.attachments import Attachment, volume_status_after
from breezeblock.model.errors import NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.volumes import AWAITING_TRANSFER, FREE_TO_MIGRATE, Volume
from breezeblock.store import listing, operations, transfers
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import attachments, volumes
from breezeblock.store.tables import transfers as offers

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


_IS_IT = attachments.c.id == sa.bindparam("the_id")
_FIND = sa.select(attachments).where(_IS_IT)


def find(tx: ReadTx, attachment_id: str) -> Attachment | None:
    row = tx.first(_FIND, the_id=attachment_id)
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


_OF_VOLUME = (
    sa.select(attachments)
    .where(attachments.c.volume_id == sa.bindparam("the_volume"))
    .order_by(attachments.c.created_at)
)


def of_volume(tx: ReadTx, volume_id: str) -> list[Attachment]:
    return [_attachment(row) for row in tx.rows(_OF_VOLUME, the_volume=volume_id)]


_VOLUME_OF = sa.select(attachments.c.volume_id).where(_IS_IT).scalar_subquery()
_LOCK_VOLUME = sa.select(volumes).where(volumes.c.id == _VOLUME_OF).with_for_update(of=volumes)


def lock_volume(tx: WriteTx, attachment_id: str) -> Volume | None:
    """The volume that the attachment is of, as `volumes.find_locked`; None: no such attachment.

    Whether the attachment is still there is to be looked at now, with the volume locked.
    """
    row = tx.first(_LOCK_VOLUME, the_id=attachment_id)
    return Volume(**row._mapping) if row else None


_UPDATE = attachments.update().where(_IS_IT)
_DELETE = attachments.delete().where(_IS_IT)


def update(tx: WriteTx, attachment_id: str, **values: Any) -> bool:
    values.setdefault("updated_at", tx.now)
    return bool(tx.update(_UPDATE, {"the_id": attachment_id}, values))


def delete(tx: WriteTx, attachment_id: str) -> None:
    tx.run(_DELETE, the_id=attachment_id)


_CONNECT = (
    attachments.update()
    .where(_IS_IT)
    .values(
        attach_status=sa.case(
            (attachments.c.attach_status == "attached", attachments.c.attach_status),
            else_="attaching",
        ),
        attach_mode=sa.bindparam("the_mode"),
        mountpoint=sa.bindparam("the_mountpoint"),
        host_name=sa.bindparam("the_host"),
        connector=sa.bindparam("the_connector", type_=attachments.c.connector.type),
        connection_info=sa.bindparam("the_info", type_=attachments.c.connection_info.type),
        updated_at=sa.bindparam("the_time"),
    )
    .returning(attachments.c.attach_status)
)


def connect(
    tx: WriteTx,
    attachment_id: str,
    connector: Mapping[str, Any],
    mode: str,
    connection_info: Mapping[str, Any],
) -> str | None:
    """Write down how the host reaches the volume; the attachment's status then, None: it is gone.

    One that the guest has already stays `attached`.
    """
    row = tx.first(
        _CONNECT,
        the_id=attachment_id,
        the_mode=mode,
        the_mountpoint=connector.get("mountpoint"),
        the_host=connector["host"],
        the_connector=connector,
        the_info=connection_info,
        the_time=tx.now,
    )
    return str(row.attach_status) if row else None


_LOCK_STATUS = (
    sa.select(volumes.c.status, volumes.c.migration_status)
    .where(volumes.c.id == sa.bindparam("the_volume"))
    .with_for_update()
)
_BESIDE = (
    sa.select(attachments.c.attach_status, offers.c.id.label("offered"))
    .select_from(
        volumes.outerjoin(attachments, attachments.c.volume_id == volumes.c.id).outerjoin(
            offers, offers.c.volume_id == volumes.c.id
        )
    )
    .where(volumes.c.id == sa.bindparam("the_volume"))
)


def settle_volume(tx: WriteTx, volume_id: str) -> None:
    """Give the volume the status that its attachments say (shared facts, state_machines.md 3).

    Not while it is being migrated, or uploaded with nothing attached any more.
    """
    row = tx.first(_LOCK_STATUS, the_volume=volume_id)
    if row is None or row.migration_status not in FREE_TO_MIGRATE:
        return
    beside = tx.rows(_BESIDE, the_volume=volume_id)
    left = [one.attach_status for one in beside if one.attach_status is not None]
    if row.status == "uploading" and not left:
        return
    status, attach_status = volume_status_after(left)
    stays = row.status == "error_deleting" or any(one.offered is not None for one in beside)
    follow(tx, volume_id, row.status if stays else status, attach_status)


_FOLLOW = (
    volumes.update()
    .where(volumes.c.id == sa.bindparam("the_volume"))
    .values(
        attach_status=sa.bindparam("new_attach_status"),
        updated_at=sa.bindparam("the_time"),
        status=sa.case(
            (operations.is_open_on(sa.bindparam("the_volume")), volumes.c.status),
            else_=sa.bindparam("new_status"),
        ),
    )
    .returning(volumes.c.status, transfers.offered(sa.bindparam("the_volume")).label("offered"))
)


def follow(tx: WriteTx, volume_id: str, status: str, attach_status: str) -> None:
    """Give the volume the status that an attachment brings about.

    While an operation of the volume's own is open its status stays: that operation's end settles
    it (design, law 3). An offer to another project does not outlive the status of awaiting it.
    The caller has locked the volume, so what is open on it is known.
    """
    row = tx.first(
        _FOLLOW,
        the_volume=volume_id,
        new_status=status,
        new_attach_status=attach_status,
        the_time=tx.now,
    )
    if row and row.offered and row.status == status != AWAITING_TRANSFER:
        transfers.withdraw(tx, volume_id)
