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

import aio_pika
import sqlalchemy as sa

from breezeblock.compute.hypervisor import GuestState
from breezeblock.compute.qemu import QemuHypervisor
from breezeblock.model.invariants import check_quiet, servers
from breezeblock.model.invariants.operations import WAITS
from breezeblock.model.invariants.servers import SeenAttachment, SeenGuest, Surroundings
from breezeblock.store import facts, server_facts
from breezeblock.store.clock import db_now
from breezeblock.store.store import ReadTx, link_over
from breezeblock.store.tables import OPEN, operations
from tests.crash.chaos.observer import snapshot_engine
from tests.crash.chaos.owner import Owner
from tests.crash.chaos.stage import BACKEND, Stage
from tests.crash.chaos.tally import Tally
from tests.crash.chaos.things import Snapshot, Thing

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
        rows = facts.read(ReadTx(link_over(connection)))
    held = stage.driver().inventory()
    backend = stage.driver().config
    for found in check_quiet(rows, {f"{backend.host}@{backend.name}": held}):
        tally.wrong(found.rule, found.subject, found.text)
    exported = {item.id for item in held if item.kind == "export"}
    if len(stage.daemons_left()) > len(exported):
        text = f"More storage daemons run than volumes are exported: {stage.daemons_left()}."
        tally.wrong("daemons", "", text)


async def check_servers(stage: Stage, tally: Tally) -> None:
    """The compute service's rows, the guests themselves, and block storage's attachments."""
    host = stage.driver().config.host
    hypervisor = QemuHypervisor(stage.deployment.data / "guests")
    guests = [
        SeenGuest(
            one.uuid,
            host,
            runs=one.state is GuestState.RUNNING,
            disks=frozenset(disk.volume_id for disk in one.disks),
        )
        for one in await hypervisor.discover()
    ]
    with snapshot_engine(stage.urls["block storage"]).connect() as connection:
        attachments = [
            SeenAttachment(one.id, one.volume_id, one.instance_uuid or "", one.host)
            for one in facts.read(ReadTx(link_over(connection))).attachments
        ]
    with snapshot_engine(stage.urls["compute"]).connect() as connection:
        rows = server_facts.read(ReadTx(link_over(connection)))
    for found in servers.check_quiet(rows, Surroundings({host}, guests, attachments)):
        tally.wrong(found.rule, found.subject, found.text)


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
