"""A deletion that an administrator has called off is not carried out by a worker who wakes up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from breezeblock.operations.engine import FRESH
from tests.crash import clients as do
from tests.crash.stage import Order
from tests.crash.world import World, run

KEEP = {"os-reset_status": {"status": "available"}}


async def call_off(path: str, action_path: str) -> World:
    """The worker has just taken the deletion when it freezes; it wakes up after the reset."""
    world, known = World(), SimpleNamespace()
    await do.frozen(world, known)
    world.plan = lambda _stage, actor, point: (
        Order.FREEZE
        if actor.name == "worker1" and point.kind == "store.write" and point.when == "after"
        else Order.GO
    )
    await world.ask("DELETE", path.format(**vars(known)))
    await asyncio.sleep(FRESH)  # no administrator is quicker
    reply = await world.call("POST", action_path.format(**vars(known)), KEEP, role="admin")
    assert reply.status == 202, reply.json
    world.plan = lambda *_: Order.GO
    await world.take_over()
    world.actors[1].thaw()
    await world.recover()
    return world


@pytest.mark.parametrize(
    ("deleted", "kept"),
    [
        ("/volumes/{volume}?cascade=true", "/volumes/{volume}/action"),
        ("/snapshots/{snapshot}", "/snapshots/{snapshot}/action"),
    ],
)
def test_what_was_kept_is_still_there(deleted: str, kept: str) -> None:
    async def play() -> None:
        world = await call_off(deleted, kept)
        driver = world.drivers[0]
        assert len(driver.sizes) == 1 and len(driver.snapshots) == 1, driver.calls
        await world.close()

    run(play())
