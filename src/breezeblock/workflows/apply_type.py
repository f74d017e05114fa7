"""Tell a backend once more what a volume's type asks: what it was told last may be untrue.

    backend    tell   the driver makes of the volume what the type asks that it has now

It follows a retype that failed or was cut short at the backend, and calls that came late, when the
volume had got yet another type (`sweep_backend.overtaken`). Nobody waits for it and no status shows
it. It lets a retype that is under way end first; what changes meanwhile is told anew.
"""

from __future__ import annotations

import msgspec

from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.qos_specs import for_driver
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import nobody
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Again, Done, Outcome, Run, Workflow
from breezeblock.store import operations, qos_specs, volume_types, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows.doors import as_driver_volume, queue_of

TELLS = frozenset({("retype_volume", "apply"), ("apply_type", "tell")})
"""The steps, by workflow, that tell a backend of a type."""
LATER = 5.0
"""Seconds until the next look while the volume is being retyped."""


class Data(msgspec.Struct, frozen=True):
    """`again`: somebody has asked for it once more, since it began."""

    again: bool = False


def resource_of(volume_id: str) -> str:
    """The name under which this takes turns: beside the work on the volume, as exports are."""
    return f"{volume_id}@"


def submit(tx: WriteTx, volume_id: str, *, delay: float = 0.0) -> None:
    """Have it told in `delay` seconds, unless the volume is gone."""
    volume = volumes.find(tx, volume_id)
    if volume is None or volume.host is None:
        return
    resource = resource_of(volume_id)
    under_way = operations.lock_open(tx, resource)
    if under_way is not None:
        operations.amend(tx, under_way.id, data=msgspec.to_builtins(Data(again=True)))
        return
    queue = queue_of(volume.host)
    submit_operation(tx, WORKFLOW, nobody(), resource, Data(), queue, delay=delay)


async def tell(run: Run[Data]) -> Outcome:
    """Tell it, once the volume is not being retyped."""
    volume_id = run.operation.resource_id.partition("@")[0]
    volume, specs, qos, busy = await run.doors.store.read(lambda tx: _to_tell(tx, volume_id))
    if volume is None:
        return Done(note="the volume is gone")
    if busy:
        return Again(after=LATER, note="the volume is being retyped")
    wanted = as_driver_volume(volume, extra_specs=specs, qos=qos)
    await run.doors.call(volume.backend, lambda driver: driver.retype, wanted)
    return Done(settle=lambda tx: _settle(tx, run.operation, volume))


def _to_tell(
    tx: ReadTx, volume_id: str
) -> tuple[Volume | None, dict[str, str], dict[str, str], bool]:
    """The volume, what its type asks of the backend, and whether it is about to get another."""
    volume = volumes.find(tx, volume_id)
    if volume is None:
        return None, {}, {}, False
    specs = volume_types.get(tx, volume.volume_type_id).extra_specs
    qos = for_driver(qos_specs.of_type(tx, volume.volume_type_id))
    return volume, specs, qos, _is_retyped(tx, volume_id)


def _is_retyped(tx: ReadTx, volume_id: str) -> bool:
    under_way = operations.open_on(tx, volume_id)
    return under_way is not None and "new_type_id" in under_way.data


def _settle(tx: WriteTx, operation: Operation, told: Volume) -> None:
    """It counts only if nothing has changed since it was read."""
    present, now = operations.get(tx, operation.id), volumes.find(tx, told.id)
    again = present is not None and msgspec.convert(present.data, Data).again
    changed = now is not None and now.volume_type_id != told.volume_type_id
    if again or changed or _is_retyped(tx, told.id):
        submit(tx, told.id)


def _settle_failure(_tx: WriteTx, _operation: Operation, _data: Data, _failure: Failure) -> None:
    """Nobody asked, so nobody is told; the next connection tells the backend again."""


WORKFLOW = Workflow("apply_type", "type", Data, (tell,), _settle_failure)
