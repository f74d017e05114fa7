"""What goes wrong outside, and what the user is told of it."""

from __future__ import annotations

import pytest

from breezeblock.compute.hypervisor import HostError
from breezeblock.operations.sweep import end_overdue
from tests.service.compute.cloud import ComputeCloud

UNTOUCHED: tuple[object, ...] = ("available", [], {}, [], set())


async def traces(cloud: ComputeCloud, server: str, volume: str) -> tuple[object, ...]:
    """All that an attach may leave behind."""
    return (
        await cloud.house.status(volume),
        await cloud.attachments(server),
        cloud.disks(server),
        await cloud.storage_attachments(volume),
        cloud.house.driver.exports,
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/attachments$", 500),
        ("POST", "/attachments$", 400),
        ("PUT", "/attachments/", 500),
        ("GET", "/attachments/", 500),
        ("POST", "/attachments/.*/action", 500),
    ],
)
async def test_an_attach_that_block_storage_refuses_leaves_nothing(
    cloud: ComputeCloud, method: str, path: str, status: int
) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    cloud.network.fail(method, path, status)
    reply = await cloud.attach(server, volume)
    assert (reply.status_code, "made up" in reply.text) == (status, True)
    assert await traces(cloud, server, volume) == UNTOUCHED


@pytest.mark.parametrize("status", [0, 502, 503])
async def test_an_attach_outlasts_a_short_absence_of_block_storage(
    cloud: ComputeCloud, status: int
) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    cloud.network.fail("PUT", "/attachments/", status, times=3)
    assert (await cloud.attach(server, volume)).status_code == 200


async def test_undoing_goes_on_until_block_storage_is_back(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    cloud.hypervisor.fail("attach", HostError("broken"))
    cloud.network.fail("DELETE", "/attachments/", 0, times=4)
    cloud.network.fail("DELETE", "/attachments/", 500, times=4)
    reply = await cloud.attach(server, volume)
    assert (reply.status_code, "broken" in reply.text) == (500, True)
    assert await traces(cloud, server, volume) == UNTOUCHED


async def test_a_detach_goes_on_until_block_storage_is_back(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    cloud.network.fail("DELETE", "/attachments/", 0, times=10)
    await cloud.detach(server, volume)
    await cloud.quiet()
    assert await traces(cloud, server, volume) == UNTOUCHED


async def test_a_detach_that_block_storage_forbids_changes_nothing(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    await cloud.house.put(volume, status="extending")
    reply = await cloud.detach(server, volume)
    assert (reply.status_code, "extending" in reply.text) == (400, True)
    assert cloud.disks(server) == {volume: "/dev/vdb"}


async def test_a_detach_that_is_forbidden_meanwhile_changes_nothing(still: ComputeCloud) -> None:
    server, volume = await still.create(), await still.house.volume()
    await still.drive()
    await still.attach(server, volume, "2.101")
    await still.drive()
    await still.detach(server, volume)
    await still.house.put(volume, status="maintenance")
    await still.drive()
    assert still.disks(server) == {volume: "/dev/vdb"}
    assert len(await still.attachments(server)) == 1
    await still.house.put(volume, status="in-use")
    await still.detach(server, volume)
    await still.drive()
    assert await traces(still, server, volume) == UNTOUCHED


async def test_without_qemu_a_server_says_what_to_install(cloud: ComputeCloud) -> None:
    cloud.hypervisor.missing = HostError("no qemu", remedy="apt-get install qemu-system-x86")
    await cloud.agent.report()
    shown = await cloud.show(await cloud.server())
    assert shown["status"] == "ERROR"
    assert "apt-get install qemu-system-x86" in shown["fault"]["message"]


async def test_a_deletion_goes_on_until_block_storage_is_back(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    cloud.network.fail("DELETE", "/attachments/", 503, times=20)
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    assert (await cloud.member.call("GET", f"/servers/{server}")).status_code == 404
    assert await cloud.house.status(volume) == "available"


@pytest.mark.parametrize("status", [409, 500])
async def test_a_deletion_goes_on_however_block_storage_fails(
    cloud: ComputeCloud, status: int
) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    cloud.network.fail("DELETE", "/attachments/", status, times=3)
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    assert (await cloud.member.call("GET", f"/servers/{server}")).status_code == 404
    assert await traces_of_volume(cloud, volume) == ("available", [])


async def traces_of_volume(cloud: ComputeCloud, volume: str) -> tuple[str, list[object]]:
    return await cloud.house.status(volume), list(await cloud.storage_attachments(volume))


async def test_a_volume_that_must_stay_does_not_keep_its_server(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume, delete_on_termination=True)
    await cloud.house.snapshot(volume, force=True)
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    assert (await cloud.member.call("GET", f"/servers/{server}")).status_code == 404
    assert await cloud.house.status(volume) == "available"


async def test_work_that_no_agent_takes_ends_in_time(still: ComputeCloud) -> None:
    server = await still.create()
    assert await end_overdue(still.engine, deadline=0.0) == 1
    shown = await still.show(server)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ERROR", None)
    assert "did not take the work" in shown["fault"]["message"]


async def test_an_attach_that_no_agent_takes_can_be_detached_later(still: ComputeCloud) -> None:
    server, volume = await still.create(), await still.house.volume()
    await still.drive()
    await still.attach(server, volume, "2.101")
    await end_overdue(still.engine, deadline=0.0)
    assert (await still.detach(server, volume)).status_code == 202
    await still.drive()
    assert await traces(still, server, volume) == UNTOUCHED
