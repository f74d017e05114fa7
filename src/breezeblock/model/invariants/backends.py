"""A backend holds what the database says, and nothing else (design, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from breezeblock.model.invariants.facts import Facts, Violation
from breezeblock.model.inventory import Item
from breezeblock.model.volumes import Volume

MAY_BE_MISSING = frozenset(
    {
        *("creating", "managing", "deleting", "error_managing_deleting", "unmanaging"),
        *("error", "error_managing", "error_deleting", "error_unmanaging", "deleted"),
    }
)
"""Statuses in which a volume or snapshot need not be on the backend, or not any more."""


def nothing_is_orphaned(facts: Facts, backend: str, held: Sequence[Item]) -> Iterator[Violation]:
    """Every volume and snapshot on the backend has its row, there, and is ours by that."""
    for item in held:
        if item.kind == "export" or facts.open_on.get(item.id):
            continue
        volume_id = item.id if item.kind == "volume" else item.volume_id or ""
        if item.kind == "snapshot" and facts.open_on.get(volume_id):
            continue
        row = facts.snapshots.get(item.id) if item.kind == "snapshot" else True
        if row is None or not _lives_on(facts.volumes.get(volume_id), backend, item):
            yield Violation(
                "orphan",
                item.id,
                f"Backend {backend} holds the {item.kind} {item.id}, "
                + _whereabouts(facts.volumes.get(volume_id) if row else None),
                item,
            )


def nothing_is_missing(facts: Facts, backend: str, held: Sequence[Item]) -> Iterator[Violation]:
    """Every volume and snapshot of the database is on its backend, in its size."""
    present = {(item.kind, item.id): item for item in held}
    placed = [one for one in facts.volumes.values() if one.backend == backend]
    for volume in placed:
        if volume.status in MAY_BE_MISSING or facts.is_open(volume.id):
            continue
        item = present.get(("volume", volume.id))
        if item is None:
            yield _missing(backend, Item("volume", volume.id))
        elif item.size not in (None, volume.size):
            yield Violation(
                "size",
                volume.id,
                f"Volume {volume.id} has {volume.size} GiB in the database and {item.size} GiB on "
                f"backend {backend}.",
                item,
            )
    ids = {one.id for one in placed}
    for snapshot in facts.snapshots.values():
        open_work = facts.is_open(snapshot.id) or facts.is_open(snapshot.volume_id)
        if snapshot.volume_id not in ids or snapshot.status in MAY_BE_MISSING or open_work:
            continue
        if ("snapshot", snapshot.id) not in present:
            item = Item("snapshot", snapshot.id, volume_id=snapshot.volume_id)
            yield _missing(backend, item)


def exports_have_attachments(
    facts: Facts, backend: str, held: Sequence[Item]
) -> Iterator[Violation]:
    """A host can reach a volume only while an attachment says so."""
    for item in held:
        if item.kind != "export" or facts.is_open(f"{item.id}@{item.host}"):
            continue
        if facts.is_open(item.id) and item.id not in facts.attachments_of:
            continue  # its deletion takes the exports along
        allowed = {one.host for one in facts.attachments_of.get(item.id, ())}
        if item.host not in allowed:
            yield Violation(
                "export-without-attachment",
                item.id,
                f"Backend {backend} lets host {item.host} reach volume {item.id}, but no "
                "attachment says so.",
                item,
            )


def attachments_have_exports(
    facts: Facts, backend: str, held: Sequence[Item]
) -> Iterator[Violation]:
    """A host whose attachment is connected can reach the volume.

    A volume that is not there at all takes its exports along: whether it may be missing is said by
    the rule above.
    """
    here = {item.id for item in held if item.kind == "volume"}
    exported = {(item.id, item.host) for item in held if item.kind == "export"}
    for one in facts.attachments:
        volume = facts.volumes.get(one.volume_id)
        if volume is None or volume.backend != backend or volume.id not in here:
            continue
        if one.connection_info is None:
            continue
        busy = facts.is_open(f"{one.volume_id}@{one.host}") or facts.is_open(one.volume_id)
        if not busy and (one.volume_id, one.host) not in exported:
            yield Violation(
                "attachment-without-export",
                one.volume_id,
                f"Attachment {one.id} is connected, but backend {backend} does not let host "
                f"{one.host} reach volume {one.volume_id}.",
                Item("export", one.volume_id, host=one.host),
            )


RULES: tuple[Callable[[Facts, str, Sequence[Item]], Iterator[Violation]], ...] = (
    nothing_is_orphaned,
    nothing_is_missing,
    exports_have_attachments,
    attachments_have_exports,
)


def violations(facts: Facts, backend: str, held: Sequence[Item]) -> Iterator[Violation]:
    """All that is wrong with one backend."""
    for rule in RULES:
        yield from rule(facts, backend, held)


def _whereabouts(volume: Volume | None) -> str:
    if volume is None or volume.host is None:
        return "which the database does not know."
    if volume.unadopted:
        return "which was not adopted to the end."
    return (
        f"which lives on {volume.host} by the database: was a host, backend or pool renamed? Then "
        "it is data in use."
    )


def _lives_on(volume: Volume | None, backend: str, item: Item) -> bool:
    return (
        volume is not None
        and not volume.unadopted
        and volume.backend == backend
        and (not item.pool or volume.pool == item.pool)
    )


def _missing(backend: str, item: Item) -> Violation:
    text = f"The {item.kind} {item.id} should be on backend {backend}, which lacks it."
    return Violation("missing", item.id, text, item)
