"""Check a volume after an administrator has reset it: what does its backend really hold?

    api        submit  os-reset_status has written the status that was asked for
    backend    look    database and backend are made to agree: status, and a size that has grown

A status that passes by itself stays visible for a while (`checks.PATIENCE`). Calls that come
meanwhile find it as any other; work that they begin settles the status instead.
"""

from __future__ import annotations

from breezeblock.drivers.base import TemporaryError
from breezeblock.model import messages as events
from breezeblock.model import truth
from breezeblock.model.errors import Failure
from breezeblock.model.invariants.backends import MAY_BE_MISSING
from breezeblock.model.invariants.statuses import WORKING
from breezeblock.model.inventory import Item
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import AWAITING_TRANSFER, Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.workflow import Again, Done, Outcome, Run, Workflow
from breezeblock.store import attachments, messages, operations, transfers, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import checks, detach_volume, extend_volume
from breezeblock.workflows.checks import Data
from breezeblock.workflows.doors import as_driver_volume


def submit(tx: WriteTx, caller: Caller, volume: Volume, *, cut_short: bool) -> None:
    """Have the volume looked at, as it stands after the reset.

    `cut_short`: the reset has interrupted work, which may be at the backend still. A volume without
    a place has nothing to look at; only a status that does not last has to end there, too.
    """
    moves = truth.migration_status(volume.migration_status) != volume.migration_status
    lasts = not truth.passes(volume.status) and volume.status != AWAITING_TRANSFER and not moves
    if volume.host is None and lasts:
        return
    checks.open_check(
        tx,
        WORKFLOW,
        caller,
        volume.id,
        volume.host,
        patient=truth.passes(volume.status) or moves,
        cut_short=cut_short,
    )


async def look(run: Run[Data]) -> Outcome:
    """Compare the row with what the backend holds."""
    volume, busy = await run.doors.store.read(lambda tx: _to_look(tx, run.operation.resource_id))
    if volume is None:
        return Done(note="the volume is gone")
    if busy:
        return Again(after=checks.LOOK_AGAIN, note="work is under way on the volume")
    items: list[Item] = []
    if volume.backend is not None:
        try:
            items = await checks.find_on_backend(run, volume.backend)
            if any(item.kind == "volume" for item in items):
                # An upload that was cut short may have left the volume open to its service.
                seen = as_driver_volume(volume)
                await run.doors.call(volume.backend, lambda driver: driver.done_reading, seen)
        except TemporaryError as error:
            if not checks.may_look_again(run, error):
                raise
            return Again(after=checks.LOOK_AGAIN, note=f"will look again: {error}")
    held = next((item for item in items if item.kind == "volume"), None)
    let_in = {item.host for item in items if item.kind == "export"}
    return Done(
        settle=lambda tx: _settle(tx, run, volume, held, let_in),
        note=f"the backend holds {held.size} GiB" if held else "the backend does not hold it",
    )


def _to_look(tx: ReadTx, volume_id: str) -> tuple[Volume | None, bool]:
    return volumes.find(tx, volume_id), checks.is_busy(tx, volume_id)


def _settle(
    tx: WriteTx, run: Run[Data], seen: Volume, held: Item | None, let_in: set[str | None]
) -> None:
    """Write what is true; if somebody has changed the volume since it was looked at, look again."""
    volume = volumes.find_locked(tx, seen.id)
    if volume is None:
        return
    now = (volume.status, volume.size, volume.host)
    if now != (seen.status, seen.size, seen.host) or checks.is_busy(tx, volume.id):
        submit(tx, checks.caller_of(run.operation), volume, cut_short=True)
        return
    _settle_migration(tx, volume)
    _settle_status(tx, run.operation, volume, there=held is not None)
    # What was not adopted to the end becomes ours only by a status that says so.
    stays_strange = volume.unadopted and volume.status in MAY_BE_MISSING
    if held is not None and (held.size or 0) > volume.size and not stays_strange:
        extend_volume.record_growth(tx, volume, held.size or 0)
    known = {one.host for one in attachments.of_volume(tx, volume.id) if one.connection_info}
    checks.sweep_up(tx, volume.backend, run.data, needed=bool(let_in - known))


def _settle_migration(tx: WriteTx, volume: Volume) -> None:
    status = truth.migration_status(volume.migration_status)
    if status != volume.migration_status:
        volumes.update(tx, volume.id, migration_status=status)


def _settle_status(tx: WriteTx, operation: Operation, volume: Volume, *, there: bool) -> None:
    present = attachments.of_volume(tx, volume.id)
    status = truth.volume_status(
        volume.status,
        there=there,
        attachments=present,
        offered=transfers.is_offered(tx, volume.id),
    )
    if status == volume.status:
        return
    if there:
        detach_volume.give_back(tx, checks.caller_of(operation), volume)
    else:
        volumes.update(tx, volume.id, status=status)
        transfers.withdraw(tx, volume.id)
        messages.tell(tx, events.VOLUME_CHECKED, operation, checks.missing("volume").text)


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    """The backend could not be asked. A status that passes ends all the same."""
    volume = volumes.find_locked(tx, operation.resource_id)
    idle = volume is not None and operations.open_on(tx, volume.id) is None
    if volume is not None and idle:
        _settle_migration(tx, volume)
    if volume is None or not idle:
        pass  # that work settles the status
    elif volume.status in WORKING:
        volumes.update(tx, volume.id, status="error")
    elif truth.passes(volume.status):
        detach_volume.give_back(tx, checks.caller_of(operation), volume)
    messages.tell(tx, events.VOLUME_CHECKED, operation, failure.text)


WORKFLOW = Workflow("check_volume", operations.CHECK, Data, (look,), _settle_failure)
