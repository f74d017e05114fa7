"""Scenes in which a process dies half-way in a call, and another one finishes what it began.

The contract suites say what is there before a call, and what has to hold when it has been repeated
to its end (`Scene`); here it is played, with the death at several places.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from breezeblock.drivers.base import Driver, Item, Snapshot, Volume
from tests.contract.crashing import Crasher
from tests.contract.drivers import Backend, patiently

KINDS = ("export", "snapshot", "volume")
PLACES = 2


@dataclass(frozen=True)
class Scene:
    """A call, and what has to hold once it has been repeated to its end.

    `stays`: it leaves something that is nobody's any more, and that no deletion removes.
    """

    method: str
    arguments: tuple[Any, ...]
    holds: Callable[[], bool]
    options: dict[str, str] = field(default_factory=dict)
    stays: bool = False

    def call(self, driver: Driver) -> None:
        patiently(getattr(driver, self.method), *self.arguments, **self.options)


def kinds(driver: Driver) -> list[tuple[str, str]]:
    return sorted((item.kind, item.id) for item in driver.inventory())


def listed(driver: Driver) -> list[Item]:
    """The inventory, whatever the pools are called."""
    return [replace(item, pool="") for item in driver.inventory()]


def finishes_what_a_killed_one_began(
    backend: Backend, crasher: Crasher, scene: Callable[[Backend, ExitStack], Scene]
) -> None:
    effects = _play(backend, crasher, scene, die_at=0)
    for place in spread(effects):
        _play(backend, crasher, scene, die_at=place)


def _play(backend: Backend, crasher: Crasher, scene: Callable[..., Scene], *, die_at: int) -> int:
    """Have the scene's call die there, repeat it, look; returns how many effects it had."""
    with ExitStack() as stack:
        played = scene(backend, stack)
        call = (played.method, *played.arguments)
        ended = crasher.run(backend.case.name, backend.root, *call, die_at=die_at, **played.options)
        # A supervisor's effects come between, so the number varies: it may not get there.
        beyond = not 0 < die_at <= ended.effects
        assert ended.how == "killed" or (ended.how == "done" and beyond), ended
        # Sometimes one repeats that was there all the time, sometimes the next that starts.
        if die_at % 2:
            played.call(backend.driver)
            assert played.holds(), f"after dying before effect {die_at}"
        restarted = backend.another_process()
        played.call(restarted)
        assert played.holds(), f"after dying before effect {die_at}, in a new process"
        restarted.close()
    remove_everything(backend.driver)
    assert backend.driver.inventory() == []
    assert bool(backend.case.leftovers(backend.driver)) == played.stays
    return ended.effects


def spread(effects: int) -> list[int]:
    """The places at which to die: some, evenly spread, or all of them if the environment says."""
    if os.environ.get("EVERY_PLACE"):
        return list(range(1, effects + 1))
    count = min(effects, PLACES)
    return sorted({1 + round(one * (effects - 1) / max(count - 1, 1)) for one in range(count)})


def remove_everything(driver: Driver) -> None:
    items = {kind: [i for i in driver.inventory() if i.kind == kind] for kind in KINDS}
    pools = {item.id: item.pool for item in items["volume"]}
    for item in items["export"]:
        driver.unexport(Volume(item.id, 1, pools.get(item.id, "")), str(item.host))
    for item in items["snapshot"]:
        driver.delete_snapshot(Snapshot(item.id, str(item.volume_id), 1, item.pool))
    for item in items["volume"]:
        driver.delete(Volume(item.id, 1, item.pool))
