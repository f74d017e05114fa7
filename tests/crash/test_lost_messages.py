"""Without any message everything goes on, only later: a client waits seconds, not minutes."""

from __future__ import annotations

from tests.crash.stage import Order
from tests.crash.world import World, run

CONNECTOR = {"host": "compute1", "mountpoint": "/dev/vdb"}


def test_a_client_whose_answer_was_announced_to_nobody_has_it_within_seconds() -> None:
    async def play() -> None:
        world = World()
        made = await world.ask("POST", "/volumes", {"volume": {"size": 1}})
        world.plan = lambda _stage, _actor, point: (
            Order.SKIP if point.kind.startswith("bus.") and point.when == "before" else Order.GO
        )
        wish = {"volume_uuid": made.json["volume"]["id"], "connector": CONNECTOR}
        asked = world.clock
        reply = await world.ask("POST", "/attachments", {"attachment": wish})
        assert reply.json["attachment"]["connection_info"], reply.json
        assert world.clock - asked < 10
        await world.close()

    run(play())
