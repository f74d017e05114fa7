"""Operations in the database: open, claim, advance, settle.

Called by `operations/` only. Every write names the epoch it believes in; one with an old epoch
touches no row, and `Fenced` tells the late worker that somebody else carries the work on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import Failure, UnderWay
from breezeblock.model.operation import Operation
from breezeblock.store.clock import db_now
from breezeblock.store.expressions import begins
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import OPEN, operations
from breezeblock.telemetry import metrics

TRAIL_LENGTH = 200
TRAIL_BEGINS = 20
"""How many of the first entries stay when a trail grows too long: they say how the work began."""

CHECK = "check"
"""Resource type of operations that only look at a resource and then say what is true. They stand
beside the work on it: neither they nor that work waits for the other."""


class Fenced(Exception):
    """The operation was taken over, ended or cancelled: what this worker did no longer counts."""


def _operation(row: sa.Row[Any]) -> Operation:
    return Operation(**row._mapping)


def insert(tx: WriteTx, operation: Operation, *, delay: float = 0.0) -> None:
    """Open an operation, due after `delay` seconds.

    Raises UnderWay when the resource has an open one (design, law 4).
    """
    values = {name: getattr(operation, name) for name in operation.__struct_fields__}
    now = tx.clock()
    values |= {"opened_at": now, "due_at": now + delay if delay else 0.0}
    if not tx.insert_once(operations, values):
        raise UnderWay(
            f"Another operation on {operation.resource_type} {operation.resource_id} is under way."
        )


_GET = sa.select(operations).where(operations.c.id == sa.bindparam("the_id"))


def get(tx: ReadTx, operation_id: str) -> Operation | None:
    row = tx.first(_GET, the_id=operation_id)
    return _operation(row) if row else None


def _open_on(resource_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    return sa.and_(
        operations.c.resource_id == resource_id,
        operations.c.resource_type != CHECK,
        operations.c.state == OPEN,
    )


_OPEN_ON = sa.select(operations).where(_open_on(sa.bindparam("the_resource")))


def open_on(tx: ReadTx, resource_id: str) -> Operation | None:
    """The open operation of a resource, if any (not one that checks it)."""
    row = tx.first(_OPEN_ON, the_resource=resource_id)
    return _operation(row) if row else None


def is_open_on(resource_id: sa.ColumnElement[str]) -> sa.Exists:
    """Whether `open_on` finds one, within a statement."""
    return sa.exists(sa.select(operations.c.id).where(_open_on(resource_id)))


def check_on(tx: ReadTx, resource_id: str) -> Operation | None:
    """The open operation that checks a resource, if any."""
    row = tx.first(
        sa.select(operations).where(
            operations.c.resource_id == resource_id,
            operations.c.resource_type == CHECK,
            operations.c.state == OPEN,
        )
    )
    return _operation(row) if row else None


def of_resource(
    tx: ReadTx, resource_id: str, workflows: Collection[str] | None = None
) -> list[Operation]:
    """All operations that a resource ever had, or those of some workflows, oldest first."""
    statement = sa.select(operations).where(operations.c.resource_id == resource_id)
    if workflows is not None:
        statement = statement.where(operations.c.workflow.in_(sorted(workflows)))
    return [_operation(row) for row in tx.rows(statement.order_by(operations.c.opened_at))]


def touching(tx: ReadTx, resource_id: str) -> list[Operation]:
    """As `of_resource`, with those on the resource's exports (`<volume>@<host>`)."""
    statement = sa.select(operations).where(_touches(resource_id))
    return [_operation(row) for row in tx.rows(statement.order_by(operations.c.opened_at))]


def open_touching(tx: ReadTx, resource_id: str) -> list[Operation]:
    """The open ones of `touching`, but for those that check."""
    statement = sa.select(operations).where(
        _touches(resource_id), operations.c.resource_type != CHECK, operations.c.state == OPEN
    )
    return [_operation(row) for row in tx.rows(statement.order_by(operations.c.opened_at))]


def _touches(resource_id: str) -> sa.ColumnElement[bool]:
    return sa.or_(
        operations.c.resource_id == resource_id,
        begins(operations.c.resource_id, f"{resource_id}@"),
    )


def everything(tx: ReadTx, limit: int = 1000) -> list[Operation]:
    """The newest operations, oldest first."""
    statement = sa.select(operations).order_by(operations.c.opened_at.desc()).limit(limit)
    return [_operation(row) for row in reversed(tx.rows(statement))]


def of_request(tx: ReadTx, request_id: str) -> list[Operation]:
    """What one API request set going, oldest first."""
    statement = sa.select(operations).where(operations.c.request_id == request_id)
    return [_operation(row) for row in tx.rows(statement.order_by(operations.c.opened_at))]


_CLAIM = (
    operations.update()
    .where(
        operations.c.id == sa.bindparam("claimed_id"),
        operations.c.state == OPEN,
        operations.c.queue == sa.bindparam("claimed_queue"),
        operations.c.due_at <= db_now(),
        sa.or_(operations.c.lease_until.is_(None), operations.c.lease_until < db_now()),
    )
    .values(
        epoch=operations.c.epoch + 1,
        worker=sa.bindparam("claimer"),
        lease_until=db_now() + sa.bindparam("lease", type_=sa.Float),
        attempts=operations.c.attempts + 1,
    )
    .returning(operations)
)


def claim(
    tx: WriteTx, operation_id: str, queue: str, worker: str, lease: float
) -> Operation | None:
    """Take the operation for `lease` seconds, with the next epoch; None when it is not free."""
    taken = tx.first(
        _CLAIM, claimed_id=operation_id, claimed_queue=queue, claimer=worker, lease=lease
    )
    if taken is None:
        return None
    held = _operation(taken)
    if _was_left(held):
        tx.after_commit(metrics.lease_takeovers.labels(held.workflow).inc)
    return held


def _was_left(held: Operation) -> bool:
    """Whether the worker before this one has not ended its step: each that does says its epoch."""
    last = held.trail[-1] if held.trail else {}
    ended = 0 if last.get("event") == "accepted" else last.get("epoch")
    return ended is not None and held.epoch > ended + 1


def take_over(tx: WriteTx, operation_id: str, worker: str, lease: float) -> Operation | None:
    """As `claim`, but from any queue: for the sweep, which acts in the service's place."""
    found = tx.scalar(
        sa.select(operations.c.queue).where(
            operations.c.id == operation_id, operations.c.state == OPEN
        )
    )
    return claim(tx, operation_id, found, worker, lease) if found else None


def renew(tx: WriteTx, held: Sequence[tuple[str, int]], lease: float) -> set[str]:
    """Prolong leases that are still held; returns the ids of those that are not any more.

    A step that has ended meanwhile has let go of its lease and left its epoch as it was: prolonged,
    that would be a lease that nobody holds, and the next step would wait until it runs out.
    """
    lost = set()
    for operation_id, epoch in held:
        still = _fenced(operation_id, epoch).where(operations.c.lease_until.is_not(None))
        if not tx.run(still.values(lease_until=db_now() + lease)):
            lost.add(operation_id)
    return lost


def advance(tx: WriteTx, held: Operation, entry: dict[str, Any], **changes: Any) -> None:
    """Write a step's progress and let go of the lease. Raises Fenced.

    The entry may say `at` when it is by the database's clock; asking would cost a statement.
    """
    at = entry["at"] if "at" in entry else tx.clock()
    values = changes | {
        "trail": _bounded([*held.trail, {**entry, "at": at}]),
        "lease_until": None,
        "worker": None,
    }
    where = {"held_id": held.id, "held_epoch": held.epoch}
    if not tx.update(_HELD, where, values):
        raise Fenced(held.id)
    if "state" in changes:
        _count_end(tx, held.workflow, at - held.opened_at, changes)


def _count_end(tx: WriteTx, workflow: str, seconds: float, changes: Mapping[str, Any]) -> None:
    outcome, failure = changes["state"], changes.get("failure")

    def count() -> None:
        metrics.operation_seconds.labels(workflow, outcome).observe(seconds)
        if failure:
            metrics.operation_failures.labels(workflow, failure["code"]).inc()

    tx.after_commit(count)


def _bounded(trail: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trail without entries from its middle when it is too long."""
    if len(trail) <= TRAIL_LENGTH:
        return trail
    return trail[:TRAIL_BEGINS] + trail[TRAIL_BEGINS - TRAIL_LENGTH :]


def report(tx: WriteTx, held: Operation, percent: int) -> None:
    """Write how far the present step is, keeping the lease. Raises Fenced."""
    where = {"held_id": held.id, "held_epoch": held.epoch}
    if not tx.update(_HELD, where, {"progress": percent}):
        raise Fenced(held.id)


_HELD = operations.update().where(
    operations.c.id == sa.bindparam("held_id"),
    operations.c.state == OPEN,
    operations.c.epoch == sa.bindparam("held_epoch"),
)


def lock_open(tx: WriteTx, resource_id: str) -> Operation | None:
    """As `open_on`, and nobody claims or ends it until this transaction ends."""
    row = tx.first(
        sa.select(operations)
        .where(
            operations.c.resource_id == resource_id,
            operations.c.resource_type != CHECK,
            operations.c.state == OPEN,
        )
        .with_for_update()
    )
    return _operation(row) if row else None


def amend(tx: WriteTx, operation_id: str, **values: Any) -> bool:
    """Change what an open operation will do (`data`), or when (`due_at`); whether it was open.

    A worker who holds it goes on with what it has read.
    """
    where = (operations.c.id == operation_id, operations.c.state == OPEN)
    return bool(tx.run(operations.update().where(*where).values(values)))


def forget_ended(tx: WriteTx, workflow: str, resource_id: str, *, keep: int) -> None:
    """Remove the ended operations of a workflow on a resource, but for the last few."""
    ended = sa.and_(
        operations.c.resource_id == resource_id,
        operations.c.workflow == workflow,
        operations.c.state != OPEN,
    )
    newest = operations.c.ended_at.desc()
    old = tx.rows(sa.select(operations.c.id).where(ended).order_by(newest).offset(keep).limit(100))
    if old:
        tx.run(operations.delete().where(operations.c.id.in_([row.id for row in old])))


def forget_answers(tx: WriteTx, workflow: str, *, older_than: float) -> None:
    """Remove operations that were nothing but a question, that many seconds after their end."""
    ended = sa.and_(
        operations.c.workflow == workflow,
        operations.c.state != OPEN,
        operations.c.ended_at < db_now() - older_than,
    )
    old = tx.rows(sa.select(operations.c.id).where(ended).limit(100))
    if old:
        tx.run(operations.delete().where(operations.c.id.in_([row.id for row in old])))


def release(tx: WriteTx, held: Operation) -> None:
    """Let go, in the transaction that took it, without having done anything."""
    as_before = {"epoch": held.epoch - 1, "attempts": held.attempts - 1}
    tx.run(_fenced(held.id, held.epoch).values(lease_until=None, worker=None, **as_before))


def _fenced(operation_id: str, epoch: int) -> sa.Update:
    return operations.update().where(
        operations.c.id == operation_id,
        operations.c.state == OPEN,
        operations.c.epoch == epoch,
    )


def cancel(tx: WriteTx, operation_id: str, failure: Failure) -> bool:
    """End an open operation from outside, badly; whoever works on it is fenced off."""
    why = msgspec.to_builtins(failure)
    return _end(tx, operation_id, state="cancelled", failure=why, result=failure.message)


def finish(tx: WriteTx, operation_id: str, note: str) -> bool:
    """End an open operation from outside because what it waited for has come."""
    return _end(tx, operation_id, state="succeeded", result=note)


_FINISH_OF = (
    operations.update()
    .where(_open_on(sa.bindparam("the_resource")), operations.c.workflow == sa.bindparam("which"))
    .values(
        state="succeeded",
        result=sa.bindparam("the_note", type_=operations.c.result.type),
        ended_at=db_now(),
        epoch=operations.c.epoch + 1,
    )
    .returning(operations.c.workflow, operations.c.opened_at)
)


def finish_of(tx: WriteTx, resource_id: str, workflow: str, note: str) -> None:
    """As `finish`, for the open operation of a resource, if it is one of that workflow."""
    ended = tx.first(_FINISH_OF, the_resource=resource_id, which=workflow, the_note=note)
    if ended is not None:
        _count_end(tx, ended.workflow, tx.clock() - ended.opened_at, {"state": "succeeded"})


def _end(tx: WriteTx, operation_id: str, **values: Any) -> bool:
    statement = operations.update().where(
        operations.c.id == operation_id, operations.c.state == OPEN
    )
    bumped = {"ended_at": db_now(), "epoch": operations.c.epoch + 1}
    ended = tx.first(
        statement.values(values | bumped).returning(operations.c.workflow, operations.c.opened_at)
    )
    if ended is not None:
        _count_end(tx, ended.workflow, tx.clock() - ended.opened_at, values)
    return ended is not None


def is_held(tx: ReadTx, held: Operation) -> bool:
    """Whether the operation is still open and nobody has taken it over from this worker."""
    epoch = sa.select(operations.c.epoch).where(
        operations.c.id == held.id, operations.c.state == OPEN
    )
    return bool(tx.scalar(epoch) == held.epoch)


def due(
    tx: ReadTx, queues: Sequence[str], workflows: Sequence[str], limit: int
) -> list[tuple[str, str]]:
    """(id, queue) of open operations that nobody works on and whose time has come: so many of each
    queue, that a long one cannot hide the others. None but these workflows': what only another
    release knows must not hide anything either."""
    if not queues:
        return []
    # Each part is a walk down the index of open operations, which ends after `limit` of them.
    parts = [_due_on(queue, workflows, limit).subquery() for queue in queues]
    statement = sa.union_all(*(sa.select(part.c.id, part.c.queue) for part in parts))
    return [(row.id, row.queue) for row in tx.rows(statement)]


def _due_on(queue: str, workflows: Sequence[str], limit: int) -> sa.Select[tuple[str, str]]:
    now = db_now()
    return (
        sa.select(operations.c.id, operations.c.queue)
        .where(
            operations.c.state == OPEN,
            operations.c.queue == queue,
            operations.c.workflow.in_(workflows),
            operations.c.due_at <= now,
            sa.or_(operations.c.lease_until.is_(None), operations.c.lease_until < now),
        )
        .order_by(operations.c.due_at, operations.c.opened_at)
        .limit(limit)
    )


class Tally(NamedTuple):
    """How many operations of a workflow are in a state, and for how many seconds the oldest."""

    workflow: str
    state: str
    number: int
    oldest: float


def tally_open(tx: ReadTx) -> list[Tally]:
    """The open operations: `running`, `due` with nobody at work on them, `waiting` for their time.

    One walk over the index of what is open.
    """
    now = db_now()
    state = sa.case(
        (operations.c.lease_until >= now, "running"),
        (operations.c.due_at > now, "waiting"),
        else_="due",
    ).label("how")
    statement = (
        sa.select(
            operations.c.workflow, state, sa.func.count(), now - sa.func.min(operations.c.opened_at)
        )
        .where(operations.c.state == OPEN)
        .group_by(operations.c.workflow, state)
    )
    return [Tally._make(row) for row in tx.rows(statement)]


def waiting_longer_than(
    tx: ReadTx, seconds: float, *, queues: Sequence[str] | None = None, limit: int = 100
) -> list[Operation]:
    """Open operations that have been open, and due, for so long and that no worker holds; of these
    queues only, if any are named."""
    now = db_now()
    statement = (
        sa.select(operations)
        .where(
            operations.c.state == OPEN,
            operations.c.opened_at < now - seconds,
            operations.c.due_at < now - seconds,
            sa.or_(operations.c.lease_until.is_(None), operations.c.lease_until < now),
        )
        .order_by(operations.c.opened_at)
        .limit(limit)
    )
    if queues is not None:
        statement = statement.where(operations.c.queue.in_(queues))
    return [_operation(row) for row in tx.rows(statement)]


def leases_of_host(tx: ReadTx, host: str) -> list[str]:
    """Names of workers of one host that hold a lease (a worker is `host:pid:start`)."""
    statement = (
        sa.select(operations.c.worker)
        .distinct()
        .where(
            operations.c.state == OPEN,
            operations.c.lease_until.is_not(None),
            begins(operations.c.worker, f"{host}:"),
        )
    )
    return [str(row[0]) for row in tx.rows(statement)]


def release_leases(
    tx: WriteTx, worker: str, queues: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Free what a worker holds that is dead or leaves (on these queues, if any are named), so that
    the next one need not wait: (id, queue) of it."""
    held = [operations.c.state == OPEN, operations.c.worker == worker]
    if queues is not None:
        held.append(operations.c.queue.in_(queues))
    statement = (
        operations.update()
        .where(*held)
        .values(lease_until=None, worker=None)
        .returning(operations.c.id, operations.c.queue)
    )
    return [(row.id, row.queue) for row in tx.rows(statement)]
