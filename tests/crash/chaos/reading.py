"""At the very end: reads every volume and every snapshot, as a host does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any
from uuid import uuid4

from breezeblock.drivers.base import Snapshot as DriverSnapshot
from breezeblock.drivers.base import Volume as DriverVolume
from breezeblock.drivers.local import LocalDriver
from tests.crash.chaos.disk import Disk
from tests.crash.chaos.owner import Owner
from tests.crash.chaos.stage import Stage
from tests.crash.chaos.tally import Tally
from tests.crash.chaos.things import Snapshot, Thing


async def check_data(stage: Stage, owners: Sequence[Owner], tally: Tally) -> None:
    """What is there must hold what it must hold. The services have ended by now."""
    driver = stage.driver()
    await asyncio.to_thread(driver.setup)
    try:
        for owner in owners:
            for thing in owner.things:
                if thing.state == "there":
                    await _read(driver, thing, tally)
    finally:
        await asyncio.to_thread(driver.stop_all)


async def _read(driver: LocalDriver, thing: Thing, tally: Tally) -> None:
    """A snapshot is read through a volume that is made from it for the purpose."""
    pool = driver.config.name
    try:
        if isinstance(thing, Snapshot):
            frozen = DriverSnapshot(thing.id, thing.volume.id, thing.size, pool)
            copy = DriverVolume(str(uuid4()), thing.size, pool)
            await asyncio.to_thread(driver.create, copy, frozen)
            await _compare(driver, copy, thing, tally)
            await asyncio.to_thread(driver.delete, copy)
        else:
            await _compare(driver, DriverVolume(thing.id, thing.size, pool), thing, tally)
    except Exception as error:
        tally.wrong("data", thing.id, f"{thing.name} ({thing.id}) cannot be read: {error!r}.")


async def _compare(driver: LocalDriver, volume: DriverVolume, thing: Thing, tally: Tally) -> None:
    connector = {"host": "the-examiner", "ip": "127.0.0.1"}
    info: Any = await asyncio.to_thread(driver.export, volume, connector)
    disk = Disk(thing.id, info.data, thing.content, tally, Random(0))
    try:
        await disk.verify(thing.size)
    finally:
        disk.close()
    await asyncio.to_thread(driver.unexport, volume, connector["host"])
