"""Migrate a volume: bring it to another pool of its backend, also while guests use it.

api        submit   checks, migration status `starting`; locked, an available volume says
                    `maintenance` until the end
scheduler  choose   does the pool that was named take it, or which one of the backend's others?
backend    move     the driver moves it; the row names the new pool when that is done

To another backend, or through the host (force_host_copy), bytes would have to be copied, which is
not done here: such a request ends in migration status `error`, and says what is possible.
"""

from __future__ import annotations

from typing import Any

import msgspec

from breezeblock.model import messages as events
from breezeblock.model import volumes as rules
from breezeblock.model.errors import Failure, InvalidInput
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Failed, Next, Outcome, Run, Workflow
from breezeblock.scheduler.ranking import Ranking, rank
from breezeblock.scheduler.request import Request
from breezeblock.store import messages, services, snapshots, volume_types, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import moving
from breezeblock.workflows.doors import SCHEDULER, queue_of
from breezeblock.workflows.placing import names_of, record_of

NO_FIT = "no-backend-fits"
NO_COPIES = Failure(
    code="no-copies",
    message="The volume was not moved.",
    cause="force_host_copy asks for a copy through the host, which is not made here.",
    remedy="Ask without it: a backend moves volumes between its own pools itself, also in use.",
)
NOWHERE = Failure(
    code=NO_FIT,
    message="The volume was not moved: its backend has no other pool.",
    cause="No other pool of the backend has reported.",
    remedy="Add a pool to the backend, or leave the volume where it is.",
    retryable=True,
)
ELSEWHERE = Failure(
    code="another-backend",
    message="The volume was not moved.",
    cause="Volumes are moved between the pools of one backend, not from one backend to another.",
    remedy=f"Name another pool of the volume's own backend; or {moving.BY_IMAGE}.",
)


class Data(msgspec.Struct, frozen=True):
    """Where it shall go: `target` as it was named, a pool or a whole backend."""

    target: str
    force_host_copy: bool = False
    moves_from: str = ""
    moves_to: str = ""
    ranking: dict[str, Any] = {}


def submit(
    tx: WriteTx,
    caller: Caller,
    volume: Volume,
    target: str,
    *,
    force_host_copy: bool,
    lock: bool,
    down_time: float,
) -> str:
    """Put the volume to `starting` and open the operation; returns its id.

    The caller has locked the volume. Raises InvalidInput, InvalidState, Conflict.
    """
    rules.check_migrate(volume, target, snapshots=len(snapshots.of_volume(tx, volume.id)))
    _check_target(tx, target, down_time)
    status = "maintenance" if lock and volume.status == "available" else volume.status
    volumes.update(
        tx, volume.id, status=status, previous_status=volume.status, migration_status="starting"
    )
    data = Data(target, force_host_copy)
    return submit_operation(tx, WORKFLOW, caller, volume.id, data, SCHEDULER)


def _check_target(tx: ReadTx, target: str, down_time: float) -> None:
    backend, _, pool = target.partition("#")
    known = {
        one.host: one
        for one in services.all_services(tx, down_time)
        if one.binary == services.VOLUME
    }
    service = known.get(backend)
    if service is None:
        raise InvalidInput("host: there is no such backend; it is named host@backend#pool.")
    if service.disabled or not service.up:
        why = "disabled" if service.disabled else "down"
        raise InvalidInput(f"host: the service of that backend is {why}.")
    if pool and target not in {one.name for one in services.all_pools(tx)}:
        raise InvalidInput("host: the backend has no such pool.")


async def choose(run: Run[Data]) -> Outcome:
    """Ask the filters; when a whole backend was named, the weighers choose among its pools."""
    data = run.data
    volume, specs = await run.doors.store.read(lambda tx: _to_place(tx, run.operation))
    if data.force_host_copy:
        return Failed(NO_COPIES)
    if data.target.partition("#")[0] != volume.backend:
        return Failed(ELSEWHERE)
    request = Request(
        size=volume.size,
        volume=names_of(volume),
        extra_specs=specs,
        only=data.target if "#" in data.target else None,
    )
    chosen = run.doors.scheduling
    others = moving.siblings(await run.doors.pools.pools(), volume)
    if not others:
        return Failed(NOWHERE)
    ranking = rank(others, request, chosen.filters, chosen.weighers)
    data = msgspec.structs.replace(data, ranking=record_of(ranking, chosen.max_candidates))
    if not ranking.candidates:
        return Failed(_refused(ranking), data, note=ranking.summary())
    pool = ranking.candidates[0].pool
    run.doors.pools.book(pool, volume.size)
    return Next(
        queue_of(pool),
        msgspec.structs.replace(data, moves_from=volume.host, moves_to=pool),
        settle=lambda tx: moving.begin(tx, volume.id),
        note=f"to {pool}",
    )


def _to_place(tx: ReadTx, operation: Operation) -> tuple[Volume, dict[str, str]]:
    volume = volumes.get(tx, operation.resource_id)
    return volume, volume_types.get(tx, volume.volume_type_id).extra_specs


def _refused(ranking: Ranking) -> Failure:
    return Failure(
        code=NO_FIT,
        message="The volume was not moved: the place that was asked for does not take it.",
        cause=ranking.cause,
        remedy="Name another pool of the volume's backend, or let the operator add space.",
        retryable=True,
    )


async def move(run: Run[Data]) -> Outcome:
    """Have the backend do it."""
    target = run.data.moves_to
    volume = await run.doors.store.read(lambda tx: moving.to_move(tx, run.operation))
    if volume is None:
        return Done(note="was cut short")
    return await moving.bring(run, volume, target) or Done(
        settle=lambda tx: _moved(tx, volume.id, target), note=f"moved to {target}"
    )


def _moved(tx: WriteTx, volume_id: str, target: str) -> None:
    moving.arrived(tx, volume_id, target)
    moving.resume(tx, volume_id)


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    moving.give_up(tx, operation.resource_id)
    moving.resume(tx, operation.resource_id)
    nowhere = failure.code == NO_FIT
    event = events.MIGRATE_NO_FIT if nowhere else events.MIGRATE_FAILED
    messages.tell(tx, event, operation, failure.text)


WORKFLOW = Workflow("migrate_volume", "volume", Data, (choose, move), _settle_failure)
