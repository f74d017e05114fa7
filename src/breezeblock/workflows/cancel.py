"""Cut an operation short, because an administrator resets or deletes what it works on.

The API calls it in the transaction of the request. The operation ends as a failed one does: its
workflow settles status and quota, whoever waits for it is told, and the worker that is still at it
is fenced off. The caller then writes the status that he wants instead.
"""

from __future__ import annotations

import msgspec

from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.store import operations
from breezeblock.store.store import WriteTx
from breezeblock.workflows.registry import REGISTRY


def cancel_on(tx: WriteTx, resource_id: str, why: str) -> None:
    """End the open operation on a volume or a snapshot, if there is one."""
    under_way = operations.open_on(tx, resource_id)
    if under_way is not None:
        _cancel(tx, under_way, why)


def cancel_exports(tx: WriteTx, volume_id: str, why: str) -> None:
    """End the open operations that connect hosts with the volume or disconnect them."""
    for operation in operations.touching(tx, volume_id):
        if operation.is_open and operation.resource_id != volume_id:
            _cancel(tx, operation, why)


def _cancel(tx: WriteTx, operation: Operation, why: str) -> None:
    if not operations.cancel(tx, operation.id, why):
        return
    workflow = REGISTRY[operation.workflow]
    data = msgspec.convert(operation.data, workflow.data)
    workflow.settle_failure(tx, operation, data, Failure(code="cancelled", message=why))
    if operation.reply_to:
        tx.wake(operation.reply_to, operation.id, everyone=True)
