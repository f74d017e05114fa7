"""What the engine does when a step ends whose operation has gone on without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.new_database import new_store
from tests.unit.operations.test_engine import World

from breezeblock.bus.memory import MemoryBus
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.operations.engine import Engine
from breezeblock.store import operations
from breezeblock.store.store import WriteTx

BY_FORCE = Failure("cancelled", "by force", cause="An administrator.", remedy="Ask again.")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = new_store(tmp_path / "db.sqlite")
    yield World(store, MemoryBus())
    store.close()


async def run_and_cancel(world: World, engine: Engine) -> str:
    """Have a step run while its operation is cut short; the operation."""
    world.hold = asyncio.Event()
    ident = await world.submit()
    running = asyncio.create_task(engine.run(ident, "first"))
    while not world.did:
        await asyncio.sleep(0.01)
    await world.store.write(lambda tx: operations.cancel(tx, ident, BY_FORCE))
    world.hold.set()
    await running
    return ident


async def test_whoever_wants_to_know_is_told_of_a_step_that_came_too_late(world: World) -> None:
    engine = world.engine()
    seen: list[Operation] = []
    engine.overtaken = lambda _tx, held: seen.append(held)
    ident = await run_and_cancel(world, engine)
    assert [(one.id, one.queue, one.epoch) for one in seen] == [(ident, "first", 1)]


async def test_a_step_that_counts_is_nothing_to_tell(world: World) -> None:
    engine = world.engine()
    seen: list[Operation] = []
    engine.overtaken = lambda _tx, held: seen.append(held)
    await engine.run(await world.submit(), "first")
    assert world.settled == ["one"]
    assert seen == []


async def test_the_engine_goes_on_when_the_telling_fails(world: World) -> None:
    def broken(_tx: WriteTx, _held: Operation) -> None:
        raise RuntimeError("out of order")

    engine = world.engine()
    engine.overtaken = broken
    await run_and_cancel(world, engine)
    world.did.clear()
    await engine.run(await world.submit("another"), "first")
    assert world.did == ["one"]
