"""Discard an image that was announced and gets no bytes: the upload into it has failed.

backend    discard   the image service removes it; one that is whole stays
"""

from __future__ import annotations

import contextlib

import msgspec
import structlog

from breezeblock.model.errors import Failure, Unavailable, UnderWay
from breezeblock.model.operation import Operation
from breezeblock.operations.submit import nobody
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Outcome, Run, Workflow
from breezeblock.store.store import WriteTx

log = structlog.get_logger()

AGAIN = 30.0
"""Seconds until an image service that does not answer is asked again."""
TRIES = 120
"""How often."""


class Data(msgspec.Struct, frozen=True):
    """Nothing to remember."""


def submit(tx: WriteTx, failed: Operation, image_id: str) -> None:
    """Have the image discarded that this upload was to fill; nobody waits for it."""
    caller = nobody(failed.request_id)
    with contextlib.suppress(UnderWay):  # that one comes to it
        submit_operation(tx, WORKFLOW, caller, image_id, Data(), failed.queue)


async def discard(run: Run[Data]) -> Outcome:
    """Ask the image service, for as long as an hour if it does not answer."""
    try:
        await run.doors.images.discard(run.operation.resource_id)
    except Unavailable as error:
        if run.operation.attempts < TRIES:
            return Again(after=AGAIN, note=str(error))
        raise
    return Done()


def _settle_failure(_tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    """Nobody asked for it, and the image's owner can delete it himself."""
    log.warning("image stays", image=operation.resource_id, why=failure.text)


WORKFLOW = Workflow("discard_image", "image", Data, (discard,), _settle_failure)
