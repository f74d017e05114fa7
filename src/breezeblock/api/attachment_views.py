"""How attachments look on the wire."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from breezeblock.model.attachments import Attachment
from breezeblock.web.types import timestamp


class AttachmentSummary(Struct, frozen=True):
    """An element of the plain list."""

    id: str
    status: str
    instance: str | None
    volume_id: str


class AttachmentDetail(Struct, frozen=True):
    """An attachment in full. Times that are not yet are empty texts, an unknown mode is `null`."""

    id: str
    status: str
    instance: str | None
    volume_id: str
    attached_at: str
    detached_at: str
    attach_mode: str
    connection_info: dict[str, Any]


def summary(attachment: Attachment) -> AttachmentSummary:
    return AttachmentSummary(
        attachment.id, attachment.attach_status, attachment.instance_uuid, attachment.volume_id
    )


def detail(attachment: Attachment) -> AttachmentDetail:
    return AttachmentDetail(
        id=attachment.id,
        status=attachment.attach_status,
        instance=attachment.instance_uuid,
        volume_id=attachment.volume_id,
        attached_at=timestamp(attachment.attached_at) or "",
        detached_at=timestamp(attachment.detached_at) or "",
        attach_mode=attachment.attach_mode or "null",
        connection_info=attachment.connection_info or {},
    )
