"""The engine: takes operations off a queue, runs their next step, records what came of it.

It knows no workflow by name. One `Engine` serves the queues of one process; a step's effects and
its transaction are kept apart as `operations/workflow.py` tells. Messages only make it quick: a
poll finds whatever a lost message, a dead worker or a sleeping broker left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import structlog
from opentelemetry.trace import Span

from breezeblock.bus.base import Bus, Handler, NotHere
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.operations.slots import Slots
from breezeblock.operations.wakes import parse_wake, send_wakes
from breezeblock.operations.workers import worker_lives, worker_name
from breezeblock.operations.workflow import (
    Again,
    Deciding,
    Done,
    Failed,
    Looking,
    Next,
    Outcome,
    Registry,
    Run,
    Step,
)
from breezeblock.store import operations
from breezeblock.store.operations import Fenced
from breezeblock.store.store import ReadTx, Store, StoreUnavailable, Wake, WriteTx
from breezeblock.telemetry import metrics, tracing

log = structlog.get_logger()

FOUND_AT_ONCE = 100
"""How many operations of a queue one look finds."""
FRESH = 0.25
"""Seconds for which a step may rely on what was found when its work was taken."""
CLOSE_PATIENCE = 5.0
"""Seconds that running steps are given when a process stops in an orderly way."""

Overtaken = Callable[[WriteTx, Operation], None]
"""What to do, in a transaction of its own, once a step has run that no longer counts."""

Explain = Callable[[Exception], "Failure | float | None"]
"""Turns an exception of a door into a Failure, into seconds to wait before the step is tried again,
or into None when it is not one that a door raises."""


class _OfAnotherRelease(Exception):
    """A step that this code does not have: whoever has it will take it."""


_Recorded = tuple[Outcome, dict[str, Any]]
"""What a step has come to, and what the trail says of it."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """An operation that this worker has, and what its step has done while it was taken: it has
    `found` something, or is `recorded` already; or it has `failed` there. `taken_at`: by the
    database's clock."""

    held: Operation
    taken_at: float
    found: Any = None
    recorded: _Recorded | None = None
    failed: Exception | None = None


async def _act(step: Step, run: Run[Any], found: Any) -> Outcome:
    """Make what a step does outside the transaction that took it."""
    match step:
        case Looking():
            return await step.act(run, found)
        case Deciding():
            raise AssertionError(f"{step.__name__} is made where it is taken")
        case _:
            return await step(run)


class Engine:
    """Runs the operations of some queues. `start` begins, `close` lets running steps end."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        registry: Registry,
        doors: Any,
        explain: Explain,
        *,
        host: str,
        lease: float = 20.0,
        poll: float = 2.0,
        overtaken: Overtaken | None = None,
    ) -> None:
        self.store = store
        self.bus = bus
        self.registry = registry
        self.doors = doors
        self.explain = explain
        self.host = host
        self.worker = worker_name(host)
        self.lease = lease
        self.poll_interval = poll
        self.overtaken = overtaken
        self._slots: dict[str, Slots] = {}
        self._looked_at = time.monotonic()
        self._held: dict[str, int] = {}
        self._found: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, Handler] = {}
        self._runs: set[asyncio.Task[Any] | None] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    async def serve(self, queue: str, *, in_flight: int) -> None:
        """Take work from a queue, so many steps at a time."""
        self._slots[queue] = Slots(in_flight)

        async def handle(body: bytes) -> None:
            await self._run_in_slot(parse_wake(body), queue)

        self._handlers[queue] = handle
        await self.bus.consume(queue, handle, in_flight=in_flight)

    async def start(self) -> None:
        """Begin polling and renewing leases; free what dead processes of this host still hold."""
        await self._release_leases_of_the_dead()
        self._spawn(self._poll_for_ever())
        self._spawn(self._renew_for_ever())

    async def leave(self) -> None:
        """Take no more work: what comes now is for others. What is running goes on."""
        self._closing = True
        for queue, handler in self._handlers.items():
            await self.bus.leave(queue, handler)

    async def close(self) -> None:
        """Take no more work; what is running has a few seconds to end, the rest is handed over."""
        await self.leave()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), CLOSE_PATIENCE)
        cut_short = {task for task in self._runs if task and task is not asyncio.current_task()}
        for task in self._tasks | cut_short:
            task.cancel()
        await asyncio.gather(*self._tasks, *cut_short, return_exceptions=True)
        await self._hand_over()

    async def _hand_over(self) -> None:
        """Let others go on at once with what we have not ended, not only when the leases run out.

        A call to storage that a thread still makes cannot be called back. It comes late then, or
        side by side with the next worker's, which every step bears (law 6), and what it comes to is
        not recorded: we have left the operation.
        """

        def release(tx: WriteTx) -> list[str]:
            left = operations.release_leases(tx, self.worker, list(self._slots))
            for operation_id, queue in left:
                tx.wake(queue, operation_id)
            return [operation_id for operation_id, _queue in left]

        try:
            for operation_id in await self.store.write(release):
                log.info("handed over", operation=operation_id)
        except StoreUnavailable as error:
            log.warning("not handed over: the leases run out", error=error.in_full)

    # -- one step ------------------------------------------------------------------------------

    async def run(self, operation_id: str, queue: str) -> None:
        """Claim the operation, run its next step, write the outcome. Never raises for the step.

        Raises NotHere when we take no more work.
        """
        if self._closing:
            raise NotHere
        task = asyncio.current_task()
        self._runs.add(task)
        self._idle.clear()
        try:
            await self._take_and_step(operation_id, queue)
        finally:
            self._runs.discard(task)
            if not self._runs:
                self._idle.set()

    async def _take_and_step(self, operation_id: str, queue: str) -> None:
        began = asyncio.get_running_loop().time()
        try:
            taken = await self._take(operation_id, queue)
            if taken is None:
                return
            if taken.recorded is not None:
                self._ended_step(taken.held, *taken.recorded)
                return
            await self._hold_and_step(taken, began)
        except _OfAnotherRelease as error:
            log.info("left to another release", operation=operation_id, step=str(error))
        except StoreUnavailable as error:
            # The lease runs out and the step is repeated: effects bear that, and nothing is lost.
            log.warning("database away", operation=operation_id, error=error.in_full)

    async def _hold_and_step(self, taken: _Taken, began: float) -> None:
        """Make a step whose work was asked for at `began`, by the loop's clock."""
        held = taken.held
        self._held[held.id] = held.epoch
        with structlog.contextvars.bound_contextvars(**_ids(held)):
            try:
                if asyncio.get_running_loop().time() - began >= FRESH:
                    taken = await self._look_again(taken)
                await self._step(taken)
            except Fenced:
                await self._fenced(held)
            finally:
                # Its next step may have begun here while we still published the wake-up for it.
                if self._held.get(held.id) == held.epoch:
                    del self._held[held.id]

    async def _look_again(self, taken: _Taken) -> _Taken:
        """What a step begins with, as it is now. Raises Fenced when the work is not ours any more.

        We may have been frozen since it was taken, and what was found then be long past: a host
        that was to be shut out is let in again, what was to be deleted is kept.
        """

        def look(tx: ReadTx) -> _Taken:
            if not operations.is_held(tx, taken.held):
                raise Fenced(taken.held.id)
            step = self.registry[taken.held.workflow].step(taken.held.step)
            if taken.failed is not None or not isinstance(step, Looking):
                return taken
            return replace(taken, found=step.look(tx, self._run_of(taken.held)))

        try:
            return await self.store.read(look)
        except (Fenced, StoreUnavailable):
            raise
        except Exception as error:
            return replace(taken, failed=error)

    async def _take(self, operation_id: str, queue: str) -> _Taken | None:
        """Take the operation and do in the same transaction what its step can do there; None when
        it is not free."""
        try:
            return await self.store.write(lambda tx: self._claim(tx, operation_id, queue))
        except (StoreUnavailable, _OfAnotherRelease):
            raise
        except Exception as error:
            # It was not taken, then. Taken by itself, the step can fail of it as of any other.
            failed = error
        return await self.store.write(lambda tx: self._claim(tx, operation_id, queue, failed))

    def _claim(
        self, tx: WriteTx, operation_id: str, queue: str, failed: Exception | None = None
    ) -> _Taken | None:
        """While a cloud is upgraded, newer processes put work on queues that we serve, too. Raises
        _OfAnotherRelease for what we do not know, and nothing is claimed."""
        held = operations.claim(tx, operation_id, queue, self.worker, self.lease)
        if held is None:
            return None
        if not self.registry.knows(held.workflow, held.step):
            raise _OfAnotherRelease(f"{held.workflow}.{held.step}")
        if failed is not None:
            return _Taken(held, tx.clock(), failed=failed)
        match self.registry[held.workflow].step(held.step):
            case Looking(look):
                return _Taken(held, tx.clock(), found=look(tx, self._run_of(held)))
            case Deciding(decide):
                return _Taken(held, tx.clock(), recorded=self._decide(tx, held, decide))
        return _Taken(held, tx.clock())

    def _decide(
        self, tx: WriteTx, held: Operation, decide: Callable[[WriteTx, Run[Any]], Outcome]
    ) -> _Recorded:
        """Make and record a step in the transaction that has taken it."""
        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(**_ids(held)), _traced(held) as span:
            outcome = decide(tx, self._run_of(held))
            entry = self._entry(held, began, tx.clock())
            self._record(tx, held, outcome, entry)
            if isinstance(outcome, Failed):
                tracing.failed(span, outcome.failure.code)
        return outcome, entry

    def _run_of(self, held: Operation) -> Run[Any]:
        data = msgspec.convert(held.data, self.registry[held.workflow].data)
        return Run(held, data, self.doors)

    async def _fenced(self, held: Operation) -> None:
        """Another worker carries the work on, or it was cut short: our effect may have come late,
        after what was recorded. Whoever knows what that can leave behind is told."""
        log.info("fenced", workflow=held.workflow, step=held.step)
        metrics.fenced_writes.labels(held.workflow).inc()
        overtaken = self.overtaken
        if overtaken is None:
            return
        try:
            await self.store.write(lambda tx: overtaken(tx, held))
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("what came too late was not told")

    async def _step(self, taken: _Taken) -> None:
        held, began, loop = taken.held, time.monotonic(), asyncio.get_running_loop()
        # The database's clock is not asked again: its time was told, and it goes as fast as ours.
        ahead = taken.taken_at - loop.time()
        with _traced(held) as span:
            outcome = await self._outcome(taken)
            entry = self._entry(held, began, ahead + loop.time())
            outcome = await self._write(held, outcome, entry)
            if isinstance(outcome, Failed):
                tracing.failed(span, outcome.failure.code)
            self._ended_step(held, outcome, entry)

    def _entry(self, held: Operation, began: float, at: float) -> dict[str, Any]:
        """What the trail says of a step that has just been made, `at` by the database's clock."""
        return {
            "step": held.step,
            "queue": held.queue,
            "worker": self.worker,
            "seconds": round(time.monotonic() - began, 6),
            "epoch": held.epoch,
            "at": at,
        }

    def _ended_step(self, held: Operation, outcome: Outcome, entry: dict[str, Any]) -> None:
        """Tell of a step that has been recorded, and have it made again when it is to be."""
        came_to = type(outcome).__name__
        told = {name: value for name, value in entry.items() if name != "at"}
        ids = {"request_id": held.request_id, "operation": held.id}
        log.info("step", workflow=held.workflow, **ids, **told, outcome=came_to)
        series = metrics.step_seconds.labels(held.workflow, held.step, came_to.lower())
        series.observe(entry["seconds"])
        if isinstance(outcome, Again) and outcome.after > 0:
            self._spawn(self._wake_later(outcome.queue or held.queue, held.id, outcome.after))

    async def _write(self, held: Operation, outcome: Outcome, entry: dict[str, Any]) -> Outcome:
        """Record the outcome; one that cannot be settled ends the operation. What was recorded."""
        try:
            await self.store.write(lambda tx: self._record(tx, held, outcome, entry))
        except (Fenced, StoreUnavailable):
            raise
        except Exception as error:
            # Left alone, the step would be repeated until the deadline, each time for nothing.
            log.exception("outcome cannot be settled", step=held.step)
            verdict = self.explain(error)
            failure = verdict if isinstance(verdict, Failure) else _unexpected(error, gave_up=False)
            failed = Failed(failure, note=f"{type(outcome).__name__} could not be settled: {error}")
            await self.store.write(lambda tx: self._record(tx, held, failed, entry))
            return failed
        return outcome

    async def _outcome(self, taken: _Taken) -> Outcome:
        held = taken.held
        workflow = self.registry[held.workflow]
        try:
            if taken.failed is not None:
                raise taken.failed
            return await _act(workflow.step(held.step), self._run_of(held), taken.found)
        except (Fenced, StoreUnavailable):
            raise
        except Exception as error:
            verdict = self.explain(error)
            if isinstance(verdict, Failure):
                return Failed(verdict, note=str(error))
            if isinstance(verdict, float) and held.attempts < workflow.tries:
                return Again(after=verdict, note=f"will try again: {error}")
            if verdict is None:
                log.exception("step failed unexpectedly", step=held.step)
            return Failed(_unexpected(error, gave_up=verdict is not None), note=repr(error))

    def _record(
        self, tx: WriteTx, held: Operation, outcome: Outcome, entry: dict[str, Any]
    ) -> None:
        """The one transaction of a step: progress, status, quota, all or nothing."""
        workflow = self.registry[held.workflow]
        entry = entry | ({"note": outcome.note} if outcome.note else {})
        data = {} if isinstance(outcome, Done) or outcome.data is None else _plain(outcome.data)
        match outcome:
            case Next():
                operations.advance(
                    tx,
                    held,
                    entry | {"event": "done"},
                    step=workflow.after(held.step),
                    queue=outcome.queue,
                    attempts=0,
                    progress=None,
                    **data,
                )
                outcome.settle(tx)
                tx.wake(outcome.queue, held.id)
            case Again():
                queue = outcome.queue or held.queue
                moved = {"attempts": 0} if outcome.queue or outcome.data is not None else {}
                operations.advance(
                    tx,
                    held,
                    entry | {"event": "again"},
                    queue=queue,
                    due_at=entry["at"] + outcome.after,
                    progress=outcome.progress,
                    **moved,
                    **data,
                )
                outcome.settle(tx)
                if outcome.after <= 0:
                    tx.wake(queue, held.id)
            case Done():
                operations.advance(
                    tx,
                    held,
                    entry | {"event": "succeeded"},
                    state="succeeded",
                    ended_at=entry["at"],
                    progress=None,
                    result=outcome.result,
                )
                outcome.settle(tx)
                self._tell_waiter(tx, held)
            case Failed():
                operations.advance(
                    tx,
                    held,
                    entry | {"event": "failed"},
                    state="failed",
                    ended_at=entry["at"],
                    progress=None,
                    failure=msgspec.to_builtins(outcome.failure),
                    **data,
                )
                final = data["data"] if data else held.data
                workflow.settle_failure(
                    tx, held, msgspec.convert(final, workflow.data), outcome.failure
                )
                self._tell_waiter(tx, held)

    def _tell_waiter(self, tx: WriteTx, held: Operation) -> None:
        if held.reply_to:
            tx.wake(held.reply_to, held.id, everyone=True)

    async def take_over(
        self, operation_id: str, decide: Callable[[Run[Any]], Outcome | None]
    ) -> bool:
        """Act in the place of a service that is away; whether `decide` found something to do."""

        def settle(tx: WriteTx) -> bool:
            held = operations.take_over(tx, operation_id, self.worker, self.lease)
            if held is None:
                return False
            data = msgspec.convert(held.data, self.registry[held.workflow].data)
            outcome = decide(Run(held, data, self.doors))
            if outcome is None:
                operations.release(tx, held)
                return False
            entry: dict[str, Any] = {
                "step": held.step,
                "queue": held.queue,
                "worker": self.worker,
                "sweep": True,
                "at": tx.clock(),
            }
            self._record(tx, held, outcome, entry)
            log.info("swept", **_ids(held), outcome=type(outcome).__name__)
            return True

        return await self.store.write(settle)

    # -- finding work --------------------------------------------------------------------------

    async def poll(self) -> int:
        """Run everything that is due on our queues and that nobody works on; how many were found.

        This alone finishes all work, without any message.
        """
        found = await self._take_due()
        await asyncio.gather(*found)
        return len(found)

    async def _take_due(self) -> list[asyncio.Task[None]]:
        """Begin what is due, but for what an earlier look has begun or has waiting for a slot.

        A queue without a free slot has enough found: more of it would only wait.
        """
        if not self._slots:
            return []
        free = [queue for queue, slots in self._slots.items() if not slots.taken]
        known = self.registry.names
        found = await self.store.read(lambda tx: operations.due(tx, free, known, FOUND_AT_ONCE))
        self._looked_at = time.monotonic()
        fresh = [one for one in found if one[0] not in self._held and one[0] not in self._found]
        return [self._spawn(self._run_found(*one)) for one in fresh]

    def idle_reason(self, patience: float, queue: str | None = None) -> str:
        """Why work is not begun: nobody has been able to look for it for `patience` seconds, or
        none of a queue's steps has ended, if one is named whose steps are short. Mostly ""."""
        unseen = time.monotonic() - self._looked_at
        if unseen > patience + 2 * self.poll_interval:
            return f"It has not been able to look for work for {unseen:.0f} s."
        slots = self._slots.get(queue) if queue else None
        stuck = slots.stuck_for if slots else 0.0
        if stuck > patience:
            return f"None of the steps that it may run at a time has ended for {stuck:.0f} s."
        return ""

    async def _run_found(self, operation_id: str, queue: str) -> None:
        self._found.add(operation_id)
        try:
            with contextlib.suppress(NotHere):
                await self._run_in_slot(operation_id, queue)
        finally:
            self._found.discard(operation_id)

    async def _run_in_slot(self, operation_id: str, queue: str) -> None:
        async with self._slots[queue]:
            await self.run(operation_id, queue)

    async def _poll_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.poll_interval * random.uniform(0.75, 1.25))
            try:
                # Not to their ends: a long step must not keep others from being found.
                await self._take_due()
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("poll failed")

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.lease / 3)
            held = list(self._held.items())
            if held:
                with contextlib.suppress(StoreUnavailable):
                    await self.store.write(partial(_renew, held=held, lease=self.lease))

    async def _wake_later(self, queue: str, operation_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds + 0.01)
        await send_wakes(self.bus, [Wake(queue, operation_id)])

    async def _release_leases_of_the_dead(self) -> None:
        def release(tx: WriteTx) -> None:
            for worker in operations.leases_of_host(tx, self.host):
                if not worker_lives(worker):
                    operations.release_leases(tx, worker)

        with contextlib.suppress(StoreUnavailable):
            await self.store.write(release)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("work failed", exc_info=error)


def _ids(held: Operation) -> dict[str, str | int]:
    """What each line of the log says that belongs to an operation."""
    return {"request_id": held.request_id, "operation": held.id, "epoch": held.epoch}


def _traced(held: Operation) -> AbstractContextManager[Span | None]:
    """Within, all is part of the trace of the request which submitted the operation."""
    return tracing.step(
        f"{held.workflow} {held.step}",
        held.trail[0].get("trace") if held.trail else None,
        {f"breezeblock.{name}": value for name, value in _ids(held).items()},
    )


def _renew(tx: WriteTx, held: list[tuple[str, int]], lease: float) -> None:
    operations.renew(tx, held, lease)


def _plain(data: Any) -> dict[str, Any]:
    return {"data": msgspec.to_builtins(data)}


def _unexpected(error: Exception, *, gave_up: bool) -> Failure:
    if gave_up:
        return Failure(
            code="gave-up",
            message="The work was tried several times and failed each time.",
            cause=str(error) or "No reason was given.",
            remedy="Try again later, or ask the operator to look at the backend.",
            retryable=True,
            private=True,
        )
    return Failure(
        code="internal",
        message="An unexpected error occurred.",
        cause=type(error).__name__,
        remedy="Tell the operator the request id; the service's log has the details.",
    )
