"""Adopting what a backend holds already: what volumes and snapshots have in common.

What is adopted is an operator's data before it is ours. So whatever comes in between, it is let go
of again and never removed: until an adoption has succeeded its object is none of ours (`adopted`).

    scheduler  check      whether the pool takes anything: the filters, for a wish without a size
    backend    adopt      the driver makes it ours; its size is known then, and counts
    backend    give_back  only when that did not go well: the driver lets go of it

That it has failed is written down before it is let go of. A driver call that comes late lets go of
what nobody will have under that id, then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from breezeblock.drivers.base import DriverError, StillWorking, TemporaryError
from breezeblock.model.errors import Failure, OverQuota
from breezeblock.model.operation import Operation
from breezeblock.operations.explain import of_driver
from breezeblock.operations.workflow import Again, Failed, Next, Outcome, Run
from breezeblock.scheduler.ranking import rank
from breezeblock.scheduler.request import Request
from breezeblock.store.store import WriteTx
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.doors import queue_of

log = structlog.get_logger()

TRIES = 3
"""How often a backend is asked to let go before the sweep sees to it."""
NOT_TAKEN = "not-taken"
"""Code of failures that come before the backend was asked."""
OVER_QUOTA = "over-quota"


class Data(msgspec.Struct, frozen=True):
    """What is wanted; `limits` are those of resources that have none of their own.

    `refused` says why it ends badly, once that is decided; `free` that the backend has let go.
    """

    reference: dict[str, str]
    extra_specs: dict[str, str] = {}
    availability_zones: tuple[str, ...] = ()
    limits: dict[str, int] = {}
    refused: Failure | None = None
    free: bool = False


async def ask_filters(run: Run[Data], pool: str, names: Mapping[str, Any]) -> Outcome:
    """Ask whether the pool may take it; `names` are the volume's, for filter functions."""
    request = Request(
        volume=names,
        extra_specs=run.data.extra_specs,
        availability_zones=run.data.availability_zones,
        only=pool,
    )
    chosen = run.doors.scheduling
    ranking = rank(await run.doors.pools.pools(), request, chosen.filters, chosen.weighers)
    if ranking.candidates:
        return Next(queue_of(pool), run.data)
    failure = Failure(
        code=NOT_TAKEN,
        message="The storage pool does not take it.",
        cause=ranking.cause,
        remedy="Choose another type, zone or pool, or try again when the pool is up.",
        retryable=True,
    )
    return Failed(failure, note=ranking.summary())


async def call_driver(
    run: Run[Data], backend: str, method: Callable[[Any], Callable[..., Any]], wanted: Any
) -> int | Outcome:
    """The size in GiB of what the driver has adopted; or what to do otherwise.

    Raises TemporaryError: then it is tried again.
    """
    try:
        return int(await run.doors.call(backend, method, wanted, run.data.reference))
    except StillWorking as error:
        return Again(error.retry_after, data=run.data, note=str(error), progress=error.progress)
    except TemporaryError:
        raise
    except Exception as error:
        if not isinstance(error, DriverError):
            log.exception("driver failed unexpectedly", backend=backend)
        return refuse(run, backend, of_driver(error))


def refuse(run: Run[Data], backend: str, why: Failure) -> Outcome:
    """It ends badly: let go of it first."""
    data = msgspec.structs.replace(run.data, refused=why)
    return Next(queue_of(backend), data, note=why.text)


async def let_go(
    run: Run[Data], backend: str, method: Callable[[Any], Callable[..., Any]], gone: Any
) -> Outcome:
    """Have the driver let go of it, and end. Raises TemporaryError: then it is tried again."""
    assert run.data.refused is not None
    try:
        await run.doors.call(backend, method, gone)
    except Exception as error:
        if isinstance(error, TemporaryError) and run.operation.attempts < TRIES:
            raise
        log.warning("not let go of", backend=backend, adopted=gone.id, error=str(error))
        return Failed(run.data.refused, note=f"{backend} has not let go of it: {error}")
    return Failed(run.data.refused, msgspec.structs.replace(run.data, free=True))


def sweep_up(tx: WriteTx, operation: Operation, data: Data, backend: str | None) -> None:
    """Have the backend let go later of what it may still take for ours."""
    if backend and operation.step != "check" and not data.free:
        sweep_backend.request(tx, backend, delay=sweep_backend.SETTLED)


def over_quota(error: OverQuota, size: int) -> Failure:
    return Failure(
        code=OVER_QUOTA,
        message=f"It has {size} GiB, more than the project's quota allows.",
        cause=error.reason,
        remedy="Let the quota be raised, or make room in it, and adopt it again.",
        retryable=True,
    )
