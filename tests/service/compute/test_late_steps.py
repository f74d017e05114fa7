"""Steps that come late: a worker that was thought dead wakes up and does its step once more.

Its outcome is refused by the epoch, and is dropped here, too; what counts is what it does outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from breezeblock.compute.hypervisor import GuestState
from breezeblock.compute.workflows.registry import REGISTRY
from breezeblock.model.errors import BreezeblockError
from breezeblock.model.operation import Operation
from breezeblock.operations.workflow import Run
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import operations
from tests.service.compute.cloud import ComputeCloud

ALL = [workflow.name for workflow in REGISTRY]


async def repeat_late(cloud: ComputeCloud, *names: str) -> AsyncIterator[str]:
    """Every step of every ended operation of these workflows, once more, one at a time."""

    def read(tx: ReadTx) -> list[Any]:
        found = operations.c.workflow.in_(names or ALL)
        return list(tx.rows(operations.select().where(found)))

    for row in await cloud.app.store.read(read):
        workflow = REGISTRY[row.workflow]
        operation = Operation(**row._mapping)
        data = msgspec.convert(row.data, workflow.data)
        for step in workflow.steps:
            with suppress(BreezeblockError):
                await step(Run(operation, data, cloud.engine.doors))
            yield f"{workflow.name}: {step.__name__}"


@pytest.fixture
async def server(cloud: ComputeCloud) -> str:
    return await cloud.server()


async def test_a_late_attach_changes_nothing(cloud: ComputeCloud, server: str) -> None:
    volume = await cloud.house.volume()
    await cloud.attach(server, volume)
    async for step in repeat_late(cloud, "attach_server_volume", "create_server"):
        assert await cloud.house.status(volume) == "in-use", step
        assert cloud.disks(server) == {volume: "/dev/vdb"}, step
        assert len(await cloud.storage_attachments(volume)) == 1, step


async def test_an_attach_that_comes_after_the_detach_changes_nothing(
    cloud: ComputeCloud, server: str
) -> None:
    volume = await cloud.house.volume()
    await cloud.attach(server, volume)
    await cloud.detach(server, volume)
    await cloud.quiet()
    async for step in repeat_late(cloud):
        assert await cloud.house.status(volume) == "available", step
        assert cloud.disks(server) == {}, step
        assert await cloud.storage_attachments(volume) == [], step


async def test_a_detach_that_comes_after_the_next_attach_changes_nothing(
    cloud: ComputeCloud, server: str
) -> None:
    volume = await cloud.house.volume()
    await cloud.attach(server, volume)
    await cloud.detach(server, volume)
    await cloud.quiet()
    await cloud.attach(server, volume)
    async for step in repeat_late(cloud, "detach_server_volume"):
        assert await cloud.house.status(volume) == "in-use", step
        assert cloud.disks(server) == {volume: "/dev/vdb"}, step


async def test_a_late_creation_does_not_start_what_was_stopped(
    cloud: ComputeCloud, server: str
) -> None:
    await cloud.act(server, "os-stop")
    await cloud.quiet()
    async for step in repeat_late(cloud, "create_server"):
        assert cloud.hypervisor.guests[server].state is GuestState.STOPPED, step


async def test_late_stops_and_starts_leave_the_guest_as_it_is(
    cloud: ComputeCloud, server: str
) -> None:
    for action, value in (
        ("os-stop", None),
        ("os-start", None),
        ("reboot", {"type": "HARD"}),
    ):
        await cloud.act(server, action, value)
        await cloud.quiet()
    cloud.effects.restart()
    async for step in repeat_late(cloud, "start_server", "stop_server", "reboot_server"):
        assert cloud.effects.done == [], step


async def test_nothing_comes_back_after_the_deletion(cloud: ComputeCloud) -> None:
    root = await cloud.house.volume()
    device = {"source_type": "volume", "destination_type": "volume", "uuid": root}
    blank = {"source_type": "blank", "volume_size": 1, "delete_on_termination": True}
    server = await cloud.server(block_device_mapping_v2=[{**device, "boot_index": 0}, blank])
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    async for step in repeat_late(cloud):
        await cloud.quiet()
        assert cloud.hypervisor.guests == {}, step
        assert await cloud.house.status(root) == "available", step
        assert set(cloud.house.driver.sizes) == {root}, step
        assert await cloud.storage_attachments(root) == [], step
