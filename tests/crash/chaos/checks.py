"""At the end, when all is up again: is it quiet, and is everything true?

quiet        no operation is open whose time has come
invariants   the rows among themselves, and with what the backend holds
owners       each client's things are there or gone as he was told; nothing that nobody asked for
usage        what the API says a project uses
data         what is inside every volume and snapshot
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any
from uuid import uuid4

import aio_pika
import sqlalchemy as sa

from breezeblock.drivers.base import Snapshot as DriverSnapshot
from breezeblock.drivers.base import Volume as DriverVolume
from breezeblock.drivers.local import LocalDriver
from breezeblock.model.invariants import check_quiet
from breezeblock.model.invariants.operations import WAITS
from breezeblock.store import facts
from breezeblock.store.clock import db_now
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import OPEN, operations
from tests.crash.chaos.disk import Disk
from tests.crash.chaos.observer import snapshot_engine
from tests.crash.chaos.owner import Owner
from tests.crash.chaos.stage import BACKEND, Stage
from tests.crash.chaos.tally import Tally
from tests.crash.chaos.things import Snapshot, Thing, Volume

QUIET_WITHIN = 60.0
HEARING_WITHIN = 30.0
WELL = frozenset({"available"})


async def wait_for_quiet(urls: dict[str, str], tally: Tally) -> float:
    """Wait until all work has ended; how long that took. Not to become quiet is a problem."""
    began = time.monotonic()
    while left := await asyncio.to_thread(_due, urls):
        if time.monotonic() - began > QUIET_WITHIN:
            for ident, workflow, resource in left:
                text = f"The operation {ident} ({workflow} on {resource}) does not end."
                tally.wrong("not-quiet", resource, text)
            break
        await asyncio.sleep(0.5)
    return time.monotonic() - began


def _due(urls: dict[str, str]) -> list[tuple[str, str, str]]:
    """Open operations of all databases, but those that wait for a client or for the next sweep."""
    open_now = sa.select(operations.c.id, operations.c.workflow, operations.c.resource_id).where(
        operations.c.state == OPEN, operations.c.due_at <= db_now() + WAITS
    )
    found: list[tuple[str, str, str]] = []
    for url in urls.values():
        with snapshot_engine(url).connect() as connection:
            found += [tuple(row) for row in connection.execute(open_now)]
    return found


def check_invariants(stage: Stage, tally: Tally) -> None:
    """The rows, and the backend's own word for what it holds."""
    with snapshot_engine(stage.urls["block storage"]).connect() as connection:
        rows = facts.read(ReadTx(connection))
    held = stage.driver().inventory()
    backend = stage.driver().config
    for found in check_quiet(rows, {f"{backend.host}@{backend.name}": held}):
        tally.wrong(found.rule, found.subject, found.text)
    exported = {item.id for item in held if item.kind == "export"}
    if len(stage.daemons_left()) > len(exported):
        text = f"More storage daemons run than volumes are exported: {stage.daemons_left()}."
        tally.wrong("daemons", "", text)


async def check_hearing(stage: Stage, tally: Tally) -> None:
    """The broker's own word for who listens. Services may need a moment to find it again."""
    host = stage.driver().config.host
    expected = {"scheduler": 1, f"volume.{host}@{BACKEND}": 2, f"compute.{host}": 1}
    deadline = time.monotonic() + HEARING_WITHIN
    while (present := await _listeners(stage.broker.url, expected)) != expected:
        if time.monotonic() > deadline:
            text = f"The broker counts these consumers: {present}; they should be {expected}."
            tally.wrong("deaf", "", text)
            return
        await asyncio.sleep(0.5)


async def _listeners(url: str, topics: Iterable[str]) -> dict[str, int]:
    """Topic → how many take work from it."""
    found = {}
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        for topic in topics:
            queue = await channel.get_queue(f"breezeblock.{topic}")
            found[topic] = queue.declaration_result.consumer_count or 0
    return found


async def check_owners(owners: Sequence[Owner], tally: Tally) -> None:
    """What was acknowledged is there; what was deleted is gone; nothing else is there."""
    for owner in owners:
        for thing in owner.things:
            await _check_thing(owner, thing, tally)
    for project in {owner.project for owner in owners}:
        await _check_project([one for one in owners if one.project == project], tally)


async def _check_thing(owner: Owner, thing: Thing, tally: Tally) -> None:
    if thing.state == "going":
        tally.wrong("does-not-go", thing.id, f"{thing.name} ({thing.id}) cannot be deleted.")
    elif thing.id and thing.state == "gone":
        kind = "snapshots" if isinstance(thing, Snapshot) else "volumes"
        if await owner.api.look(f"/{kind}/{thing.id}") is not None:
            tally.wrong(
                "came-back", thing.id, f"{thing.name} ({thing.id}) was deleted, but is there."
            )
    elif thing.state == "there":
        resource = await owner.shown(thing)  # it says itself when it is lost
        if resource is not None and resource["status"] not in WELL:
            text = f"{thing.name} ({thing.id}) is {resource['status']}, it should be available."
            tally.wrong("status", thing.id, text)


async def _check_project(owners: Sequence[Owner], tally: Tally) -> None:
    """No strangers, and the usage is that of what there is."""
    api, project = owners[0].api, owners[0].project
    used: Counter[str] = Counter()
    for kind in ("volumes", "snapshots"):
        known = {thing.id for owner in owners for thing in owner.things if thing.state != "gone"}
        listed = (await api.look(f"/{kind}/detail?limit=1000"))[kind]
        for name, number in Counter(one["name"] for one in listed).items():
            if number > 1:
                tally.wrong("made-twice", name, f"{name} was asked for once; there are {number}.")
        for one in listed:
            used.update({kind: 1, "gigabytes": one["size"]})
            if one["id"] not in known:
                text = f"{kind}: {one['name']} ({one['id']}, {one['status']}) is nobody's any more."
                tally.wrong("stranger", one["id"], text)
    shown = (await api.look(f"/os-quota-sets/{project}?usage=true"))["quota_set"]
    for resource in ("volumes", "snapshots", "gigabytes"):
        if shown[resource]["in_use"] != used[resource]:
            told = shown[resource]["in_use"]
            text = f"Project {project} is told to use {told} {resource}; it uses {used[resource]}."
            tally.wrong("usage-told", project, text)


# -- data ------------------------------------------------------------------------------------------


async def check_data(stage: Stage, owners: Sequence[Owner], tally: Tally) -> None:
    """Read every volume and every snapshot, as a host does. The services have ended by now."""
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
    if isinstance(thing, Volume):
        await _compare(driver, DriverVolume(thing.id, thing.size, driver.config.name), thing, tally)
        return
    assert isinstance(thing, Snapshot)
    frozen = DriverSnapshot(thing.id, thing.volume.id, thing.size, driver.config.name)
    copy = DriverVolume(str(uuid4()), thing.size, driver.config.name)
    try:
        await asyncio.to_thread(driver.create, copy, frozen)
        await _compare(driver, copy, thing, tally)
    except Exception as error:
        tally.wrong("data", thing.id, f"Snapshot {thing.id} cannot be copied: {error!r}.")
    await asyncio.to_thread(driver.delete, copy)


async def _compare(driver: LocalDriver, volume: DriverVolume, thing: Thing, tally: Tally) -> None:
    connector = {"host": "the-examiner", "ip": "127.0.0.1"}
    info: Any = await asyncio.to_thread(driver.export, volume, connector)
    disk = Disk(thing.id, info.data, thing.content, tally, Random(0))
    try:
        await disk.verify(thing.size)
    except Exception as error:
        tally.wrong("data", thing.id, f"{thing.name} ({thing.id}) cannot be read: {error!r}.")
    disk.close()
    await asyncio.to_thread(driver.unexport, volume, connector["host"])
