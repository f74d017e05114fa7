"""Retype a volume: give it another type, also while guests use it.

api        submit   checks, `retyping`; what it uses is charged to the new type, too
scheduler  choose   does its own pool fit the new type? If not, and it may be moved (on-demand),
                    which other pool of its backend does? Done here when a backend has no part in it
backend    move     the driver moves it there; skipped when it stays
backend    apply    the driver makes of it what the new type asks; then the type and its usage

Until the end the usage of both types is held, so neither end can exceed a limit. A volume that was
moved stays where it is when the last step fails; its owner is told.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import msgspec

from breezeblock.drivers.base import StillWorking
from breezeblock.model import messages as events
from breezeblock.model import volumes as rules
from breezeblock.model.errors import CUT_SHORT, Failure
from breezeblock.model.operation import Operation
from breezeblock.model.qos_specs import for_driver, for_host
from breezeblock.model.usage import kinds_of, of_type
from breezeblock.model.volume_types import VolumeType, for_backend
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Failed, Next, Outcome, Run, Workflow
from breezeblock.scheduler.ranking import Ranking, rank
from breezeblock.scheduler.request import Request
from breezeblock.store import (
    messages,
    operations,
    qos_specs,
    quotas,
    snapshots,
    volume_types,
    volumes,
)
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import apply_type, moving
from breezeblock.workflows.checks import AFTER_CALLS
from breezeblock.workflows.doors import SCHEDULER, as_driver_volume, queue_of
from breezeblock.workflows.placing import names_of, record_of

NO_FIT = "no-backend-fits"
Policy = Literal["never", "on-demand"]


class Data(msgspec.Struct, frozen=True):
    """The wish, and what the steps find out. `asks`: the backend has a part in it. `held`: what is
    charged to the new type meanwhile, by project and kind."""

    new_type_id: str
    policy: Policy = "never"
    asks: bool = True
    held: dict[str, dict[str, int]] = {}
    moves_from: str = ""
    moves_to: str = ""
    ranking: dict[str, Any] = {}


def submit(
    tx: WriteTx,
    caller: Caller,
    volume: Volume,
    wanted: VolumeType,
    policy: Policy,
    limits: dict[str, int],
) -> str:
    """Put the volume to `retyping`, charge the new type, open the operation; returns its id.

    The caller has locked the volume. Raises InvalidState, OverQuota, Conflict.
    """
    present = volume_types.get(tx, volume.volume_type_id)
    before, after = qos_specs.of_type(tx, present.id), qos_specs.of_type(tx, wanted.id)
    hosts_notice = for_host(before, volume.size) != for_host(after, volume.size)
    rules.check_retype(volume, present, wanted, front_end_changes=hosts_notice)
    held = kinds_of(volume, snapshots.of_volume(tx, volume.id))
    for project, kinds in sorted(held.items()):
        quotas.charge(tx, project, of_type(kinds, wanted.name), limits)
    same = for_backend(present.extra_specs) == for_backend(wanted.extra_specs)
    asks = not same or for_driver(before) != for_driver(after)
    volumes.transition(tx, volume.id, {volume.status}, "retyping", previous_status=volume.status)
    data = Data(wanted.id, policy, asks, held)
    return submit_operation(tx, WORKFLOW, caller, volume.id, data, SCHEDULER)


# -- the steps ----------------------------------------------------------------------------------


async def choose(run: Run[Data]) -> Outcome:
    """Ask the filters where the volume can be with its new type: best where it is."""
    data = run.data
    volume, specs, frozen = await run.doors.store.read(lambda tx: _to_place(tx, run))
    pools = await run.doors.pools.pools()
    here = _ranked(run, pools, volume, specs, only=volume.host)
    if here.candidates:
        if not data.asks:
            return Done(settle=lambda tx: _retyped(tx, volume.id, data), note="stays as it is")
        return Next(queue_of(volume.host), data, note="stays where it is")
    if data.policy == "never" or frozen or here.none_ready:
        return Failed(_refused(here, data, snapshots=frozen), note=here.summary())
    there = _ranked(run, moving.siblings(pools, volume), volume, specs)
    data = msgspec.structs.replace(
        data, ranking=record_of(there, run.doors.scheduling.max_candidates)
    )
    if not there.candidates:
        both = Ranking((), (*here.refusals, *there.refusals))
        return Failed(_refused(both, data), data, note=both.summary())
    pool = there.candidates[0].pool
    run.doors.pools.book(pool, volume.size)
    return Next(
        queue_of(pool),
        msgspec.structs.replace(data, moves_from=volume.host, moves_to=pool),
        settle=lambda tx: moving.begin(tx, volume.id),
        note=f"to {pool}",
    )


def _to_place(tx: ReadTx, run: Run[Data]) -> tuple[Volume, dict[str, str], int]:
    """The volume, what its new type asks for, and how many snapshots it has."""
    volume = volumes.get(tx, run.operation.resource_id)
    wanted = volume_types.get(tx, run.data.new_type_id)
    return volume, wanted.extra_specs, len(snapshots.of_volume(tx, volume.id))


def _ranked(
    run: Run[Data], pools: Any, volume: Volume, specs: dict[str, str], only: str | None = None
) -> Ranking:
    request = Request(
        size=volume.size,
        volume=names_of(volume),
        extra_specs=specs,
        only=only,
        already_on=volume.host,
    )
    chosen = run.doors.scheduling
    return rank(pools, request, chosen.filters, chosen.weighers)


def _refused(ranking: Ranking, data: Data, *, snapshots: int = 0) -> Failure:
    message = "The storage that holds the volume does not fit its new type."
    if ranking.none_ready:
        message = "The storage that holds the volume takes no changes now."
        remedy = "Try again later, or ask the operator."
    elif data.policy == "never":
        remedy = (
            "Ask with migration_policy on-demand, so that it may be moved to another pool of its "
            f"backend; or {moving.BY_IMAGE}."
        )
    elif snapshots:
        remedy = (
            f"It would have to be moved, and has {snapshots} snapshot(s), which stay where they "
            "are: delete them first."
        )
    else:
        remedy = (
            "Volumes are moved between the pools of one backend, not from one backend to another: "
            f"{moving.BY_IMAGE}."
        )
    return Failure(NO_FIT, message, ranking.cause, remedy, retryable=ranking.none_ready)


async def move(run: Run[Data]) -> Outcome:
    """Have the backend bring it to the pool that fits."""
    data = run.data
    if not data.moves_to:
        return Next(run.operation.queue, data)
    volume = await run.doors.store.read(lambda tx: moving.to_move(tx, run.operation))
    if volume is None:
        return Done(note="was cut short")
    return await moving.bring(run, volume, data.moves_to) or Next(
        run.operation.queue,
        data,
        settle=lambda tx: moving.arrived(tx, volume.id, data.moves_to),
        note=f"moved to {data.moves_to}",
    )


async def apply(run: Run[Data]) -> Outcome:
    """Have the backend make of it what the new type asks, if it asks anything."""
    data, volume_id = run.data, run.operation.resource_id
    if data.asks:
        found = await run.doors.store.read(lambda tx: _to_apply(tx, run))
        if found is None:
            return Done(note="was cut short")
        volume, specs, qos = found
        wanted = as_driver_volume(volume, extra_specs=specs, qos=qos)
        try:
            await run.doors.call(volume.backend, lambda driver: driver.retype, wanted)
        except StillWorking as error:
            return Again(error.retry_after, data=data, note=str(error), progress=error.progress)
    return Done(settle=lambda tx: _retyped(tx, volume_id, data))


def _to_apply(tx: ReadTx, run: Run[Data]) -> tuple[Volume, dict[str, str], dict[str, str]] | None:
    """Nothing when the work was cut short, or taken over from a worker that was frozen."""
    if not operations.is_held(tx, run.operation):
        return None
    wanted = volume_types.get(tx, run.data.new_type_id)
    volume = volumes.get(tx, run.operation.resource_id)
    return volume, wanted.extra_specs, for_driver(qos_specs.of_type(tx, wanted.id))


# -- transactions -------------------------------------------------------------------------------


def _retyped(tx: WriteTx, volume_id: str, data: Data) -> None:
    """The type of the volume and of its snapshots; what they use goes along. A snapshot may have
    been deleted since the new type was charged for it."""
    volume = volumes.lock(tx, volume_id)
    present = volume_types.get(tx, volume.volume_type_id)
    wanted = volume_types.get(tx, data.new_type_id)
    owned = snapshots.of_volume(tx, volume_id)
    used = kinds_of(volume, owned)
    for project in sorted(used.keys() | data.held.keys()):
        # At once, as others do who go the other way: else they might wait for each other.
        kinds, moved = used.get(project, {}), Counter[str]()
        moved.update(of_type(data.held.get(project, {}), wanted.name, count=-1))
        moved.update(of_type(kinds, wanted.name))
        moved.update(of_type(kinds, present.name, count=-1))
        quotas.record(tx, project, moved)
    for snapshot in owned:
        snapshots.update(tx, snapshot.id, volume_type_id=wanted.id)
    volumes.update(tx, volume_id, volume_type_id=wanted.id, multiattach=wanted.multiattach)
    moving.resume(tx, volume_id)


def _give_back(tx: WriteTx, data: Data) -> None:
    name = volume_types.get(tx, data.new_type_id).name
    for project, kinds in sorted(data.held.items()):
        quotas.record(tx, project, of_type(kinds, name, count=-1))


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """The old type, the status of before. A backend that was asked may have done some of it: it is
    told of the old type again, when a call that may be under way has ended."""
    _give_back(tx, data)
    moving.give_up(tx, operation.resource_id)
    moving.resume(tx, operation.resource_id)
    if operation.step == apply.__name__ and data.asks:
        at_work = operation.worker is not None and failure.code == CUT_SHORT
        apply_type.submit(tx, operation.resource_id, delay=AFTER_CALLS if at_work else 0.0)
    event = events.RETYPE_NO_FIT if failure.code == NO_FIT else events.RETYPE_FAILED
    text = failure.text
    if data.moves_to and operation.step == apply.__name__:
        text += " The volume was moved for it already, and stays there with its old type."
    messages.tell(tx, event, operation, text)


WORKFLOW = Workflow("retype_volume", "volume", Data, (choose, move, apply), _settle_failure)
