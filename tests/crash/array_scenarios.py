"""What is tried with the NetApp driver: scenarios of the core (`scenarios.py`), on an array. Those
that are not here need a disk that can be read (images), or ask nothing of the array.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from breezeblock.drivers.netapp.qos import PATH as POLICIES
from breezeblock.drivers.netapp.qos_rules import GROUP
from tests.crash import clients as do
from tests.crash.array_driver import GOLD, TIER
from tests.crash.array_world import ArrayWorld, first_day
from tests.crash.clients import Known
from tests.crash.enumeration import Strike
from tests.crash.scenarios import SCENARIOS as OF_CORE
from tests.crash.scenarios import Scenario
from tests.crash.stage import Remains
from tests.crash.world import Backends, World

Setup = Callable[[World, Known], Awaitable[None]]


@dataclass(frozen=True)
class ArrayScenario(Scenario):
    """A scenario of the core whose first backend is an array."""

    async def prepare(self) -> Remains[Backends]:
        world = ArrayWorld(first_day())
        await self.setup(world, self.known)
        await world.settle()
        world.drivers[0].write()  # type: ignore[attr-defined]
        left = world.remains()
        await world.close()
        return left

    def open(self, remains: Remains[Backends], *, workers: int) -> ArrayWorld:
        return ArrayWorld(remains, hire=workers, patience=self.patience)

    def problem(self, world: World, strike: Strike) -> str | None:
        wrong = super().problem(world, strike)
        if wrong is None:
            array: Any = world.drivers[0]
            left = array.leftovers(world.facts().volumes)
            wrong = f"the array still has {', '.join(left)}" if left else None
        return wrong


async def typed(world: World, _known: Known) -> None:
    """A type with limits of its own, and one whose volumes share a policy group of the array's and
    lie in the second pool."""
    array: Any = world.drivers[0]
    array.driver.client.post(POLICIES, {"name": "there", "fixed": {"max_throughput_iops": 900}})
    types = {}
    for name, specs in (("gold", {}), ("there", {"place": "there", GROUP: "there"})):
        wanted = {"name": name, "extra_specs": {TIER: name, **specs}}
        reply = await world.call("POST", "/types", {"volume_type": wanted}, role="admin")
        assert reply.status == 200, reply.json
        types[name] = reply.json["volume_type"]["id"]
    qos = {"name": "gold", "consumer": "back-end", **GOLD}
    reply = await world.call("POST", "/qos-specs", {"qos_specs": qos}, role="admin")
    assert reply.status == 200, reply.json
    path = f"/qos-specs/{reply.json['qos_specs']['id']}/associate?vol_type_id={types['gold']}"
    assert (await world.call("GET", path, role="admin")).status == 202


async def to_retype(world: World, known: Known, *, used: bool = False) -> None:
    await typed(world, known)
    await (do.connected if used else do.made)(world, known)
    await do.add_pool(world, place="there")


async def to_apply(world: World, known: Known) -> None:
    await to_retype(world, known)
    world.drivers[0].types[known.volume] = {TIER: "gold"}


OTHER_SETUPS: Mapping[str, Setup] = {
    "retype a volume": to_retype,
    "retype a volume in use, which moves it": partial(to_retype, used=True),
    "reset what is being retyped": to_retype,
    "tell a backend of a type once more": to_apply,
}
NOT_HERE = (
    *(
        "from an image",
        "reimage",
        "give a reservation back",
        "begin to detach",
        "detach one of two",
    ),
    *("create where no backend fits", "extend without room", "migrate to another backend"),
    *("reset what is being created", "reset a snapshot", "reset to a status that passes"),
    "force-delete what is being created",
)


def _on_array(scenario: Scenario) -> ArrayScenario:
    kept = {one.name: getattr(scenario, one.name) for one in fields(scenario)}
    kept |= {"name": f"netapp: {scenario.name}", "known": Known()}
    return ArrayScenario(**kept | {"setup": OTHER_SETUPS.get(scenario.name, scenario.setup)})


SCENARIOS: tuple[ArrayScenario, ...] = tuple(
    _on_array(one) for one in OF_CORE if not any(word in one.name for word in NOT_HERE)
)
