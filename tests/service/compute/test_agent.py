"""The agent keeps guests and database in agreement, and is found again after it was away."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.compute.hypervisor import Disk, Guest, GuestSpec, GuestState, HostError
from breezeblock.store import servers
from tests.service.compute.cloud import HOST, ComputeCloud, open_compute
from tests.service.house import House

STRANGER = "99999999-9999-4999-8999-999999999999"


async def test_a_guest_that_died_is_shown_off_with_the_reason(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    cloud.hypervisor.die(server, "QEMU was killed.")
    await cloud.agent.reconcile()
    shown = await cloud.show(server)
    assert (shown["status"], shown["OS-EXT-STS:vm_state"]) == ("SHUTOFF", "stopped")
    assert "QEMU was killed." in shown["fault"]["message"]
    await cloud.act(server, "os-start")
    await cloud.quiet()
    assert (await cloud.show(server))["status"] == "ACTIVE"


async def test_a_guest_that_was_started_meanwhile_is_not_shown_off(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    look = cloud.hypervisor.discover

    async def slow_look() -> list[Guest]:
        cloud.hypervisor.die(server, "it ended")
        seen = await look()
        await cloud.act(server, "reboot", {"type": "HARD"})
        await cloud.quiet()
        return seen

    cloud.hypervisor.discover = slow_look  # type: ignore[method-assign]
    await cloud.agent.reconcile()
    assert (await cloud.show(server))["status"] == "ACTIVE"


async def test_a_guest_that_vanished_is_shown_off(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    cloud.hypervisor.guests.clear()
    await cloud.agent.reconcile()
    assert (await cloud.show(server))["status"] == "SHUTOFF"


async def test_when_both_agree_nothing_is_done(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    off = await cloud.server(name="off")
    await cloud.act(off, "os-stop")
    await cloud.quiet()
    cloud.effects.restart()
    assert await cloud.agent.reconcile() == []
    assert cloud.effects.done == []


async def test_a_guest_that_runs_though_it_was_stopped_is_stopped(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    await cloud.act(server, "os-stop")
    await cloud.quiet()
    await cloud.hypervisor.start(cloud.hypervisor.specs[server])
    await cloud.agent.reconcile()
    assert cloud.hypervisor.guests[server].state is GuestState.STOPPED


async def test_a_disk_that_fell_out_is_plugged_again(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume, device="/dev/vdd")
    await cloud.hypervisor.detach(server, volume, 0)
    await cloud.agent.reconcile()
    assert cloud.disks(server) == {volume: "/dev/vdd"}


async def test_a_disk_that_is_none_of_the_servers_is_unplugged(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    await cloud.hypervisor.attach(server, Disk(STRANGER, {}))
    await cloud.agent.reconcile()
    assert cloud.disks(server) == {}


async def test_what_is_under_way_is_left_to_its_operation(still: ComputeCloud) -> None:
    server, volume = await still.create(), await still.house.volume()
    await still.drive()
    await still.attach(server, volume, "2.101")
    await still.hypervisor.attach(server, Disk(volume, {}))
    assert await still.agent.reconcile() == []
    await still.drive()
    assert still.disks(server) == {volume: "/dev/vdb"}


async def test_the_guest_of_a_deleted_server_is_ended(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    spec = cloud.hypervisor.specs[server]
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    await cloud.hypervisor.start(spec)  # a start that comes too late
    await cloud.agent.reconcile()
    assert cloud.hypervisor.guests == {}


async def test_a_guest_that_was_never_ours_is_left_alone(cloud: ComputeCloud) -> None:
    await cloud.hypervisor.start(GuestSpec(STRANGER, "stranger", 256, 1))
    await cloud.agent.reconcile()
    assert STRANGER in cloud.hypervisor.guests


async def test_one_difference_that_stays_does_not_hide_the_others(cloud: ComputeCloud) -> None:
    one, two = await cloud.server(), await cloud.server(name="two")
    await cloud.hypervisor.attach(one, Disk(STRANGER, {}))
    cloud.hypervisor.fail("detach", HostError("busy", temporary=True))
    cloud.hypervisor.die(two, "gone")
    await cloud.agent.reconcile()
    assert (await cloud.show(two))["status"] == "SHUTOFF"


async def test_a_host_reports_itself_and_counts_as_down_when_it_leaves(
    tmp_path: Path, house: House
) -> None:
    async with open_compute(tmp_path, house) as cloud:
        [host] = await cloud.app.store.read(lambda tx: servers.hosts(tx, 60.0))
        assert (host.name, host.up, host.availability_zone) == (HOST, True, "nova")
        assert host.details == {"accelerator": "tcg", "version": "fake 1"}
        await cloud.agent.close()
        [host] = await cloud.app.store.read(lambda tx: servers.hosts(tx, 60.0))
        assert not host.up


async def test_a_successor_carries_on_what_was_left_half_done(tmp_path: Path, house: House) -> None:
    async with open_compute(tmp_path, house, serves=False) as first:
        volume = await house.volume()
        await first.create(block_device_mapping_v2=[_root(volume)])
        server = await first.create(name="two")
    async with open_compute(tmp_path, house) as second:
        await second.quiet()
        listed = (await second.member.call("GET", "/servers/detail")).json()["servers"]
        assert [one["status"] for one in listed] == ["ACTIVE", "ACTIVE"]
        assert server in second.hypervisor.guests


def _root(volume: str) -> dict[str, object]:
    device = {"source_type": "volume", "destination_type": "volume", "boot_index": 0}
    return {**device, "uuid": volume}


@pytest.mark.parametrize("problem", [None, HostError("no qemu", remedy="install it")])
async def test_a_host_without_qemu_says_so(
    tmp_path: Path, house: House, problem: HostError | None
) -> None:
    async with open_compute(tmp_path, house) as cloud:
        cloud.hypervisor.missing = problem
        await cloud.agent.report()
        [host] = await cloud.app.store.read(lambda tx: servers.hosts(tx, 60.0))
        assert host.up
        assert host.details.get("problem") == ("no qemu install it" if problem else None)
