"""The sweep: ends or redirects work that its service does not come for.

A scheduler calls it now and then. It takes the operation over with the next epoch, as any worker
would, so a service that comes back too late is refused.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog

from breezeblock.model.errors import Failure
from breezeblock.operations.engine import Engine
from breezeblock.operations.workflow import Failed, Outcome, Run
from breezeblock.store import operations, services
from breezeblock.store.store import ReadTx

log = structlog.get_logger()


async def end_overdue(engine: Engine, deadline: float) -> int:
    """End operations that have been open for `deadline` seconds and that nobody works on.

    Returns how many were ended.
    """
    overdue = await engine.store.read(lambda tx: operations.waiting_longer_than(tx, deadline))
    ended = 0
    for found in overdue:
        if found.workflow not in engine.registry:
            continue
        failure = Failure(
            code="overdue",
            message=f"The {found.queue.partition('.')[0]} service did not take the work in time.",
            cause=f"It waited for {deadline:.0f} s.",
            remedy="Try again once the operator has that service running.",
            retryable=True,
        )
        ended += await engine.take_over(found.id, partial(_fail, failure=failure))
    return ended


def _fail(_run: Run[Any], failure: Failure) -> Outcome:
    return Failed(failure)


async def move_on_stranded(engine: Engine, down_time: float) -> int:
    """Send work that waits for a backend that is down elsewhere, if its workflow knows where.

    Returns how many operations were moved.
    """
    waiting = await engine.store.read(lambda tx: _stranded(tx, down_time))
    moved = 0
    for operation_id, workflow in waiting:
        if workflow in engine.registry and (elsewhere := engine.registry[workflow].stranded):
            moved += await engine.take_over(operation_id, elsewhere)
    return moved


def _stranded(tx: ReadTx, down_time: float) -> list[tuple[str, str]]:
    # Only of those backends: work that waits for a slow one that is up may be older, and plenty.
    down = [f"volume.{one.host}" for one in services.all_services(tx, down_time) if not one.up]
    waiting = operations.waiting_longer_than(tx, down_time, queues=down)
    return [(one.id, one.workflow) for one in waiting]
