"""Leftovers: what a backend holds that is provably ours and nobody's data, and how it goes.

The database knows no such object there, but our own record of work does: it was made by us, and we
have deleted it, never finished it, or given it a place elsewhere. What no record explains (a row
that somebody has removed by hand, too) may be somebody's data: it is an orphan, and stays.

A volume that our own record has sent to the pool where it is held, and that is not where its row
says, has moved: the call came late, or ended after it was given up. Its row then follows it.

What we have let go of (`unmanage_volume`, `unmanage_snapshot`) is somebody's data by our own
record, and so is what we were to adopt: before that it was the operator's. Should the backend take
it for ours still, or again after a call that came late, it is let go of once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from breezeblock.drivers.base import Item
from breezeblock.drivers.base import Snapshot as DriverSnapshot
from breezeblock.drivers.base import Volume as DriverVolume
from breezeblock.model.invariants.facts import Violation
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import Volume
from breezeblock.operations.workflow import Run
from breezeblock.store import operations, snapshots, volumes
from breezeblock.store.store import ReadTx
from breezeblock.workflows import adopted

log = structlog.get_logger()

LEFTOVER = "leftover"
"""The rule that such an object breaks."""
RELEASED = "released"
"""The rule that an object breaks which was unmanaged, or not adopted to the end, and is still, or
again, taken for ours."""
GROWN = "grown"
"""The rule that a volume breaks whose growth was done and never recorded."""
MOVED = "moved"
"""The rule that a volume breaks which is in another pool than its row says, where we sent it."""
KINDS = ("volume", "snapshot")
RELEASES = frozenset({"unmanage_volume", "unmanage_snapshot"})
ENDS = RELEASES | {"delete_volume", "delete_snapshot"}
"""Workflows after which a volume or snapshot is not there any more."""


def judge(
    tx: ReadTx, backend: str, held: Iterable[Item], wrong: Iterable[Violation]
) -> list[Violation]:
    """The same differences, told apart by what follows from them; what can be put right first.

    `leftover`s, what was `released` and what has `moved` from orphans, volumes that have `grown`
    from those that shrank. What goes or stays with its volume is told with that.
    """
    items = list(held)
    pools = _pools(items)
    here = {item.id for item in items if item.kind == "volume"}
    found = []
    for one in wrong:
        volume = volumes.find(tx, one.subject)
        placed_here = volume is not None and volume.backend == backend
        match one.rule:
            case "export-without-attachment" if not placed_here:
                if one.subject not in here:
                    found.append(_judged_orphan(tx, backend, replace(one, rule="orphan"), pools))
            case "size" if volume and one.item and (one.item.size or 0) > volume.size:
                found.append(replace(one, rule=GROWN))
            case "orphan":
                found.append(_judged_orphan(tx, backend, one, pools))
            case _:
                found.append(one)
    going = {one.subject for one in found if one.rule == LEFTOVER}
    needed = {item.volume for item in items if item.kind == "snapshot" and item.id not in going}
    judged = [
        replace(one, rule="orphan") if one.rule == LEFTOVER and one.subject in needed else one
        for one in found
    ]
    return sorted(judged, key=_order)


async def remove(
    run: Run[Any], backend: str, held: Iterable[Item], found: Iterable[Violation]
) -> dict[str, str]:
    """Remove the leftovers among these, and let go of what was released; id → why, for those that
    the backend would not."""
    refused = {}
    pools = _pools(held)
    for one in found:
        if one.rule not in (LEFTOVER, RELEASED) or one.item is None:
            continue
        item = one.item
        # Looked at once more: removing the ones before it may have taken long.
        present = await run.doors.store.read(
            lambda tx, item=item: rule_of(tx, backend, item, pools)
        )
        if one.rule != present:
            continue
        try:
            await _remove(run, backend, item, one.rule)
        except Exception as error:
            log.warning("leftover stays", backend=backend, leftover=item.id, error=str(error))
            refused[item.id] = str(error)
        else:
            log.warning(f"{one.rule} goes", backend=backend, kind=item.kind, leftover=item.id)
    return refused


async def _remove(run: Run[Any], backend: str, item: Item, rule: str) -> None:
    size, keep = item.size or 0, rule == RELEASED
    if item.kind == "snapshot":
        frozen = DriverSnapshot(item.id, item.volume, size, item.pool)
        await run.doors.call(
            backend,
            lambda driver: driver.release_snapshot if keep else driver.delete_snapshot,
            frozen,
        )
    else:  # a volume, or what is left of one: its exports
        gone = DriverVolume(item.id, size, item.pool)
        await run.doors.call(
            backend, lambda driver: driver.release if keep else driver.delete, gone
        )


def _pools(held: Iterable[Item]) -> dict[str, set[str]]:
    """Volume id → the pools in which the backend holds it."""
    found: dict[str, set[str]] = {}
    for item in held:
        if item.kind == "volume":
            found.setdefault(item.id, set()).add(item.pool)
    return found


def rule_of(tx: ReadTx, backend: str, item: Item, pools: Mapping[str, set[str]]) -> str:
    """What our own records say of an object that the database does not know there. `pools` says
    where the backend holds each volume."""
    known = _work_on(tx, item)
    if not known or any(one.is_open for one in known):
        return "orphan"
    row = _row_of(tx, item)
    if _was_released(known):
        return RELEASED if row is None else "orphan"
    if adopted.was_begun(known) and (row is None or _is_unadopted(row)):
        return RELEASED
    if _is_out_of_place(tx, backend, item, pools):
        return MOVED if _was_sent(known, f"{backend}#{item.pool}") else "orphan"
    return LEFTOVER if _is_leftover(tx, backend, item, known) else "orphan"


def _work_on(tx: ReadTx, item: Item) -> list[Operation]:
    return [one for one in operations.of_resource(tx, item.id) if one.resource_type in KINDS]


def _row_of(tx: ReadTx, item: Item) -> Volume | Snapshot | None:
    return snapshots.find(tx, item.id) if item.kind == "snapshot" else volumes.find(tx, item.id)


def _is_out_of_place(tx: ReadTx, backend: str, item: Item, pools: Mapping[str, set[str]]) -> bool:
    """Whether it is a volume of this backend that its own pool lacks: it is no leftover."""
    volume = volumes.find(tx, item.id) if item.kind == "volume" else None
    return (
        volume is not None
        and volume.backend == backend
        and bool(item.pool)
        and volume.pool not in pools.get(item.id, ())
    )


def _was_sent(known: list[Operation], pool: str) -> bool:
    return any(one.data.get("moves_to") == pool for one in known)


def _is_unadopted(row: Volume | Snapshot) -> bool:
    return isinstance(row, Volume) and row.unadopted


def _is_leftover(tx: ReadTx, backend: str, item: Item, known: list[Operation]) -> bool:
    """Whether this work proves that the object is ours, and nobody's data."""
    if item.kind == "snapshot":
        if snapshots.find(tx, item.id) is not None:
            return False
        with_its_volume = operations.of_resource(tx, item.volume)
        return _was_removed(known, "snapshot") or _was_deleted(with_its_volume, "volume")
    volume = volumes.find(tx, item.id)
    if volume is None:
        return _was_removed(known, "volume")
    lives_here = volume.backend == backend and item.pool in ("", volume.pool)
    return not lives_here and any(_was_left(one, backend, item.pool) for one in known)


def _was_removed(known: list[Operation], kind: str) -> bool:
    """Whether it was deleted, or was never finished and so never anybody's."""
    finished = any(one.workflow == f"create_{kind}" and one.state == "succeeded" for one in known)
    return _was_deleted(known, kind) or not finished


def _was_deleted(known: list[Operation], kind: str) -> bool:
    return any(one.workflow == f"delete_{kind}" and one.state == "succeeded" for one in known)


def _was_released(known: list[Operation]) -> bool:
    """Whether the last that became of it is that we have let go of it."""
    ends = [one.workflow for one in known if one.state == "succeeded" and one.workflow in ENDS]
    return bool(ends) and ends[-1] in RELEASES


def _was_left(operation: Operation, backend: str, pool: str) -> bool:
    """Whether a creation tried this pool and went on to the next, or a move led away from it."""
    tried = {one["pool"] for one in operation.data.get("tried", ())}
    if operation.data.get("moves_to") and operation.state == "succeeded":
        tried.add(operation.data["moves_from"])
    if pool:
        return f"{backend}#{pool}" in tried
    return any(one.partition("#")[0] == backend for one in tried)


def _judged_orphan(
    tx: ReadTx, backend: str, one: Violation, pools: Mapping[str, set[str]]
) -> Violation:
    assert one.item is not None
    rule, kind, ident = rule_of(tx, backend, one.item, pools), one.item.kind, one.item.id
    if rule == MOVED:
        text = (
            f"Backend {backend} holds the volume {ident} in pool {one.item.pool}, where it moved."
        )
        return replace(one, rule=rule, text=text)
    why = {LEFTOVER: "was deleted or lives elsewhere", RELEASED: "was unmanaged or never ours"}
    if rule not in why:
        return one
    text = f"Backend {backend} still holds the {kind} {ident}, which {why[rule]}."
    return replace(one, rule=rule, text=text)


def _order(one: Violation) -> int:
    """Snapshots before their volumes; what only people can judge last."""
    if one.rule in (LEFTOVER, RELEASED):
        return 0 if one.item is not None and one.item.kind == "snapshot" else 1
    return 3 if one.rule in ("orphan", "missing", "size") else 2
