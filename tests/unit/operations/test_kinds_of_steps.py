"""Steps that look, or decide, in the transaction that takes their work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.new_database import new_store
from tests.unit.operations.test_engine import Data

from breezeblock.bus.memory import MemoryBus
from breezeblock.model.errors import Failure, InvalidState, NotFound
from breezeblock.model.operation import Operation
from breezeblock.operations.engine import Engine
from breezeblock.operations.explain import explain
from breezeblock.operations.submit import Caller, submit
from breezeblock.operations.waiting import Waiter
from breezeblock.operations.wakes import send_wakes
from breezeblock.operations.workflow import (
    Deciding,
    Done,
    Looking,
    Next,
    Outcome,
    Registry,
    Run,
    Step,
    Workflow,
)
from breezeblock.store import operations
from breezeblock.store.store import ReadTx, Store, StoreUnavailable, Wake, WriteTx


class Counted(Store):
    """How many transactions there were."""

    transactions = 0

    async def write(self, fn: Callable[[WriteTx], Any]) -> Any:
        self.transactions += 1
        return await super().write(fn)


class Desk:
    """One step on one queue; what it made of its operation."""

    def __init__(self, path: Path) -> None:
        new_store(path).close()
        self.store = Counted(f"sqlite:///{path}")
        self.failures: list[Failure] = []

    async def end_of(self, *steps: Step) -> Operation:
        """The operation, once the steps have been run."""
        workflow = Workflow("toy", "thing", Data, steps, self._failed)
        bus = MemoryBus()
        engine = Engine(self.store, bus, Registry((workflow,)), self, explain, host="host")
        await engine.serve("desk", in_flight=1)
        ident = await self.store.write(
            lambda tx: submit(tx, workflow, Caller("p", "u", "req-1"), "r", Data(), "desk")
        )
        self.store.transactions = 0
        while await engine.poll():
            pass
        found = await self.store.read(lambda tx: operations.get(tx, ident))
        assert found is not None
        return found

    def _failed(self, _tx: WriteTx, _op: Operation, _data: Data, failure: Failure) -> None:
        self.failures.append(failure)


@pytest.fixture
def desk(tmp_path: Path):
    desk = Desk(tmp_path / "test.sqlite")
    yield desk
    desk.store.close()


def _own_row(tx: ReadTx, run: Run[Data]) -> Operation | None:
    return operations.get(tx, run.operation.id)


async def _tell(_run: Run[Data], found: Operation) -> Outcome:
    return Done({"held": found.worker is not None, "epoch": found.epoch})


async def test_a_step_is_given_what_was_found_when_its_work_was_taken(desk: Desk) -> None:
    ended = await desk.end_of(Looking(_own_row, _tell))
    assert ended.result == {"held": True, "epoch": 1}
    assert desk.store.transactions == 2  # taken, and recorded


def _decide(_tx: ReadTx, run: Run[Data]) -> Outcome:
    return Next("desk", Data((*run.data.seen, "decided")))


async def test_a_decision_is_taken_made_and_recorded_in_one_transaction(desk: Desk) -> None:
    def end(_tx: ReadTx, run: Run[Data]) -> Outcome:
        return Done({"seen": list(run.data.seen)})

    ended = await desk.end_of(Deciding(_decide), Deciding(end))
    assert (ended.state, ended.result) == ("succeeded", {"seen": ["decided"]})
    assert (ended.epoch, ended.worker, ended.lease_until) == (2, None, None)
    steps = [(entry["step"], entry.get("epoch"), entry["event"]) for entry in ended.trail[1:]]
    assert steps == [("_decide", 1, "done"), ("end", 2, "succeeded")]
    assert desk.store.transactions == 2


def _missing(_tx: ReadTx, _run: Run[Data]) -> Any:
    raise NotFound("Thing", "r")


def _bug(_tx: ReadTx, _run: Run[Data]) -> Any:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("kind", [Deciding, lambda fails: Looking(fails, _tell)])
@pytest.mark.parametrize(("fails", "code"), [(_missing, "NotFound"), (_bug, "internal")])
async def test_what_fails_while_work_is_taken_fails_the_operation_and_is_settled(
    desk: Desk, kind: Callable[[Any], Step], fails: Any, code: str
) -> None:
    ended = await desk.end_of(kind(fails))
    assert ended.state == "failed"
    assert [one.code for one in desk.failures] == [code]


async def test_a_decision_that_cannot_be_settled_leaves_nothing_but_its_failure(
    desk: Desk,
) -> None:
    def refuse(_tx: WriteTx) -> None:
        raise InvalidState("The status has changed meanwhile.")

    ended = await desk.end_of(Deciding(lambda _tx, _run: Done("done", refuse)))
    assert (ended.state, ended.result) == ("failed", None)
    assert [one.code for one in desk.failures] == ["InvalidState"]


async def test_a_database_that_is_away_fails_no_decision(desk: Desk) -> None:
    calls = 0

    def decide(_tx: ReadTx, _run: Run[Data]) -> Outcome:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StoreUnavailable("away")
        return Done()

    ended = await desk.end_of(Deciding(decide))
    assert (ended.state, ended.epoch, desk.failures) == ("succeeded", 1, [])


async def test_who_waits_for_an_end_that_was_told_before_looks_once(desk: Desk) -> None:
    bus = MemoryBus()
    await bus.start()
    waiter = Waiter(desk.store, bus, "api")
    await waiter.start()
    ended = await desk.end_of(Deciding(lambda _tx, _run: Done("done")))
    await send_wakes(bus, [Wake(waiter.topic, ended.id, everyone=True)])
    await bus.close()  # once the message has been heard
    looks = 0

    def look(_tx: ReadTx) -> str:
        nonlocal looks
        looks += 1
        return "read"

    waiter.LOOKS = (60.0,)  # type: ignore[assignment]
    async with asyncio.timeout(30):
        found = await waiter.wait_and_read(ended.id, 120.0, look)
    assert (found, looks) == ((ended, "read"), 1)
