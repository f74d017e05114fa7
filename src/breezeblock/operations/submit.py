"""Opening an operation, inside the transaction of the request that asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from breezeblock.model.ids import new_id
from breezeblock.model.operation import Operation
from breezeblock.operations.workflow import Workflow
from breezeblock.store import operations
from breezeblock.store.store import WriteTx
from breezeblock.telemetry import tracing


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf, and for which request, work is done."""

    project_id: str
    user_id: str
    request_id: str
    reply_to: str | None = None


def nobody(request_id: str = "") -> Caller:
    """For what the service does of its own accord; as part of a request of its own by default."""
    return Caller("", "", request_id or f"req-{new_id()}")


def submit(
    tx: WriteTx,
    workflow: Workflow,
    caller: Caller,
    resource_id: str,
    data: msgspec.Struct,
    queue: str,
    *,
    delay: float = 0.0,
) -> str:
    """Open an operation and have the first step's service woken; returns its id.

    With a delay the first step is not due before so many seconds have passed. Raises UnderWay when
    the resource has an open operation: then nothing is written.
    """
    operation = Operation(
        id=new_id(),
        workflow=workflow.name,
        resource_type=workflow.resource_type,
        resource_id=resource_id,
        project_id=caller.project_id,
        user_id=caller.user_id,
        request_id=caller.request_id,
        step=workflow.names[0],
        queue=queue,
        data=msgspec.to_builtins(data),
        reply_to=caller.reply_to,
        trail=[_accepted(tx)],
    )
    operations.insert(tx, operation, delay=delay)
    if not delay:
        tx.wake(queue, operation.id)
    return operation.id


def _accepted(tx: WriteTx) -> dict[str, Any]:
    """The trail's first entry; whose trace the work belongs to, where there is one."""
    trace = tracing.traceparent()
    return {"event": "accepted", "step": "api", "at": tx.clock()} | (
        {"trace": trace} if trace else {}
    )
