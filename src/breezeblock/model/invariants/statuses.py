"""No status that passes without work that makes it pass (design, law 3)."""

from __future__ import annotations

from collections.abc import Iterator

from breezeblock.model.attachments import volume_status_after
from breezeblock.model.invariants.facts import Facts, Violation
from breezeblock.model.volumes import AWAITING_TRANSFER, FREE_TO_MIGRATE, Volume

WORKING = frozenset(
    {
        "creating",
        "deleting",
        "extending",
        "retyping",
        "managing",
        "error_managing_deleting",
        "downloading",
        "uploading",
        "reverting",
        "backing-up",
        "restoring-backup",
        "restoring",
        "unmanaging",
        "updating",
    }
)
"""Statuses of volumes and snapshots that only an operation on that resource explains."""
CONNECTING = frozenset({"reserved", "attaching", "detaching"})
"""Statuses of volumes that an attachment may explain as well."""


def transient_status_has_an_operation(facts: Facts) -> Iterator[Violation]:
    """`creating`, `deleting`, … exist only while an operation on that resource is open."""
    for volume in facts.volumes.values():
        if _is_unexplained(facts, volume):
            yield _stuck("volume", volume.id, volume.status)
        elif volume.migration_status not in FREE_TO_MIGRATE and not facts.is_open(volume.id):
            yield _stuck("migration of volume", volume.id, volume.migration_status or "")
    for snapshot in facts.snapshots.values():
        # A cascading deletion is one operation, on the volume.
        carried = facts.is_open(snapshot.id) or facts.is_open(snapshot.volume_id)
        if snapshot.status in WORKING and not carried:
            yield _stuck("snapshot", snapshot.id, snapshot.status)


def _is_unexplained(facts: Facts, volume: Volume) -> bool:
    if volume.status in WORKING:
        return not facts.is_open(volume.id)
    if volume.status == AWAITING_TRANSFER:
        return volume.id not in facts.transfer_of and not facts.is_open(volume.id)
    return volume.status in CONNECTING and not _explained(facts, volume)


def _explained(facts: Facts, volume: Volume) -> bool:
    """By open work, or by a client that has reserved or connected and not completed yet."""
    if facts.open_on.get(volume.id):
        return True
    waiting = [one.attach_status for one in facts.attachments_of.get(volume.id, ())]
    return volume.status in waiting


def status_follows_from_the_attachments(facts: Facts) -> Iterator[Violation]:
    """`available` means nobody has it, `in-use` that somebody has."""
    for volume in facts.volumes.values():
        if volume.status not in ("available", "in-use") or facts.open_on.get(volume.id):
            continue
        present = [one.attach_status for one in facts.attachments_of.get(volume.id, ())]
        expected, _ = volume_status_after(present)
        if "in-use" in (volume.status, expected) and volume.status != expected:
            yield Violation(
                "status-follows-attachments",
                volume.id,
                f"Volume {volume.id} is {volume.status}, but its attachments "
                f"({', '.join(sorted(present)) or 'none'}) say {expected}.",
            )


def _stuck(kind: str, ident: str, status: str) -> Violation:
    return Violation(
        "transient-status",
        ident,
        f"The {kind} {ident} is {status}, and no operation is open that would end that.",
    )
