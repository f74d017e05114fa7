"""The engine: how operations are leased, run, repeated and ended."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from tests.new_database import new_store

from breezeblock.bus.memory import MemoryBus
from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.model.errors import Conflict, Failure, InvalidState, OperationFailed
from breezeblock.model.operation import Operation
from breezeblock.operations import engine as engine_module
from breezeblock.operations import sweep
from breezeblock.operations.engine import Engine
from breezeblock.operations.explain import explain
from breezeblock.operations.submit import Caller, submit
from breezeblock.operations.waiting import StillRunning, Waiter
from breezeblock.operations.wakes import send_wakes
from breezeblock.operations.workers import worker_lives, worker_name
from breezeblock.operations.workflow import Again, Done, Next, Outcome, Registry, Run, Workflow
from breezeblock.store import operations, tables
from breezeblock.store.operations import Fenced
from breezeblock.store.store import Store, Wake, WriteTx


class Data(msgspec.Struct, frozen=True):
    seen: tuple[str, ...] = ()


@dataclass
class World:
    """Two services, `first` and `second`, that each do one step of a two-step workflow."""

    store: Store
    bus: MemoryBus
    did: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    raises: list[Exception] = field(default_factory=list)
    hold: asyncio.Event | None = None

    def __post_init__(self) -> None:
        async def one(run: Run[Data]) -> Outcome:
            self.did.append("one")
            if self.hold:
                await self.hold.wait()
            if self.raises:
                raise self.raises.pop(0)
            return Next("second", Data((*run.data.seen, "one")), lambda _tx: self._settle("one"))

        async def two(run: Run[Data]) -> Outcome:
            self.did.append("two")
            return Done({"seen": list(run.data.seen)}, lambda _tx: self._settle("two"))

        def failed(_tx: WriteTx, _op: Operation, _data: Data, failure: Failure) -> None:
            self.settled.append(f"failed: {failure.code}")

        self.workflow = Workflow("toy", "thing", Data, (one, two), failed, tries=3)

    def _settle(self, what: str) -> None:
        self.settled.append(what)

    def engine(self, **options: float) -> Engine:
        return Engine(
            self.store, self.bus, Registry((self.workflow,)), self, explain, host="host", **options
        )

    async def submit(self, resource: str = "r", reply_to: str | None = None) -> str:
        caller = Caller("p", "u", "req-1", reply_to)
        return await self.store.write(
            lambda tx: submit(tx, self.workflow, caller, resource, Data(), "first")
        )

    async def get(self, ident: str) -> Operation:
        found = await self.store.read(lambda tx: operations.get(tx, ident))
        assert found is not None
        return found

    async def work(self, engine: Engine) -> None:
        """Poll until there is nothing more to do: no message needed."""
        while await engine.poll():
            pass


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    store = new_store(tmp_path / "test.sqlite")
    bus = MemoryBus()
    await bus.start()
    yield World(store, bus)
    await bus.close()
    store.close()


@pytest.fixture
async def engine(world: World) -> Engine:
    engine = world.engine()
    for queue in ("first", "second"):
        await engine.serve(queue, in_flight=4)
    return engine


async def test_steps_run_in_order_each_on_its_queue(world: World, engine: Engine) -> None:
    ident = await world.submit()
    await world.work(engine)
    operation = await world.get(ident)
    assert operation.state == "succeeded"
    assert operation.result == {"seen": ["one"]}
    assert world.did == world.settled == ["one", "two"]
    assert [entry.get("queue") for entry in operation.trail] == [None, "first", "second"]


async def test_messages_carry_the_work_from_queue_to_queue(world: World, engine: Engine) -> None:
    world.store.on_commit = lambda wakes: send_wakes(world.bus, wakes)
    waiter = Waiter(world.store, world.bus, "test")
    await waiter.start()
    ident = await world.submit(reply_to=waiter.topic)
    assert (await waiter.wait(ident, 5)).result == {"seen": ["one"]}


async def test_a_resource_has_one_open_operation_at_a_time(world: World, engine: Engine) -> None:
    await world.submit("r")
    with pytest.raises(Conflict):
        await world.submit("r")
    await world.submit("other")
    await world.work(engine)
    await world.submit("r")


async def test_work_of_another_release_is_left_to_it(world: World, engine: Engine) -> None:
    """A newer process has opened a workflow, or added a step, that this one does not know."""

    async def ours(run: Run[Data]) -> Outcome:
        raise AssertionError("only the newer release runs this")

    newer = Workflow("newer", "thing", Data, (ours,), world.workflow.settle_failure)
    other_step = Workflow("toy", "thing", Data, (ours,), world.workflow.settle_failure)
    caller = Caller("p", "u", "req-1")
    left = [
        await world.store.write(
            lambda tx, workflow=workflow, resource=resource: submit(
                tx, workflow, caller, resource, Data(), "first"
            )
        )
        for workflow, resource in ((newer, "a"), (other_step, "b"))
    ]
    for ident in left:
        await engine.run(ident, "first")  # as a message would have it
    await engine.poll()
    for ident in left:
        operation = await world.get(ident)
        assert operation.is_open and operation.worker is None and operation.epoch == 0
        assert operation.attempts == 0 and len(operation.trail) == 1
    assert await world.store.read(lambda tx: operations.due(tx, ["first"], ["toy"], 1)) == [
        (left[1], "first")
    ]


async def test_a_temporary_error_repeats_the_step(world: World, engine: Engine) -> None:
    world.raises = [TemporaryError("busy", retry_after=0.0)] * 2
    ident = await world.submit()
    await world.work(engine)
    assert (await world.get(ident)).state == "succeeded"
    assert world.did == ["one", "one", "one", "two"]


async def test_a_temporary_error_that_does_not_end_fails_the_operation(
    world: World, engine: Engine
) -> None:
    world.raises = [TemporaryError("busy", retry_after=0.0)] * 5
    ident = await world.submit()
    await world.work(engine)
    operation = await world.get(ident)
    assert operation.failure is not None
    assert operation.failure["code"] == "gave-up"
    assert world.did == ["one"] * 3
    assert world.settled == ["failed: gave-up"]


async def test_a_permanent_error_settles_and_tells_cause_and_remedy_without_paths(
    world: World, engine: Engine
) -> None:
    world.raises = [PermanentError("no licence in '/etc/it/key'", remedy="Buy one.")]
    ident = await world.submit()
    await world.work(engine)
    waiter = Waiter(world.store, world.bus, "test")
    with pytest.raises(OperationFailed, match=r"no licence in '…'\. Buy one\."):
        await waiter.wait(ident, 1)
    failure = (await world.get(ident)).failure
    assert failure is not None
    assert failure["cause"] == "no licence in '/etc/it/key'"
    assert world.settled == ["failed: backend"]


async def test_a_bug_in_a_step_ends_the_operation_without_leaking_it(
    world: World, engine: Engine
) -> None:
    world.raises = [ZeroDivisionError("secret detail")]
    ident = await world.submit()
    await world.work(engine)
    operation = await world.get(ident)
    assert operation.state == "failed"
    assert operation.failure is not None
    assert "secret" not in str(operation.failure)


async def test_an_outcome_that_cannot_be_settled_ends_the_operation(
    world: World, engine: Engine
) -> None:
    async def moved(_run: Run[Data]) -> Outcome:
        return Done(settle=_refuse)

    world.workflow = Workflow("toy", "thing", Data, (moved,), world.workflow.settle_failure)
    engine.registry = Registry((world.workflow,))
    ident = await world.submit()
    await world.work(engine)
    operation = await world.get(ident)
    assert (operation.state, operation.lease_until) == ("failed", None)
    assert world.settled == ["failed: InvalidState"]


def _refuse(_tx: WriteTx) -> None:
    raise InvalidState("The status has changed meanwhile.")


async def test_a_dead_workers_lease_runs_out_and_another_takes_over(world: World) -> None:
    ident = await world.submit()
    dead = await world.store.write(
        lambda tx: operations.claim(tx, ident, "first", "gone:1:1", lease=0.5)
    )
    assert dead is not None
    assert (
        await world.store.write(lambda tx: operations.claim(tx, ident, "first", "other", lease=5))
        is None
    )
    await asyncio.sleep(0.7)
    heir = await world.store.write(
        lambda tx: operations.claim(tx, ident, "first", "other", lease=5)
    )
    assert heir is not None
    assert heir.epoch == dead.epoch + 1


async def test_a_worker_that_wakes_up_too_late_is_refused(world: World, engine: Engine) -> None:
    ident = await world.submit()
    late = await world.store.write(
        lambda tx: operations.claim(tx, ident, "first", "late", lease=-1)
    )
    assert late is not None
    await world.work(engine)
    assert (await world.get(ident)).state == "succeeded"
    with pytest.raises(Fenced):
        await world.store.write(
            lambda tx: operations.advance(tx, late, {}, state="failed", queue="nowhere")
        )
    assert (await world.get(ident)).state == "succeeded"


async def test_a_worker_that_was_overtaken_is_refused_while_its_heir_is_at_work(
    world: World,
) -> None:
    ident = await world.submit()

    async def claimed_by(worker: str, lease: float) -> Operation:
        held = await world.store.write(
            lambda tx: operations.claim(tx, ident, "first", worker, lease)
        )
        assert held is not None
        return held

    late = await claimed_by("late", lease=-1)
    heir = await claimed_by("heir", lease=60)
    with pytest.raises(Fenced):
        await world.store.write(lambda tx: operations.advance(tx, late, {}, queue="nowhere"))
    lost = await world.store.write(lambda tx: operations.renew(tx, [(late.id, late.epoch)], 60))
    assert lost == {ident}
    assert await world.get(ident) == heir


async def test_a_cancelled_operation_settles_nothing_more(world: World, engine: Engine) -> None:
    world.hold = asyncio.Event()
    ident = await world.submit()
    running = asyncio.create_task(engine.run(ident, "first"))
    while not world.did:
        await asyncio.sleep(0.01)
    forced = Failure("cancelled", "by force", cause="An administrator.", remedy="Ask again.")
    await world.store.write(lambda tx: operations.cancel(tx, ident, forced))
    world.hold.set()
    await running
    assert (await world.get(ident)).state == "cancelled"
    assert world.settled == []


async def test_a_lease_is_renewed_while_the_step_runs(world: World) -> None:
    engine = world.engine(lease=0.3, poll=60)
    await engine.serve("first", in_flight=1)
    await engine.start()
    world.hold = asyncio.Event()
    ident = await world.submit()
    running = asyncio.create_task(engine.run(ident, "first"))
    await asyncio.sleep(0.8)
    assert (
        await world.store.write(lambda tx: operations.claim(tx, ident, "first", "thief", lease=5))
        is None
    )
    world.hold.set()
    await running
    assert world.settled == ["one"]
    await engine.close()


async def test_a_renewal_that_comes_after_the_steps_end_leases_nothing(
    world: World, engine: Engine
) -> None:
    ident = await world.submit()
    held = await world.store.write(lambda tx: operations.claim(tx, ident, "first", "me:1:1", 60))
    assert held is not None
    await world.store.write(
        lambda tx: operations.advance(tx, held, {"event": "done"}, step="two", queue="second")
    )
    lost = await world.store.write(lambda tx: operations.renew(tx, [(held.id, held.epoch)], 60))
    assert lost == {ident}
    await engine.run(ident, "second")
    assert world.did == ["two"]


async def test_work_that_does_not_end_is_handed_over_when_a_process_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CLOSE_PATIENCE", 0.05)
    leaving, other = world.engine(lease=60), world.engine(lease=60)
    await leaving.serve("first", in_flight=1)
    world.hold = asyncio.Event()
    ident = await world.submit()
    running = asyncio.create_task(leaving.run(ident, "first"))
    while not world.did:
        await asyncio.sleep(0.01)
    await leaving.close()
    assert running.cancelled()
    world.hold = None
    await other.serve("first", in_flight=1)
    await world.work(other)
    assert world.settled == ["one"]
    assert (await world.get(ident)).epoch == 2


async def test_work_that_ends_soon_is_waited_for_when_a_process_stops(world: World) -> None:
    engine = world.engine()
    world.hold = asyncio.Event()
    ident = await world.submit()
    running = asyncio.create_task(engine.run(ident, "first"))
    while not world.did:
        await asyncio.sleep(0.01)
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0.05)
    world.hold.set()
    await closing
    await running
    assert world.settled == ["one"]


async def test_whoever_stops_leaves_new_work_to_others(world: World) -> None:
    leaving, staying = world.engine(), world.engine()
    await leaving.serve("first", in_flight=1)
    await leaving.leave()
    ident = await world.submit()
    await send_wakes(world.bus, [Wake("first", ident)])
    assert await leaving.poll() == 1
    assert world.did == []
    await staying.serve("first", in_flight=1)
    async with asyncio.timeout(5):
        while world.settled != ["one"]:
            await asyncio.sleep(0.01)


async def test_a_lease_is_renewed_though_the_step_began_before_the_last_one_had_returned(
    world: World,
) -> None:
    """A broker may deliver a wake-up before it has confirmed to us that it has it."""
    engine, going_on = world.engine(lease=0.3, poll=60), asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def two(_run: Run[Data]) -> Outcome:
        world.did.append("two")
        await going_on.wait()
        return Done()

    world.workflow = Workflow(
        "toy", "thing", Data, (world.workflow.step("one"), two), world.workflow.settle_failure
    )
    engine.registry = Registry((world.workflow,))
    await engine.start()
    ident = await world.submit()

    async def deliver(_wakes: list[Wake]) -> None:
        if not tasks:
            tasks.append(asyncio.create_task(engine.run(ident, "second")))
            while "two" not in world.did:
                await asyncio.sleep(0.01)

    world.store.on_commit = deliver
    await engine.run(ident, "first")
    await asyncio.sleep(0.8)
    assert (
        await world.store.write(lambda tx: operations.claim(tx, ident, "second", "thief", lease=5))
        is None
    )
    going_on.set()
    await asyncio.gather(*tasks)
    assert (await world.get(ident)).state == "succeeded"
    await engine.close()


async def test_a_long_step_keeps_no_other_work_from_being_found(world: World) -> None:
    engine = world.engine(poll=0.01)
    await engine.serve("first", in_flight=2)
    await engine.start()
    world.hold = asyncio.Event()
    await world.submit("slow")
    while world.did != ["one"]:
        await asyncio.sleep(0.01)
    await world.submit("other")
    async with asyncio.timeout(5):
        while world.did != ["one", "one"]:
            await asyncio.sleep(0.01)
    world.hold.set()
    await engine.close()


async def test_a_crowd_before_one_backend_keeps_no_work_of_another_from_being_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FOUND_AT_ONCE", 3)
    engine = world.engine(poll=0.01)
    world.hold = asyncio.Event()
    crowd = [await world.submit(f"slow-{number}") for number in range(8)]
    later = await world.submit("other")
    await world.store.write(lambda tx: _send_to(tx, later, "second", "two"))
    await engine.serve("first", in_flight=2)
    await engine.serve("second", in_flight=2)
    await engine.start()
    async with asyncio.timeout(5):
        while (await world.get(later)).is_open:
            await asyncio.sleep(0.01)
        assert world.did.count("one") <= 2
        world.hold.set()
        for one in crowd:
            while (await world.get(one)).is_open:
                await asyncio.sleep(0.01)
    await engine.close()


def _send_to(tx: WriteTx, operation_id: str, queue: str, step: str) -> None:
    where = tables.operations.c.id == operation_id
    tx.run(tables.operations.update().where(where).values(queue=queue, step=step))


async def test_each_queue_is_found_a_share_of(world: World) -> None:
    for number in range(5):
        await world.submit(f"r{number}")
    other = await world.submit("other")
    await world.store.write(lambda tx: _send_to(tx, other, "second", "two"))
    found = await world.store.read(lambda tx: operations.due(tx, ["first", "second"], ["toy"], 2))
    assert sorted(queue for _id, queue in found) == ["first", "first", "second"]
    assert await world.store.read(lambda tx: operations.due(tx, [], ["toy"], 2)) == []


async def test_an_engine_says_that_no_step_of_a_queue_ends(world: World) -> None:
    engine = world.engine()
    await engine.serve("first", in_flight=1)
    world.hold = asyncio.Event()
    await world.submit()
    running = asyncio.create_task(engine.poll())
    while not world.did:
        await asyncio.sleep(0.01)
    assert "has ended" in engine.idle_reason(0.0, "first")
    assert engine.idle_reason(60.0, "first") == ""
    assert engine.idle_reason(60.0, "second") == ""
    world.hold.set()
    await running
    assert engine.idle_reason(0.0, "first") == ""


async def test_an_engine_says_that_it_cannot_look_for_work(world: World) -> None:
    engine = world.engine(poll=0.0)
    await engine.serve("first", in_flight=1)
    await asyncio.sleep(0.02)
    assert "look for work" in engine.idle_reason(0.01, "first")
    await engine.poll()
    assert engine.idle_reason(5.0, "first") == ""


async def test_leases_of_dead_processes_of_this_host_are_freed_at_start(world: World) -> None:
    ident = await world.submit()
    await world.store.write(
        lambda tx: operations.claim(tx, ident, "first", "host:999999:1", lease=3600)
    )
    engine = world.engine()
    await engine.start()
    assert (await world.get(ident)).lease_until is None
    await engine.close()


async def test_leases_of_living_processes_of_this_host_are_kept_at_start(world: World) -> None:
    ident = await world.submit()
    neighbour = worker_name("host")  # this very process lives
    held = await world.store.write(
        lambda tx: operations.claim(tx, ident, "first", neighbour, lease=3600)
    )
    engine = world.engine()
    await engine.start()
    assert await world.get(ident) == held
    await engine.close()


def test_a_worker_is_known_by_pid_and_start_time() -> None:
    name = worker_name("host")
    assert worker_lives(name)
    assert not worker_lives(name.rsplit(":", 1)[0] + ":1")


def test_a_zombie_works_no_more() -> None:
    child = subprocess.Popen(["true"])
    while (state := Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split())[
        0
    ] != "Z":
        time.sleep(0.01)
    assert not worker_lives(f"host:{child.pid}:{state[19]}")
    child.wait()


async def test_waiting_ends_after_the_time_the_caller_has(world: World) -> None:
    ident = await world.submit()
    with pytest.raises(StillRunning):
        await Waiter(world.store, world.bus, "test").wait(ident, 0.05)


async def test_each_who_waits_for_one_operation_is_woken(
    world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Waiter, "LOOKS", (3600.0,))  # nobody looks without a message
    waiter = Waiter(world.store, world.bus, "test")
    await waiter.start()
    ident = await world.submit()
    with pytest.raises(StillRunning):  # who gives up takes nothing from the others
        patient = asyncio.create_task(waiter.wait(ident, 60))
        await asyncio.sleep(0)
        await waiter.wait(ident, 0.05)
    others = [asyncio.create_task(waiter.wait(ident, 60)) for _ in range(2)]
    await asyncio.sleep(0)
    await world.work(engine)
    await send_wakes(world.bus, [Wake(waiter.topic, ident, everyone=True)])
    ended = await asyncio.wait_for(asyncio.gather(patient, *others), 30)
    assert [one.state for one in ended] == ["succeeded"] * 3


async def test_overdue_work_is_ended_and_settled(world: World) -> None:
    ident = await world.submit()
    engine = world.engine()
    assert await sweep.end_overdue(engine, 3600) == 0
    assert await sweep.end_overdue(engine, 0) == 1
    assert (await world.get(ident)).state == "failed"
    assert world.settled == ["failed: overdue"]


async def test_a_step_can_ask_to_be_repeated_later(world: World, engine: Engine) -> None:
    calls = []

    async def patient(run: Run[Data]) -> Outcome:
        calls.append(run.operation.attempts)
        return Done() if len(calls) > 1 else Again(after=0.05, data=Data(("waited",)))

    world.workflow = Workflow("toy", "thing", Data, (patient,), lambda *_: None)
    engine.registry = Registry((world.workflow,))
    ident = await world.submit()
    await world.work(engine)
    assert len(calls) == 1
    await asyncio.sleep(0.1)
    await world.work(engine)
    assert (await world.get(ident)).state == "succeeded"
    assert (await world.get(ident)).data == {"seen": ["waited"]}


async def test_a_long_trail_keeps_how_it_began_and_what_came_last(world: World) -> None:
    ident = await world.submit()

    def repeat(tx: WriteTx) -> None:
        for number in range(250):
            held = operations.claim(tx, ident, "first", "host:1:1", 20.0)
            assert held is not None
            operations.advance(tx, held, {"event": "again", "number": number})

    await world.store.write(repeat)
    first, *others = (await world.get(ident)).trail
    assert first["event"] == "accepted"
    assert [one["number"] for one in others] == [*range(19), *range(70, 250)]


@pytest.mark.parametrize(("step", "queue"), [("one", "first"), ("two", "second")])
async def test_work_that_has_ended_has_no_progress(world: World, step: str, queue: str) -> None:
    """The first step fails, the second one succeeds."""
    ident = await world.submit()
    world.raises.append(PermanentError("no"))

    def half_done(tx: WriteTx) -> None:
        held = operations.claim(tx, ident, "first", "host:1:1", 20.0)
        assert held is not None
        operations.advance(tx, held, {"event": "again"}, step=step, queue=queue, progress=41)

    await world.store.write(half_done)
    assert (await world.get(ident)).progress == 41
    await world.engine().run(ident, queue)
    ended = await world.get(ident)
    assert (ended.is_open, ended.progress) == (False, None)
