"""Hold a volume for a client that attaches or detaches it in several calls.

    api        submit   os-begin_detaching: `detaching`; os-reserve: `attaching`
    scheduler  expire   the client never came back: the status that the attachments say, and hosts
                        that were let in for nothing are shut out

Between such a call and the next the client is in charge (Nova unplugs the device meanwhile). When
it dies there, nobody would ever settle the status; so the hold is an operation like any other,
which its own end (os-roll_detaching, the detach, os-attach, …) releases, and time does otherwise.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from breezeblock.model import messages as events
from breezeblock.model.errors import CUT_SHORT, Failure
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import attachments, messages, volumes
from breezeblock.store.store import WriteTx
from breezeblock.workflows import detach_volume
from breezeblock.workflows.doors import SCHEDULER
from breezeblock.workflows.holds import HOLD

PATIENCE = 3600.0
"""Seconds that a client has for the rest of its calls."""


class Data(msgspec.Struct, frozen=True):
    """The status that the client was given."""

    status: str


def submit(
    tx: WriteTx, caller: Caller, volume: Volume, allowed: Collection[str], status: str
) -> str:
    """Give the volume the status for the time of the hold; returns the operation's id.

    Raises InvalidState when its status is none of `allowed`, Conflict.
    """
    volumes.transition(tx, volume.id, allowed, status)
    return submit_operation(
        tx, WORKFLOW, caller, volume.id, Data(status), SCHEDULER, delay=PATIENCE
    )


async def expire(run: Run[Data]) -> Outcome:
    """The client did not come back: let the attachments say what is true."""
    return Done(
        settle=lambda tx: _give_back(tx, run.operation, run.data),
        note="the client did not come back",
    )


def _give_back(tx: WriteTx, operation: Operation, data: Data) -> None:
    """As os-unreserve or os-roll_detaching, which the client has not called."""
    volume = volumes.find_locked(tx, operation.resource_id)
    if volume is None:
        return
    if data.status == "attaching":
        caller = Caller(operation.project_id, operation.user_id, operation.request_id)
        detach_volume.give_back(tx, caller, volume)
    else:
        attachments.settle_volume(tx, volume.id)


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """Given back all the same. Who cuts it short says himself what becomes of the volume."""
    if failure.code == CUT_SHORT:
        attachments.settle_volume(tx, operation.resource_id)
        return
    _give_back(tx, operation, data)
    messages.tell(tx, events.HOLD_FAILED, operation, failure.text)


WORKFLOW = Workflow(HOLD, "volume", Data, (expire,), _settle_failure)
