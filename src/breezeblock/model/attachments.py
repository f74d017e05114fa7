"""Attachments: the data, and how a volume's status follows from them.

Rules after the shared facts, state_machines.md sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from breezeblock.model.errors import Conflict, InvalidState
from breezeblock.model.volumes import FREE_TO_MIGRATE, Volume


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """One use of a volume by a server or a host, as it stands in the database.

    `connection_info` is the wire's flat form without the keys that depend on the reader;
    `legacy` marks those made by the volume actions (os-initialize_connection, os-attach).
    """

    id: str
    project_id: str
    user_id: str
    volume_id: str
    attach_status: str
    created_at: datetime
    instance_uuid: str | None = None
    attach_mode: str | None = None
    mountpoint: str | None = None
    host_name: str | None = None
    connector: dict[str, Any] | None = None
    connection_info: dict[str, Any] | None = None
    legacy: bool = False
    attached_at: datetime | None = None
    detached_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def host(self) -> str | None:
        """The host that the volume is, or is being, exported to."""
        return (self.connector or {}).get("host")


def check_reserve(volume: Volume, instance: str | None, others: Iterable[Attachment]) -> None:
    """Whether a further attachment of the volume may be made."""
    if "error" in volume.status:
        raise InvalidState(f"Volume {volume.id} cannot be attached: its status is {volume.status}.")
    if volume.migration_status not in FREE_TO_MIGRATE:
        raise InvalidState(f"Volume {volume.id} cannot be attached: it is being migrated.")
    if volume.status in ("available", "downloading"):
        return
    if volume.multiattach and volume.status == "in-use":
        return
    mine = any(instance and other.instance_uuid == instance for other in others)
    if volume.status in ("in-use", "reserved") and mine:
        return
    if volume.multiattach and volume.status in ("reserved", "attaching"):
        # Shared volumes serve several servers at once; one that is half-way must not shut out
        # the others.
        return
    raise InvalidState(
        f"Volume {volume.id} cannot be attached: its status is {volume.shown_status}"
        + (" and its type does not allow several attachments." if others else ".")
    )


def check_connect(volume: Volume, attachment: Attachment, others: Iterable[Attachment]) -> None:
    """Whether a connector may be given to an attachment."""
    if "error" in volume.status:
        raise Conflict(f"Volume {volume.id} cannot be attached: its status is {volume.status}.")
    if volume.multiattach:
        return
    for other in others:
        same_server = attachment.instance_uuid and other.instance_uuid == attachment.instance_uuid
        if other.id != attachment.id and other.connection_info and not same_server:
            raise Conflict(
                f"Volume {volume.id} is attached already (attachment {other.id}) and its type "
                "does not allow several attachments."
            )


def volume_status_after(statuses: Iterable[str]) -> tuple[str, str]:
    """(status, attach_status) of a volume whose remaining attachments have these statuses."""
    left = sorted(status for status in statuses if not status.startswith("error_"))
    if not left:
        return "available", "detached"
    if left[0] == "attached":
        return "in-use", "attached"
    return (left[0], "attaching") if left[0] == "attaching" else (left[0], "detached")
