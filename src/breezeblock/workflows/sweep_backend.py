"""Sweep a backend: compare what it holds with the database, and put right what is safe.

    volume service  request  at its start, every `inventory_interval`, and when work came too late
    backend         compare  two rounds of looking; what is provably nobody's is removed; then
                             exports are closed and opened again, grown volumes and those that have
                             moved are taken over

What is wrong is what the rules of `model/invariants/backends.py` say, in both rounds: work goes on
meanwhile, and what it has just changed looks wrong in one of them. What has an open operation is
left alone. An object that no operation of ours explains is an orphan: it is reported and never
touched. There is one open sweep a backend, whoever asks for it and how often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec
import structlog

from breezeblock.drivers.base import Item
from breezeblock.model.attachments import Attachment
from breezeblock.model.errors import Conflict, Failure
from breezeblock.model.invariants import backends
from breezeblock.model.invariants.facts import Facts, Violation
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller, nobody, submit
from breezeblock.operations.workflow import Done, Outcome, Run, Workflow
from breezeblock.store import attachments, facts, operations, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import (
    apply_type,
    attach_volume,
    detach_volume,
    extend_volume,
    leftovers,
)
from breezeblock.workflows.doors import queue_of

log = structlog.get_logger()

MOST = 200
"""So many differences are acted on and reported at a time; a next sweep goes on with the rest."""
KEPT = 5
"""Ended sweeps of a backend that stay on record."""
SETTLED = 60.0
"""Seconds after which work that is under way now, or a frozen worker's lease, has ended."""


class Data(msgspec.Struct, frozen=True):
    """`dry_run`: change nothing. `again_at`: when to sweep once more, because somebody asked while
    this sweep was being made (by the database's clock)."""

    dry_run: bool = False
    again_at: float | None = None


class Report(msgspec.Struct, frozen=True):
    """What a sweep found: the operation's result.

    `found` are the differences, at most MOST of `total`; `refused` the leftovers that the backend
    would not remove, by id, with its words. Without `dry_run` the leftovers are gone otherwise, and
    operations are open for exports; orphans, missing and shrunk objects are as they were.
    """

    dry_run: bool
    held: dict[str, int]
    total: int
    found: tuple[Violation, ...] = ()
    refused: dict[str, str] = {}


def request(tx: WriteTx, backend: str, *, delay: float = 0.0) -> None:
    """See to it that the backend is swept in `delay` seconds, or earlier."""
    due = tx.clock() + delay
    found = _open_or_present(tx, backend, Data(), delay)
    if found is None:
        return
    data = msgspec.convert(found.data, Data)
    if _is_waiting(tx, found) and not data.dry_run:
        if due < found.due_at:
            operations.amend(tx, found.id, due_at=due)
            if not delay:
                tx.wake(found.queue, found.id)
    elif data.again_at is None or due < data.again_at:
        _amend(tx, found, msgspec.structs.replace(data, again_at=due))


def examine(tx: WriteTx, backend: str, *, dry_run: bool) -> str | None:
    """Have the backend swept now, for somebody who waits for the report: the operation's id.

    None while another sweep is being made: ask again when it has ended.
    """
    wanted = Data(dry_run=dry_run)
    found = operations.lock_open(tx, backend)
    if found is None:
        with suppress(Conflict):  # another one has just been opened
            return submit(tx, WORKFLOW, nobody(), backend, wanted, queue_of(backend))
        return None
    if not _is_waiting(tx, found):
        return None
    planned = msgspec.convert(found.data, Data)
    again_at = planned.again_at if planned.dry_run else found.due_at
    _amend(tx, found, msgspec.structs.replace(wanted, again_at=again_at), due_at=tx.clock())
    tx.wake(found.queue, found.id)
    return found.id


def overtaken(tx: WriteTx, held: Operation) -> None:
    """A step came to its end after its operation had gone on without it: look at what it did."""
    service, _, backend = held.queue.partition(".")
    if service == "volume" and held.workflow != WORKFLOW.name:
        request(tx, backend)
    if (held.workflow, held.step) in apply_type.TELLS:
        apply_type.submit(tx, held.resource_id.partition("@")[0])


def _open_or_present(tx: WriteTx, backend: str, data: Data, delay: float) -> Operation | None:
    """Open a sweep; the one that is open, locked, when there is one."""
    while (found := operations.lock_open(tx, backend)) is None:
        try:
            submit(tx, WORKFLOW, nobody(), backend, data, queue_of(backend), delay=delay)
        except Conflict:
            continue  # another one has just done so
        return None
    return found


def _is_waiting(tx: ReadTx, operation: Operation) -> bool:
    return operation.lease_until is None or operation.lease_until < tx.clock()


def _amend(tx: WriteTx, operation: Operation, data: Data, **values: float) -> None:
    operations.amend(tx, operation.id, data=msgspec.to_builtins(data), **values)


# -- the step -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """One round: what the backend held, and the rows right after that."""

    held: list[Item]
    rows: Facts

    def wrong(self, backend: str) -> dict[Violation, None]:
        return dict.fromkeys(backends.violations(self.rows, backend, self.held))

    def wrong_if_idle(self, backend: str) -> dict[Violation, None]:
        """With what open work excuses."""
        return Look(self.held, replace(self.rows, operations=())).wrong(backend)


async def compare(run: Run[Data]) -> Outcome:
    """Look twice, remove what is nobody's, and report."""
    backend = run.operation.resource_id
    first, second = await _look(run, backend), await _look(run, backend)
    before = first.wrong(backend)
    wrong = [one for one in second.wrong(backend) if one in before]
    found = await run.doors.store.read(lambda tx: leftovers.judge(tx, backend, second.held, wrong))
    report = Report(
        dry_run=run.data.dry_run,
        held=dict(Counter(item.kind for item in second.held)),
        total=len(found),
        found=tuple(found[:MOST]),
    )
    for one in report.found:
        log.warning("backend and database differ", backend=backend, rule=one.rule, what=one.text)
    if report.dry_run:
        return _done(run, report, repairs=(), look_again=False)
    refused = await leftovers.remove(run, backend, second.held, report.found)
    excused = second.wrong_if_idle(backend).keys() & first.wrong_if_idle(backend).keys()
    return _done(
        run,
        msgspec.structs.replace(report, refused=refused),
        repairs=report.found,
        look_again=len(excused) > len(wrong) or report.total > MOST,
    )


async def _look(run: Run[Data], backend: str) -> Look:
    held = await run.doors.call(backend, lambda driver: driver.inventory)
    rows = await run.doors.store.read(lambda tx: facts.of_backend(tx, backend, held))
    return Look(held, rows)


def _done(
    run: Run[Data], report: Report, *, repairs: Iterable[Violation], look_again: bool
) -> Outcome:
    held = ", ".join(f"{kind}s {number}" for kind, number in sorted(report.held.items()))
    rules = Counter(one.rule for one in report.found)
    wrong = ", ".join(f"{number} {rule}" for rule, number in sorted(rules.items()))
    return Done(
        result=msgspec.to_builtins(report),
        settle=lambda tx: _settle(tx, run.operation, repairs, look_again=look_again),
        note=f"holds {held or 'nothing'}; {wrong or 'as it should be'}",
    )


# -- transactions -----------------------------------------------------------------------------


def _settle(
    tx: WriteTx, operation: Operation, repairs: Iterable[Violation], *, look_again: bool
) -> None:
    backend, caller = operation.resource_id, nobody(operation.request_id)
    for one in repairs:
        assert one.item is not None
        # A conflict is work that has begun meanwhile: the next sweep looks again.
        with suppress(Conflict):
            match one.rule:
                case "export-without-attachment":
                    _close(tx, caller, backend, one.item)
                case "attachment-without-export":
                    _open_again(tx, caller, backend, one.item)
                case leftovers.GROWN:
                    _take_size(tx, backend, one.item)
                case leftovers.MOVED:
                    _take_place(tx, backend, one.item)
    _rest(tx, operation, look_again=look_again)


def _close(tx: WriteTx, caller: Caller, backend: str, export: Item) -> None:
    volume, wanted = _of_export(tx, backend, export)
    if volume is not None and not wanted:
        detach_volume.close_export(tx, caller, volume, export.host or "")


def _open_again(tx: WriteTx, caller: Caller, backend: str, export: Item) -> None:
    volume, wanted = _of_export(tx, backend, export)
    connected = [one for one in wanted if one.connection_info is not None]
    if volume is not None and connected:
        # One export serves all attachments on the host: it must allow what any of them may do.
        widest = max(connected, key=lambda one: one.attach_mode != "ro")
        attach_volume.open_again(tx, caller, volume, widest)


def _of_export(tx: ReadTx, backend: str, export: Item) -> tuple[Volume | None, list[Attachment]]:
    """The export's volume, if it is placed here, and its attachments to that host."""
    volume = volumes.find(tx, export.id)
    if volume is None or volume.backend != backend:
        return None, []
    return volume, [one for one in attachments.of_volume(tx, volume.id) if one.host == export.host]


def _take_size(tx: WriteTx, backend: str, item: Item) -> None:
    volume = volumes.find_locked(tx, item.id)
    if volume is None or volume.backend != backend or operations.open_on(tx, item.id):
        return
    if item.size is not None and item.size > volume.size:
        extend_volume.record_growth(tx, volume, item.size)


def _take_place(tx: WriteTx, backend: str, item: Item) -> None:
    volume = volumes.find_locked(tx, item.id)
    if volume is None or volume.backend != backend or operations.open_on(tx, item.id):
        return
    volumes.update(tx, volume.id, host=f"{backend}#{item.pool}")


def _rest(tx: WriteTx, operation: Operation, *, look_again: bool) -> None:
    """Keep the last few sweeps only, and open the next one if somebody waits for it."""
    backend = operation.resource_id
    operations.forget_ended(tx, WORKFLOW.name, backend, keep=KEPT)
    present = operations.get(tx, operation.id)
    again_at = msgspec.convert(present.data, Data).again_at if present else None
    delays = [SETTLED] if look_again else []
    delays += [max(0.0, again_at - tx.clock())] if again_at is not None else []
    if delays:
        request(tx, backend, delay=min(delays))


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, _failure: Failure) -> None:
    """Nothing has changed that a next sweep would not find; nobody asked, so nobody is told."""
    _rest(tx, operation, look_again=False)


WORKFLOW = Workflow("sweep_backend", "backend", Data, (compare,), _settle_failure)
