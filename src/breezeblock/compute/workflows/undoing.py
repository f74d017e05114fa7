"""Steps whose failure must be undone before the operation ends.

A workflow that has changed something outside (an attachment, a plugged disk) may not just end
badly: it would strand what it has made. A step marked `undoable` that fails therefore first writes
the failure down, in the operation's data; from then on the operation undoes, however often it is
interrupted, and ends as failed once that has worked.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import structlog

from breezeblock.compute.explain import explain, final
from breezeblock.compute.pauses import pause_after
from breezeblock.model.errors import Failure
from breezeblock.operations.workflow import Act, Again, Failed, Outcome, Run
from breezeblock.store.store import StoreUnavailable

log = structlog.get_logger()

TRIES = 5
"""How often a step is tried while its errors are temporary, unless it says otherwise."""

D = TypeVar("D", bound="Undoable")


class Undoable(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the data of such workflows: why it is being undone, and whether that is finished."""

    failure: Failure | None = None
    undone: bool = False


def undoable(
    undo: Callable[[Run[Any]], Awaitable[None]], *, tries: int = TRIES
) -> Callable[[Act], Act]:
    """Mark a step: when it fails, `undo` runs until it succeeds, then the operation ends."""

    def decorate(step: Act) -> Act:
        @functools.wraps(step)
        async def run_or_undo(run: Run[Any]) -> Outcome:
            if run.data.failure is not None:
                return await _undo(undo, run)
            try:
                return await step(run)
            except StoreUnavailable:
                raise
            except Exception as error:
                return _after(error, run, tries)

        return run_or_undo

    return decorate


def _after(error: Exception, run: Run[Any], tries: int) -> Outcome:
    """Try the step again, or begin to undo."""
    verdict = explain(error)
    if isinstance(verdict, float) and run.operation.attempts < tries:
        return Again(after=verdict, note=f"will try again: {error}")
    if verdict is None:
        log.exception("step failed unexpectedly", step=run.operation.step)
    failure = verdict if isinstance(verdict, Failure) else final(error)
    data = msgspec.structs.replace(run.data, failure=failure)
    return Again(data=data, note=f"undoing: {failure.text}")


async def _undo(undo: Callable[[Run[Any]], Awaitable[None]], run: Run[Any]) -> Outcome:
    try:
        await undo(run)
    except StoreUnavailable:
        raise
    except Exception as error:
        log.warning("undoing failed", operation=run.operation.id, error=str(error))
        pause = pause_after(run.operation.attempts)
        return Again(after=pause, note=f"could not be undone yet: {error}")
    data = msgspec.structs.replace(run.data, undone=True)
    return Failed(run.data.failure, data=data, note="undone")
