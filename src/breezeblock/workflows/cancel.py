"""Cut an operation short, because an administrator resets or deletes what it works on.

The API calls it in the transaction of the request. The operation ends as a failed one does: its
workflow settles status and quota, whoever waits for it is told, and the worker that is still at it
is fenced off. The caller then writes the status that he wants instead.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from breezeblock.model.errors import CUT_SHORT, Failure
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.store import operations
from breezeblock.store.store import WriteTx
from breezeblock.workflows import revert_volume
from breezeblock.workflows.attach_volume import EXPORT
from breezeblock.workflows.registry import REGISTRY


class Reason(Enum):
    """Why work is cut short, as those are told who asked for it."""

    RESET = Failure(
        code=CUT_SHORT,
        message="The work was cut short.",
        cause="An administrator has reset the status of what it worked on.",
        remedy="If you still want it, look at the status and ask again.",
    )
    DELETED = Failure(
        code=CUT_SHORT,
        message="The work was cut short.",
        cause="What it worked on is being deleted.",
        remedy="Nothing needs to be done, unless the deletion was a mistake.",
    )


def cancel_on(tx: WriteTx, resource_id: str, why: Reason) -> bool:
    """End the open operation on a volume or a snapshot, if there is one.

    Whether a worker was at it: what that one does at the backend may come about yet.
    """
    under_way = operations.open_on(tx, resource_id)
    return under_way is not None and _cancel(tx, under_way, why)


def cancel_on_snapshot(tx: WriteTx, snapshot: Snapshot, why: Reason) -> bool:
    """As `cancel_on`, and end the work that puts the snapshot's volume back to it."""
    reached = cancel_on(tx, snapshot.id, why)
    above = operations.open_on(tx, snapshot.volume_id)
    if above is not None and revert_volume.reverts_to(above, snapshot.id):
        reached |= _cancel(tx, above, why)
    return reached


def cancel_exports(tx: WriteTx, volume_id: str, why: Reason) -> bool:
    """End the open operations that connect hosts with the volume or disconnect them.

    Whether a worker was at one of them.
    """
    under_way = operations.open_touching(tx, volume_id)
    reached = [_cancel(tx, one, why) for one in under_way if one.resource_type == EXPORT]
    return any(reached)


def _cancel(tx: WriteTx, operation: Operation, why: Reason) -> bool:
    failure = why.value
    if not operations.cancel(tx, operation.id, failure):
        return False
    workflow = REGISTRY[operation.workflow]
    data = msgspec.convert(operation.data, workflow.data)
    workflow.settle_failure(tx, operation, data, failure)
    if operation.reply_to:
        tx.wake(operation.reply_to, operation.id, everyone=True)
    return operation.worker is not None
