"""Adopt a volume: make one that the backend holds already ours, with the bytes it has.

    api        submit     checks, quota for one volume more, the volume's row in `managing`
    scheduler  check      whether its pool may take it
    backend    adopt      the driver makes it ours; its size is known then, and charged
    backend    give_back  only when that did not go well: the driver lets go of it

`adoption` has what snapshots share. Until the end the volume has no size; one that stays so, in
`error_managing`, has nothing with the backend that a deletion would remove.
"""

from __future__ import annotations

from typing import Any

from breezeblock.drivers.base import Volume as DriverVolume
from breezeblock.model import messages as events
from breezeblock.model.errors import Failure, OverQuota
from breezeblock.model.operation import Operation
from breezeblock.model.qos_specs import for_driver
from breezeblock.model.usage import of_volume
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import messages, operations, qos_specs, quotas, volume_types, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import adoption
from breezeblock.workflows.adoption import Data
from breezeblock.workflows.doors import SCHEDULER, as_driver_volume
from breezeblock.workflows.placing import names_of


def submit(tx: WriteTx, caller: Caller, volume: Volume, type_name: str, data: Data) -> str:
    """Write the volume in `managing`, charge it, open the operation; returns its id.

    The caller has checked service and type in this transaction. Raises OverQuota.
    """
    quotas.charge(tx, volume.project_id, of_volume(0, type_name), data.limits)
    volumes.insert(tx, volume)
    return submit_operation(tx, WORKFLOW, caller, volume.id, data, SCHEDULER)


async def check(run: Run[Data]) -> Outcome:
    """Ask the filters whether the pool may take it."""
    volume = await run.doors.store.read(lambda tx: volumes.get(tx, run.operation.resource_id))
    return await adoption.ask_filters(run, volume.host or "", names_of(volume))


async def adopt(run: Run[Data]) -> Outcome:
    """Let the driver make it ours; it counts from then on, if the quota allows that."""
    found = await run.doors.store.read(lambda tx: _to_adopt(tx, run))
    if found is None:
        return Done(note="was cut short")
    volume, wanted = found
    backend = volume.backend or ""
    size = await adoption.call_driver(run, backend, lambda driver: driver.adopt, wanted)
    if not isinstance(size, int):
        return size
    if why := await run.doors.store.read(lambda tx: _too_much(tx, volume, size, run.data)):
        return adoption.refuse(run, backend, why)
    return Done(
        result={"size": size},
        settle=lambda tx: _adopted(tx, volume, size, run.data),
        note=f"{size} GiB in {volume.host}",
    )


async def give_back(run: Run[Data]) -> Outcome:
    """Let the driver forget it again; the bytes stay as they were."""
    found = await run.doors.store.read(lambda tx: _to_adopt(tx, run))
    if found is None:
        return Done(note="was cut short")
    volume, gone = found
    return await adoption.let_go(run, volume.backend or "", lambda driver: driver.release, gone)


# -- transactions -----------------------------------------------------------------------------


def _to_adopt(tx: ReadTx, run: Run[Data]) -> tuple[Volume, DriverVolume] | None:
    """Nothing when the work was cut short while its worker was frozen: nobody wants it any more."""
    volume = volumes.find(tx, run.operation.resource_id)
    if volume is None or not operations.is_held(tx, run.operation):
        return None
    qos = for_driver(qos_specs.of_type(tx, volume.volume_type_id))
    return volume, as_driver_volume(volume, extra_specs=run.data.extra_specs, qos=qos)


def _too_much(tx: ReadTx, volume: Volume, size: int, data: Data) -> Failure | None:
    """Why the project may not have a volume of this size."""
    single = quotas.limits(tx, volume.project_id, ["per_volume_gigabytes"], data.limits)
    limit = single.get("per_volume_gigabytes", -1)
    try:
        if 0 <= limit < size:
            raise OverQuota(f"The limit of one volume is {limit} GiB.")
        quotas.check(tx, volume.project_id, _growth(tx, volume, size), data.limits)
    except OverQuota as error:
        return adoption.over_quota(error, size)
    return None


def _growth(tx: ReadTx, volume: Volume, size: int) -> dict[str, int]:
    """The type may have been renamed meanwhile, and its usage with it."""
    name = volume_types.get(tx, volume.volume_type_id).name
    return {"gigabytes": size, f"gigabytes_{name}": size}


def _adopted(tx: WriteTx, volume: Volume, size: int, data: Data) -> None:
    quotas.charge(tx, volume.project_id, _growth(tx, volume, size), data.limits)
    volumes.transition(tx, volume.id, {"managing"}, "available", size=size)


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    """The volume stays in `error_managing`, so that its owner sees it; a message says why."""
    volume = volumes.find(tx, operation.resource_id)
    volumes.update(tx, operation.resource_id, status="error_managing")
    adoption.sweep_up(tx, operation, data, volume.backend if volume else None)
    told: dict[str, Any] = {
        adoption.NOT_TAKEN: events.ADOPT_NOT_TAKEN,
        adoption.OVER_QUOTA: events.ADOPT_OVER_QUOTA,
    }
    messages.tell(tx, told.get(failure.code, events.ADOPT_FAILED), operation, failure.text)


WORKFLOW = Workflow("adopt_volume", "volume", Data, (check, adopt, give_back), _settle_failure)
