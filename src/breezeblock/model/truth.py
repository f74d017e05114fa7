"""What an administrator's reset comes to in the end: the status that the backend bears out.

A reset may name any status. These rules say which one is true, once it is known whether the backend
holds the volume or the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable

from breezeblock.model.attachments import Attachment, status_without_reservation
from breezeblock.model.invariants.backends import MAY_BE_MISSING
from breezeblock.model.invariants.statuses import CONNECTING, WORKING
from breezeblock.model.volumes import AWAITING_TRANSFER, FREE_TO_MIGRATE

NEVER_TRUE = frozenset({"deleted"})
"""Statuses that a row cannot be in, whatever an administrator says."""


def passes(status: str) -> bool:
    """Whether the status is one that work brings about and ends (design, law 3)."""
    return status in WORKING | CONNECTING | NEVER_TRUE


def migration_status(status: str | None) -> str | None:
    """The true migration status of a volume that was reset to this one, and that nothing moves."""
    return status if status in FREE_TO_MIGRATE else "error"


def volume_status(
    status: str, *, there: bool, attachments: Iterable[Attachment], offered: bool = False
) -> str:
    """The true status of a volume that was reset to this one.

    What an administrator closes it with (`error`, `maintenance`, …) stays. `offered`: another
    project may take it over; without an offer there is nothing to await.
    """
    if not there:
        return _without_object(status)
    awaits_nobody = status == AWAITING_TRANSFER and not offered
    if passes(status) or awaits_nobody or status in ("available", "in-use"):
        return status_without_reservation(attachments)[0]
    return status


def snapshot_status(status: str, *, there: bool) -> str:
    """The true status of a snapshot that was reset to this one."""
    if not there:
        return _without_object(status)
    return "available" if passes(status) else status


def _without_object(status: str) -> str:
    return status if status in MAY_BE_MISSING and not passes(status) else "error"
