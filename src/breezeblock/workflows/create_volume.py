"""Create a volume: empty, from a snapshot, from another volume, or from an image.

    api        submit     checks, quota, the volume's row in `creating`
    scheduler  schedule   ranks the pools that fit and keeps the reasons of those that do not
    backend    build      tries one pool after the other until a driver succeeds; an image is
                          fetched before, the volume is then `downloading`

Whatever happens, the volume ends in `available` or in `error`, and an error leaves a message that
says why. Retries are safe because the driver names what it makes by the volume's UUID.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec
import structlog

from breezeblock.drivers.base import DriverError, Source, StillWorking, TemporaryError
from breezeblock.drivers.base import Volume as DriverVolume
from breezeblock.model import messages as events
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.qos_specs import for_driver
from breezeblock.model.usage import of_volume
from breezeblock.model.volumes import Volume
from breezeblock.operations.explain import of_driver
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import (
    Again,
    Deciding,
    Done,
    Failed,
    Looking,
    Next,
    Outcome,
    Run,
    Workflow,
)
from breezeblock.scheduler.ranking import choose
from breezeblock.scheduler.request import Request, hinted_volumes
from breezeblock.store import attachments, messages, quotas, snapshots, volumes, work
from breezeblock.store.operations import Fenced
from breezeblock.store.store import ReadTx, StoreUnavailable, WriteTx
from breezeblock.store.work import ToBuild
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.doors import SCHEDULER, as_driver_snapshot, as_driver_volume, queue_of
from breezeblock.workflows.from_image import Filling
from breezeblock.workflows.placing import names_of, record_of

log = structlog.get_logger()

TRIES_FOR_READINESS = 15
"""For how many seconds backends that have not reported are waited for: services may just be
starting, and a volume asked for meanwhile must not pay for it."""

TRIES_PER_POOL = 3
"""How often a pool that says "not now" is asked before the next one is."""

DOWN = Failure(
    code="down",
    message="The backend could not be asked.",
    cause="The backend's service is down.",
    remedy="Try again later, or tell the operator the request id.",
    retryable=True,
)


class Origin(msgspec.Struct, frozen=True):
    """What the volume starts from; `pool` is where that is, and the new volume has to go. Images
    are nowhere in particular; `said` is what the image service said of them then."""

    kind: Literal["volume", "snapshot", "image"]
    id: str
    pool: str = ""
    said: dict[str, str] = {}


class Data(msgspec.Struct, frozen=True):
    """What the steps find out. `tried` holds pools that failed, with their error."""

    type_name: str
    extra_specs: dict[str, str] = {}
    availability_zones: tuple[str, ...] = ()
    hints: dict[str, Any] = {}
    origin: Origin | None = None
    candidates: tuple[str, ...] = ()
    ranking: dict[str, Any] = {}
    position: int = 0
    tried: tuple[dict[str, str], ...] = ()

    @property
    def pool(self) -> str:
        return self.candidates[self.position]


def submit(tx: WriteTx, caller: Caller, volume: Volume, data: Data, limits: dict[str, int]) -> str:
    """Write the volume in `creating`, charge the quota, open the operation; returns its id.

    The caller has checked source, type and sizes in this transaction. Raises OverQuota.
    """
    used = of_volume(volume.size, data.type_name)
    quotas.charge(tx, volume.project_id, used, limits, volume_size=volume.size)
    volumes.insert(tx, volume)
    return submit_operation(tx, WORKFLOW, caller, volume.id, data, SCHEDULER)


def schedule(tx: ReadTx, run: Run[Data]) -> Outcome:
    """Rank the pools; without one that fits, say for each why not."""
    data = run.data
    volume = volumes.find(tx, run.operation.resource_id)
    if volume is None:
        return Failed(_gone())
    request = Request(
        size=volume.size,
        volume=names_of(volume),
        extra_specs=data.extra_specs,
        hints=data.hints,
        availability_zones=data.availability_zones,
        only=(data.origin.pool or None) if data.origin else None,
        locations=volumes.locations(tx, hinted_volumes(data.hints), run.operation.project_id),
    )
    chosen = run.doors.scheduling
    pools, most = run.doors.pools.seen(tx), chosen.max_candidates
    with pools.lock:  # else another one could choose the same space
        ranking = choose(pools, request, chosen.filters, chosen.weighers, most)
        if ranking.candidates:
            run.doors.pools.book(ranking.candidates[0].pool, volume.size)
    data = msgspec.structs.replace(
        data,
        candidates=tuple(one.pool for one in ranking.candidates[:most]),
        ranking=record_of(ranking, most),
    )
    if not data.candidates and run.operation.attempts < TRIES_FOR_READINESS and ranking.none_ready:
        return Again(after=1.0, note="no backend is up yet")
    if not data.candidates:
        return Failed(
            Failure(
                code="no-backend-fits",
                message="No storage pool fits the volume.",
                cause=ranking.cause,
                remedy="Ask for less, for another zone or type, or let the operator add space.",
                retryable=True,
            ),
            data,
            note=ranking.summary(),
        )
    return Next(
        queue_of(data.pool),
        data,
        settle=lambda tx: _place(tx, volume.id, data.pool),
        note=f"candidates: {', '.join(data.candidates)}",
    )


async def build(run: Run[Data], found: tuple[ToBuild, Source] | None) -> Outcome:
    """Let the driver of the present candidate make the volume; when it cannot, go to the next."""
    if found is None:
        return Failed(_gone())
    data, ((volume, qos, service_id), source) = run.data, found
    wanted = as_driver_volume(
        volume, extra_specs=data.extra_specs, qos=for_driver(qos), pool=data.pool
    )
    make = _Making(run, volume, wanted, service_id)
    if data.origin is None or data.origin.kind != "image":
        return await _make(make, source)
    if volume.status == "creating":
        return Again(data=data, settle=lambda tx: _begin_download(tx, volume.id))
    filling = Filling(run)
    async with filling.image(data.origin.id, volume.size, data.origin.said) as image:
        return await _make(make, image, filling)


class _Making(NamedTuple):
    """What is made: the volume as the database has it and as the driver shall make it, and the
    service that will hold it."""

    run: Run[Data]
    volume: Volume
    wanted: DriverVolume
    service_id: str | None


async def _make(make: _Making, source: Source, filling: Filling | None = None) -> Outcome:
    """Call the driver. While it is filled from an image (`filling`) this waits for its end."""
    run, volume, wanted, service_id = make
    data = run.data
    backend = data.pool.partition("#")[0]

    async def create() -> None:
        await run.doors.call(backend, lambda driver: driver.create, wanted, source)

    try:
        await (filling.driver(create) if filling else create())
    except (Fenced, StoreUnavailable):
        raise
    except StillWorking as error:
        return Again(error.retry_after, data=data, note=str(error), progress=error.progress)
    except Exception as error:
        if isinstance(error, TemporaryError) and run.operation.attempts < TRIES_PER_POOL:
            raise
        if not isinstance(error, DriverError):
            log.exception("driver failed unexpectedly", backend=backend)
        return await _try_next(run, volume, error)
    zone = run.doors.backends[backend].availability_zone
    return Done(
        result={"host": data.pool},
        settle=lambda tx: _made(tx, volume, data.pool, zone, service_id),
        note=f"made by {data.pool}",
    )


async def _try_next(run: Run[Data], volume: Volume, error: Exception) -> Outcome:
    """Sweep up what the failed driver may have left, then hand on to the next candidate."""
    backend = run.data.pool.partition("#")[0]
    try:
        remains = as_driver_volume(volume, pool=run.data.pool)
        await run.doors.call(backend, lambda driver: driver.delete, remains)
    except Exception as leftover:
        log.warning("could not sweep up", backend=backend, volume=volume.id, error=str(leftover))
    return _hand_on(run, of_driver(error))


def _hand_on(run: Run[Data], failure: Failure) -> Outcome:
    """Go to the next candidate, or end badly when there is none left."""
    pool, volume_id = run.data.pool, run.operation.resource_id
    told = failure.cause or failure.message
    data = msgspec.structs.replace(
        run.data,
        tried=(*run.data.tried, {"pool": pool, "error": told}),
        position=run.data.position + 1,
    )
    if data.position < len(data.candidates):
        return Again(
            queue=queue_of(data.pool),
            data=data,
            settle=lambda tx: _move_on(tx, volume_id, pool, data.pool),
            note=f"{pool} failed ({told}); now {data.pool}",
        )
    if len(data.tried) > 1:
        failure = Failure(
            code="every-backend-failed",
            message=f"All {len(data.tried)} storage pools that fit have failed.",
            cause=" ".join(dict.fromkeys(one["error"] for one in data.tried)),
            remedy=failure.remedy or "Try again later, or tell the operator the request id.",
            retryable=failure.retryable,
            private=True,
        )
    return Failed(failure, data, note=f"{pool} failed ({told})")


def _stranded(run: Run[Data]) -> Outcome | None:
    """The candidate's service is down: do not wait for it when there is another one."""
    if run.operation.step != build.__name__ or run.data.position + 1 >= len(run.data.candidates):
        return None
    return _hand_on(run, DOWN)


# -- transactions -----------------------------------------------------------------------------


def _to_build(tx: ReadTx, run: Run[Data]) -> tuple[ToBuild, Source] | None:
    """The volume with what is to be known of it, and what it starts from."""
    backend = run.data.pool.partition("#")[0]
    found = work.to_build(tx, run.operation.resource_id, backend)
    return (found, _source(tx, run.data.origin)) if found else None


def _source(tx: ReadTx, origin: Origin | None) -> Source:
    """What the database knows of it; images are fetched."""
    if origin is None or origin.kind == "image":
        return None
    if origin.kind == "volume":
        return as_driver_volume(volumes.get(tx, origin.id))
    snapshot = snapshots.get(tx, origin.id)
    return as_driver_snapshot(snapshot, volumes.get(tx, snapshot.volume_id))


def _begin_download(tx: WriteTx, volume_id: str) -> None:
    volumes.transition(tx, volume_id, {"creating"}, "downloading")


def _place(tx: WriteTx, volume_id: str, pool: str) -> None:
    volumes.update(tx, volume_id, host=pool)


def _move_on(tx: WriteTx, volume_id: str, failed: str, pool: str) -> None:
    _place(tx, volume_id, pool)
    _have_swept(tx, failed)


def _have_swept(tx: WriteTx, pool: str) -> None:
    """What the pool left behind holds now or gets late, from a worker that was frozen, goes."""
    sweep_backend.request(tx, pool.partition("#")[0], delay=sweep_backend.SETTLED)


def _made(tx: WriteTx, volume: Volume, pool: str, zone: str, service_id: str | None) -> None:
    volumes.transition(
        tx,
        volume.id,
        {"creating", "downloading"},
        "available",
        host=pool,
        service_uuid=service_id,
        availability_zone=volume.availability_zone or zone,
    )
    if volume.status == "downloading":  # somebody may have reserved it meanwhile
        attachments.settle_volume(tx, volume.id)


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """The volume stays in `error`, so that its owner sees it; a message says why."""
    nowhere = failure.code == "no-backend-fits"
    # Cut short, the present candidate may hold something that the deletion has to look for.
    swept = data.position >= len(data.candidates)
    values: dict[str, Any] = {"host": None} if swept else {}
    if swept and data.tried:
        _have_swept(tx, data.tried[-1]["pool"])
    volumes.update(tx, operation.resource_id, status="error", **values)
    refused = failure.code == "image-refused"
    event = events.IMAGE_REFUSED if refused else events.CREATE_FAILED
    messages.tell(tx, events.NO_BACKEND_FITS if nowhere else event, operation, failure.text)


def _gone() -> Failure:
    return Failure(
        code="gone",
        message="The volume is not there any more.",
        cause="It was deleted while it was being made.",
        remedy="Create another one if it is still wanted.",
    )


WORKFLOW = Workflow(
    "create_volume",
    "volume",
    Data,
    (Deciding(schedule), Looking(_to_build, build)),
    _settle_failure,
    stranded=_stranded,
)
