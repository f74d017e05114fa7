"""Hold a volume for a client that attaches or detaches it in several calls.

    api        submit   os-begin_detaching: `detaching`; os-reserve: `attaching`
    scheduler  expire   the client never came back: the status that the attachments say

Between such a call and the next the client is in charge (Nova unplugs the device meanwhile). When
it dies there, nobody would ever settle the status; so the hold is an operation like any other,
which its own end (os-roll_detaching, the detach, os-attach, …) releases, and time does otherwise.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import attachments, operations, volumes
from breezeblock.store.store import WriteTx
from breezeblock.workflows.doors import SCHEDULER

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


def release(tx: WriteTx, volume_id: str) -> None:
    """End the hold, if there is one: whoever calls settles the status himself."""
    held = operations.open_on(tx, volume_id)
    if held is not None and held.workflow == WORKFLOW.name:
        operations.cancel(tx, held.id, "released", state="succeeded")


async def expire(run: Run[Data]) -> Outcome:
    """The client did not come back: let the attachments say what is true."""
    return Done(
        settle=lambda tx: attachments.settle_volume(tx, run.operation.resource_id),
        note="the client did not come back",
    )


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, _failure: Failure) -> None:
    attachments.settle_volume(tx, operation.resource_id)


WORKFLOW = Workflow("hold_volume", "volume", Data, (expire,), _settle_failure)
