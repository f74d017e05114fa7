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

ALONE = frozenset({"downloading", "reverting", "unmanaging", "uploading"})
"""Statuses in which no host is let in: the content is replaced or read, or is ours no more."""


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

    @property
    def is_unconnected(self) -> bool:
        """Whether no host has been connected: none was tried, or the backend refused the one that
        was (which may have been let in half-way)."""
        return self.attach_status == "reserved" and self.connection_info is None


def check_reserve(volume: Volume, instance: str | None, others: Iterable[Attachment]) -> None:
    """Whether a further attachment of the volume may be made."""
    if "error" in volume.status:
        raise InvalidState(f"Volume {volume.id} cannot be attached: its status is {volume.status}.")
    if volume.host is None:
        raise InvalidState(f"Volume {volume.id} cannot be attached: no backend holds it.")
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


def check_connect(
    volume: Volume, attachment: Attachment, host: str, others: Iterable[Attachment]
) -> None:
    """Whether the host may be connected for this attachment.

    The volume actions (legacy attachments) may connect a second host while the first one still
    uses the volume: that is how they migrate servers.
    """
    if "error" in volume.status or volume.status in ALONE:
        raise Conflict(f"Volume {volume.id} cannot be attached: its status is {volume.status}.")
    if volume.host is None:
        raise Conflict(f"Volume {volume.id} cannot be attached: no backend holds it.")
    if attachment.host not in (None, host) and not attachment.is_unconnected:
        raise Conflict(
            f"Attachment {attachment.id} belongs to host {attachment.host}: delete it and make "
            "another one for another host."
        )
    if volume.multiattach:
        return
    for other in others:
        same_server = attachment.instance_uuid and other.instance_uuid == attachment.instance_uuid
        together = same_server or (attachment.legacy and other.legacy)
        if other.id != attachment.id and other.connection_info and not together:
            raise Conflict(
                f"Volume {volume.id} is attached already (attachment {other.id}) and its type "
                "does not allow several attachments."
            )


def mode_of(volume: Volume, *wishes: str | None) -> str:
    """How the volume is attached, rw or ro: the first wish there is, else what the volume allows.

    Raises InvalidState when a read-only volume shall be written.
    """
    asked = next((wish for wish in wishes if wish), "ro" if volume.readonly else "rw")
    if volume.readonly and asked != "ro":
        raise InvalidState(f"Volume {volume.id} is read-only: attach it with mode ro.")
    return asked


def volume_status_after(statuses: Iterable[str]) -> tuple[str, str]:
    """(status, attach_status) of a volume whose remaining attachments have these statuses.

    One that could not be detached counts as attached: its host may still write.
    """
    seen = {"attached" if status == "error_detaching" else status for status in statuses}
    left = sorted(status for status in seen if not status.startswith("error_"))
    if not left:
        return "available", "detached"
    if left[0] == "attached":
        return "in-use", "attached"
    return (left[0], "attaching") if left[0] == "attaching" else (left[0], "detached")


# -- the volume actions ------------------------------------------------------------------------


def check_action_reserve(volume: Volume) -> None:
    """Whether os-reserve may take the volume."""
    free = volume.status == "available" or (volume.multiattach and volume.status == "in-use")
    if not free or volume.migration_status not in FREE_TO_MIGRATE:
        raise InvalidState(
            f"Volume {volume.id} cannot be reserved: its status is {volume.shown_status}."
        )


def check_action_attach(volume: Volume) -> None:
    """Whether os-attach may complete an attachment, or note one that nobody has reserved."""
    if volume.status in ("available", "attaching"):
        return
    if volume.multiattach and volume.status == "in-use":
        return
    raise InvalidState(
        f"Volume {volume.id} cannot be attached: its status is {volume.shown_status}, it must be "
        "available or attaching."
    )


def check_action_connection(volume: Volume) -> None:
    """Whether the volume actions may connect or detach."""
    if volume.status == "maintenance":
        raise InvalidState(f"Volume {volume.id} is being moved: its status is maintenance.")


def check_begin_detaching(volume: Volume) -> None:
    """Whether the volume may be put to `detaching`."""
    if volume.status != "in-use" or volume.attach_status != "attached":
        raise InvalidState(
            f"Volume {volume.id} cannot be detached: its status is {volume.shown_status} and its "
            f"attach status {volume.attach_status}; they must be in-use and attached."
        )


def status_without_reservation(attachments: Iterable[Attachment]) -> tuple[str, str]:
    """(status, attach_status) of a volume whose os-reserve is given back."""
    return volume_status_after(
        one.attach_status
        for one in attachments
        if not one.legacy or one.attach_status in ("attached", "error_detaching")
    )
