"""Steps that come late: a worker that was thought dead wakes up and does its step once more.

Its outcome is refused by the epoch, and is dropped here, too; what counts is what it does outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from breezeblock.compute.block_storage import BlockStorage
from breezeblock.compute.hypervisor import GuestState
from breezeblock.compute.late import overtaken
from breezeblock.compute.workflows import volumes
from breezeblock.compute.workflows.registry import REGISTRY
from breezeblock.model.errors import BreezeblockError
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Server, ServerVolume
from breezeblock.operations.workflow import Run
from breezeblock.store import operations as queries
from breezeblock.store import servers
from breezeblock.store.store import ReadTx, WriteTx
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


# -- half a step late: it has looked already, and acts only now ----------------------------------


async def volume_rows(cloud: ComputeCloud, server: str) -> tuple[BlockStorage, list[ServerVolume]]:
    def read(tx: ReadTx) -> tuple[Server, list[ServerVolume]]:
        return servers.get(tx, server), servers.volumes_of(tx, server)

    found, rows = await cloud.app.store.read(read)
    return cloud.engine.doors.storage_of(found), rows


async def test_a_reservation_that_is_made_late_is_none(cloud: ComputeCloud, server: str) -> None:
    volume = await cloud.house.volume()
    await cloud.attach(server, volume)
    storage, [row] = await volume_rows(cloud, server)
    await cloud.detach(server, volume)
    await cloud.quiet()
    await volumes.reserve(storage, row)
    assert await cloud.storage_attachments(volume) == []
    assert await cloud.house.status(volume) == "available"


async def test_a_volume_that_is_made_late_for_a_server_is_none(cloud: ComputeCloud) -> None:
    blank = {"source_type": "blank", "volume_size": 1, "delete_on_termination": True}
    server = await cloud.server(block_device_mapping_v2=[blank])
    storage, [row] = await volume_rows(cloud, server)
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    await storage.create_volume(name=row.name_of_made, key=f"make-{row.id}", size=1)
    await cloud.quiet()
    assert cloud.house.driver.sizes == {}


async def stopped_late(cloud: ComputeCloud, server: str, action: str, value: Any = None) -> None:
    """The agent that was to do this has slept, stops the guest once more, and is told off."""
    await cloud.act(server, action, value)
    await cloud.quiet()
    if action == "os-stop":
        await cloud.act(server, "os-start")
        await cloud.quiet()
    done = await cloud.app.store.read(lambda tx: queries.of_resource(tx, server))
    held = next(one for one in done if one.workflow in ("stop_server", "reboot_server"))
    await cloud.hypervisor.stop(server, 0.0)
    await cloud.app.store.write(lambda tx: overtaken(tx, held))
    await cloud.quiet()


@pytest.mark.parametrize(("action", "value"), [("os-stop", None), ("reboot", {"type": "HARD"})])
async def test_a_guest_that_was_stopped_too_late_runs_again(
    cloud: ComputeCloud, server: str, action: str, value: Any
) -> None:
    await stopped_late(cloud, server, action, value)
    assert cloud.hypervisor.guests[server].state is GuestState.RUNNING
    assert (await cloud.show(server))["status"] == "ACTIVE"


async def test_a_stop_that_comes_late_starts_nothing_that_is_off(
    cloud: ComputeCloud, server: str
) -> None:
    await cloud.act(server, "os-stop")
    await cloud.quiet()
    done = await cloud.app.store.read(lambda tx: queries.of_resource(tx, server))
    await cloud.app.store.write(lambda tx: overtaken(tx, done[-1]))
    await cloud.quiet()
    assert cloud.hypervisor.guests[server].state is GuestState.STOPPED


async def overtaken_by_others(cloud: ComputeCloud, workflow: str) -> None:
    """The agent wakes up, does what it was about to do, and is told off."""
    statement = operations.select().where(operations.c.workflow == workflow)
    [row] = await cloud.app.store.read(lambda tx: tx.rows(statement))
    held = Operation(**row._mapping)
    await cloud.app.store.write(lambda tx: overtaken(tx, held))
    await cloud.quiet()


async def test_what_is_reserved_for_a_deleted_server_is_let_go_of(cloud: ComputeCloud) -> None:
    root = await cloud.house.volume()
    device = {"source_type": "volume", "destination_type": "volume", "uuid": root}
    server = await cloud.server(block_device_mapping_v2=[{**device, "boot_index": 0}])
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    await cloud.house.attachment(root, server=server)
    await overtaken_by_others(cloud, "create_server")
    assert await cloud.storage_attachments(root) == []
    assert await cloud.house.status(root) == "available"


async def test_a_volume_made_for_a_deleted_server_goes(cloud: ComputeCloud) -> None:
    blank = {"source_type": "blank", "volume_size": 1, "delete_on_termination": True}
    server = await cloud.server(block_device_mapping_v2=[blank])
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    await cloud.house.volume(name=f"{server}-vdb")
    await overtaken_by_others(cloud, "create_server")
    assert cloud.house.driver.sizes == {}


async def test_a_look_for_what_came_late_leaves_what_the_server_has(cloud: ComputeCloud) -> None:
    blank = {"source_type": "blank", "volume_size": 1, "delete_on_termination": True}
    server, volume = await cloud.server(block_device_mapping_v2=[blank]), await cloud.house.volume()
    await cloud.attach(server, volume)
    await overtaken_by_others(cloud, "create_server")
    await overtaken_by_others(cloud, "attach_server_volume")
    assert volume in cloud.disks(server)
    assert len(cloud.house.driver.exports) == 2


async def test_a_volume_that_is_marked_late_stays_in_use(cloud: ComputeCloud, server: str) -> None:
    volume = await cloud.house.volume()
    await cloud.attach(server, volume)
    await cloud.detach(server, volume)
    await cloud.quiet()
    await cloud.attach(server, volume)
    assert (await cloud.house.act(volume, "os-begin_detaching", {})).status_code == 202
    await overtaken_by_others(cloud, "detach_server_volume")
    assert await cloud.house.status(volume) == "in-use"


async def test_a_late_release_leaves_the_next_attachment_alone(
    cloud: ComputeCloud, server: str
) -> None:
    volume = await cloud.house.volume()
    await cloud.attach(server, volume)
    storage, [old] = await volume_rows(cloud, server)
    await cloud.detach(server, volume)
    await cloud.quiet()
    await cloud.attach(server, volume)
    await volumes.release(storage, old)
    assert await cloud.house.status(volume) == "in-use"
    assert len(await cloud.storage_attachments(volume)) == 1


async def test_two_who_were_overtaken_on_one_server_are_both_heard(cloud: ComputeCloud) -> None:
    blank = {"source_type": "blank", "volume_size": 1, "delete_on_termination": True}
    server, volume = await cloud.server(block_device_mapping_v2=[blank]), await cloud.house.volume()
    await cloud.attach(server, volume)
    await cloud.detach(server, volume)
    await cloud.quiet()
    await cloud.attach(server, volume)
    assert (await cloud.house.act(volume, "os-begin_detaching", {})).status_code == 202
    await cloud.house.volume(name=f"{server}-vdb")
    made = operations.select().where(
        operations.c.workflow.in_(("create_server", "detach_server_volume"))
    )
    found = await cloud.app.store.read(lambda tx: tx.rows(made))
    held = [Operation(**row._mapping) for row in found]

    def tell(tx: WriteTx) -> None:
        for one in held:
            overtaken(tx, one)

    await cloud.app.store.write(tell)
    await cloud.quiet()
    assert await cloud.house.status(volume) == "in-use"
    assert len(cloud.house.driver.sizes) == 2
