"""Extend a volume, also one that guests use.

api        submit     checks, quota for the growth, `extending`
scheduler  check      whether the pool has room for the growth
backend    grow       the driver grows it; then size and status
backend    announce   servers that use it are told, so that their guests see the new size

While they are told, the compute service may come back and say what came of it: `complete`.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import structlog

from breezeblock.model import messages as events
from breezeblock.model import volumes as rules
from breezeblock.model.errors import Failure, InvalidState
from breezeblock.model.operation import Operation
from breezeblock.model.qos_specs import for_driver
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Failed, Next, Outcome, Run, Workflow
from breezeblock.scheduler.ranking import Ranking, rank
from breezeblock.scheduler.request import Request
from breezeblock.store import (
    attachments,
    messages,
    operations,
    qos_specs,
    quotas,
    volume_types,
    volumes,
)
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows.doors import SCHEDULER, as_driver_volume, queue_of

log = structlog.get_logger()


NOT_BEGUN = "no-room"
"""Code of failures that come before the backend was asked."""


class Data(msgspec.Struct, frozen=True):
    """The wish, and what a failure has to give back."""

    new_size: int
    old_size: int
    extra_specs: dict[str, str] = {}


def submit(
    tx: WriteTx,
    caller: Caller,
    volume: Volume,
    new_size: int,
    limits: dict[str, int],
    *,
    in_use_allowed: bool,
) -> str:
    """Put the volume to `extending`, charge the growth, open the operation; returns its id.

    Raises InvalidState, OverQuota, Conflict.
    """
    rules.check_extend(volume, new_size, in_use_allowed=in_use_allowed)
    volume_type = volume_types.get(tx, volume.volume_type_id)
    rules.check_size(new_size, volume_type.extra_specs)
    data = Data(new_size, volume.size, volume_type.extra_specs)
    if volume.consumes_quota:
        quotas.charge(tx, volume.project_id, _growth(data, volume_type.name), limits)
    volumes.transition(tx, volume.id, {volume.status}, "extending", previous_status=volume.status)
    return submit_operation(tx, WORKFLOW, caller, volume.id, data, SCHEDULER)


async def check(run: Run[Data]) -> Outcome:
    """Ask the filters whether the volume's own pool has room."""
    data = run.data
    volume = await run.doors.store.read(lambda tx: volumes.get(tx, run.operation.resource_id))
    request = Request(
        size=data.new_size - data.old_size,
        volume={"id": volume.id, "size": data.new_size},
        extra_specs=data.extra_specs,
        only=volume.host,
        extending_attached=volume.previous_status == "in-use",
    )
    chosen = run.doors.scheduling
    # A disabled backend takes nothing new; what it holds already may still grow.
    pools = [replace(one, enabled=True) for one in await run.doors.pools.pools()]
    ranking = rank(pools, request, chosen.filters, chosen.weighers)
    if not ranking.candidates:
        return Failed(_refused(ranking), note=ranking.summary())
    return Next(queue_of(volume.host), data)


def _refused(ranking: Ranking) -> Failure:
    if ranking.none_ready:
        message = "The volume's storage takes no growth now."
        remedy = "Try again later, or ask the operator."
    else:
        message = "The volume's storage pool has no room for the growth."
        remedy = "Ask for less, or let the operator add space."
    return Failure(NOT_BEGUN, message, ranking.cause, remedy, retryable=True)


async def grow(run: Run[Data]) -> Outcome:
    """Let the driver grow the volume."""
    data = run.data
    volume, qos = await run.doors.store.read(lambda tx: _to_grow(tx, run.operation.resource_id))
    wanted = as_driver_volume(volume, extra_specs=data.extra_specs, qos=qos)
    backend = volume.backend or ""
    await run.doors.call(backend, lambda driver: driver.extend, wanted, data.new_size)
    return Next(queue_of(backend), data, settle=lambda tx: _grown(tx, volume.id, data.new_size))


def _to_grow(tx: ReadTx, volume_id: str) -> tuple[Volume, dict[str, str]]:
    """The volume, and what its type's QoS specs ask of the backend: limits may follow the size."""
    volume = volumes.get(tx, volume_id)
    return volume, for_driver(qos_specs.of_type(tx, volume.volume_type_id))


async def announce(run: Run[Data]) -> Outcome:
    """Tell the servers. That this fails does not unmake the growth: it leaves a message."""
    servers = await run.doors.store.read(lambda tx: _servers(tx, run.operation.resource_id))
    if not servers:
        return Done(settle=lambda tx: _settle_status(tx, run.operation.resource_id))
    problem = "no compute service is configured"
    if run.doors.servers is not None:
        try:
            await run.doors.servers.volume_extended(servers, run.operation.resource_id)
            problem = ""
        except Exception as error:
            log.warning("servers not told", volume=run.operation.resource_id, error=str(error))
            problem = str(error)
    return Done(settle=lambda tx: _announced(tx, run.operation, problem), note=problem)


def complete(tx: WriteTx, volume: Volume, *, failed: bool) -> None:
    """The compute service says what became of the growth on its side: that is all that the volume
    still waited for. Raises InvalidState when it waits for nothing of the kind.

    The backend has grown it either way; a host that could not follow leaves a message.
    """
    under_way = operations.open_on(tx, volume.id)
    if volume.status != "extending" or under_way is None:
        raise InvalidState(f"Volume {volume.id} is not being extended.")
    if (under_way.workflow, under_way.step) != (WORKFLOW.name, announce.__name__):
        raise InvalidState(f"Volume {volume.id} does not wait for a host to extend it.")
    operations.finish(tx, under_way.id, "the compute service has said what came of it")
    _announced(tx, under_way, "the compute service says that its host has failed" if failed else "")


def _servers(tx: ReadTx, volume_id: str) -> list[str]:
    used = attachments.of_volume(tx, volume_id)
    return sorted({one.instance_uuid for one in used if one.instance_uuid})


def _grown(tx: WriteTx, volume_id: str, size: int) -> None:
    volumes.update(tx, volume_id, size=size)


def record_growth(tx: WriteTx, volume: Volume, size: int) -> None:
    """Write down that the backend has grown the volume, which an operation that was cut short or
    overtaken could not: it counts, whatever the limits say."""
    volumes.update(tx, volume.id, size=size)
    if volume.consumes_quota:
        name = volume_types.get(tx, volume.volume_type_id).name
        quotas.record(tx, volume.project_id, _growth(Data(size, volume.size), name))


def _announced(tx: WriteTx, operation: Operation, problem: str) -> None:
    _settle_status(tx, operation.resource_id)
    if problem:
        messages.tell(
            tx,
            events.EXTEND_NOT_SEEN,
            operation,
            f"The volume has grown, but its server could not be told: {problem}. "
            "Detach and attach the volume, or restart the server.",
        )


def _settle_status(tx: WriteTx, volume_id: str) -> None:
    attachments.settle_volume(tx, volume_id)


def _growth(data: Data, type_name: str, sign: int = 1) -> dict[str, int]:
    growth = sign * (data.new_size - data.old_size)
    return {"gigabytes": growth, f"gigabytes_{type_name}": growth}


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """Without room nothing was touched: back to what it was. Otherwise `error_extending`."""
    volume = volumes.find(tx, operation.resource_id)
    if volume is None:
        return
    if volume.consumes_quota and volume.size == data.old_size:
        # The type may have been renamed meanwhile, and its usage with it.
        name = volume_types.get(tx, volume.volume_type_id).name
        quotas.charge(tx, volume.project_id, _growth(data, name, -1), {})
    if failure.code == NOT_BEGUN:
        attachments.settle_volume(tx, volume.id)
    else:
        volumes.update(tx, volume.id, status="error_extending")
    messages.tell(
        tx,
        events.EXTEND_NO_ROOM if failure.code == NOT_BEGUN else events.EXTEND_FAILED,
        operation,
        failure.text,
    )


WORKFLOW = Workflow("extend_volume", "volume", Data, (check, grow, announce), _settle_failure)
