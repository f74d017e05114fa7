"""Volumes over iSCSI in real guests: two hosts with names of their own, and a target with CHAP.

The target is tgtd, below the product's drivers: what a host has to get right, whatever the array.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from breezeblock.compute import guest_agent
from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.guest_agent import GuestAgent, ScriptFailed
from breezeblock.compute.guest_directory import GuestDirectory
from breezeblock.compute.hypervisor import Disk, HostError
from breezeblock.compute.qemu import QemuHypervisor
from breezeblock.compute.qmp import monitor
from tests.e2e.boot_sector import boot_sector
from tests.e2e.guests import Guests, sweep
from tests.engines.process import free_port
from tests.engines.tgt import Tgt

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

MIB = 1024 * 1024
IQN = "iqn.2026-11.cloud.breezeblock:{}"
WRITE = "head -c 1048576 /dev/urandom > /tmp/r; dd if=/tmp/r of={0} bs=64k conv=fsync 2>/dev/null; "
WRITE_WITHOUT_FLUSH = "dd if=/dev/zero of={0} bs=64k count=4 oflag=direct 2>/dev/null"
CHECKSUM = "dd if={0} bs=64k count=16 2>/dev/null | sha256sum | cut -c1-64"
SENTENCE = "This LUN boots."


@dataclass(frozen=True)
class Host:
    """A compute host by its own name at the target, with one guest."""

    hypervisor: QemuHypervisor
    guest: str
    agent: GuestAgent

    async def attach(self, volume: str, info: dict[str, Any], **disk: Any) -> str:
        """Attach; return the guest's name for the disk."""
        await self.hypervisor.attach(self.guest, Disk(volume, info, **disk))
        return await self.agent.find_disk(volume)

    async def detach(self, volume: str) -> None:
        await self.hypervisor.detach(self.guest, volume, 20)

    async def disks(self) -> tuple[str, ...]:
        found = await self.hypervisor.describe(self.guest)
        return tuple(disk.volume_id for disk in found.disks)


@dataclass(frozen=True)
class Site:
    guests: Guests
    target: Tgt
    one: Host
    other: Host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    await sweep()
    async with AsyncExitStack() as stack:
        target = Tgt(IQN.format("one"), IQN.format("other"))
        stack.callback(target.remove)
        target.start()
        guests = Guests()
        stack.push_async_callback(guests.remove)
        names = ("one", "other")
        uuids = await asyncio.gather(*(guests.start_elsewhere(name) for name in names))
        one, other = [
            Host(
                QemuHypervisor(guests.state_dir, initiator=IQN.format(name)),
                uuid,
                await stack.enter_async_context(
                    guest_agent.connect(guests.folder(uuid).agent_socket)
                ),
            )
            for name, uuid in zip(names, uuids, strict=True)
        ]
        yield Site(guests, target, one, other)


@pytest_asyncio.fixture(loop_scope="module")
async def volume(site: Site) -> AsyncIterator[str]:
    """A volume's UUID; whoever has it attached when the test ends loses it."""
    volume_id = str(uuid4())
    yield volume_id
    for host in (site.one, site.other):
        await host.detach(volume_id)


async def test_bytes_go_from_one_host_to_the_other_and_no_secret_stays(
    site: Site, volume: str
) -> None:
    info = site.target.serve(volume, 64 * MIB)
    here = await site.one.attach(volume, info, size_bytes=64 * MIB)
    written = await site.one.agent.run((WRITE + CHECKSUM).format(here))
    secret = site.target.password.encode()
    files = [path for path in site.guests.state_dir.rglob("*") if path.is_file()]
    assert [path for path in files if path.name == "node.json"]
    assert not [path for path in files if secret in path.read_bytes()]
    await site.one.detach(volume)
    there = await site.other.attach(volume, info, size_bytes=64 * MIB, read_only=True)
    assert await site.other.agent.run(CHECKSUM.format(there)) == written
    with pytest.raises(ScriptFailed):
        await site.other.agent.run(f"echo no | dd of={there} conv=fsync")


async def test_a_wrong_secret_is_refused_and_the_operator_is_told(site: Site, volume: str) -> None:
    info = site.target.serve(volume, 64 * MIB)
    info["data"]["auth_password"] = "not-the-secret-1"
    with pytest.raises(HostError, match="Authentication failure") as refused:
        await site.one.attach(volume, info)
    assert IQN.format("one") in refused.value.remedy
    assert "not-the-secret-1" not in refused.value.message + refused.value.remedy
    assert not refused.value.temporary
    assert await site.one.disks() == ()


async def test_a_host_that_the_target_does_not_know_gets_nothing(site: Site, volume: str) -> None:
    info = site.target.serve(volume, 64 * MIB)
    stranger = QemuHypervisor(site.guests.state_dir, initiator=IQN.format("stranger"))
    with pytest.raises(HostError, match="No path leads to the LUN") as refused:
        await stranger.attach(site.one.guest, Disk(volume, info))
    assert IQN.format("stranger") in refused.value.remedy


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"lun_serial": "SN0000000000"}, r"serial SN\d{10}, SN0000000000 is expected"),
        ({"lun_serial": None, "wwn": "600a098038"}, "NAA 60 and 30, 600a098038 is expected"),
    ],
)
async def test_another_lun_than_the_volumes_never_reaches_the_guest(
    site: Site, volume: str, wrong: dict[str, Any], says: str
) -> None:
    info = site.target.serve(volume, 64 * MIB)
    info["data"] |= wrong
    with pytest.raises(HostError, match=says):
        await site.one.attach(volume, info)
    assert await site.one.disks() == ()


async def test_a_portal_that_is_down_is_passed_over(site: Site, volume: str) -> None:
    info = site.target.serve(volume, 64 * MIB)
    data = info["data"]
    dead = f"127.0.0.1:{free_port()}"
    data["target_portal"] = dead
    data["target_portals"] = [dead, site.target.portal]
    data["target_iqns"] = [data["target_iqn"]] * 2
    data["target_luns"] = [data["target_lun"]] * 2
    assert await site.one.attach(volume, info)


async def test_a_guest_sees_its_lun_grow_within_its_limits(site: Site, volume: str) -> None:
    info = site.target.serve(volume, 64 * MIB)
    info["data"]["qos_specs"] = {"total_bytes_sec": "100000000"}
    disk = await site.one.attach(volume, info)
    written = await site.one.agent.run((WRITE + CHECKSUM).format(disk))
    with pytest.raises(HostError, match="not 134217728 yet"):
        await site.one.hypervisor.resize(site.one.guest, volume, 128 * MIB)
    for size in (128 * MIB, 256 * MIB):
        site.target.grow(volume, size)
        assert await site.one.hypervisor.resize(site.one.guest, volume, size) == size
        assert await site.one.agent.size(disk) == size
    assert await site.one.agent.run(CHECKSUM.format(disk)) == written


async def test_a_guest_survives_a_target_that_goes_and_comes_back(site: Site, volume: str) -> None:
    disk = await site.one.attach(volume, site.target.serve(volume, 64 * MIB))
    site.target.kill()
    writing = asyncio.create_task(site.one.agent.run((WRITE + CHECKSUM).format(disk)))
    await asyncio.sleep(1)
    assert not writing.done()
    site.target.start()
    written = await writing
    await site.one.detach(volume)
    there = await site.other.attach(volume, site.target.connection_info(volume))
    assert await site.other.agent.run(CHECKSUM.format(there)) == written


@pytest.mark.parametrize("fate", ["killed", "frozen"])
async def test_a_guest_does_not_stand_still_when_its_target_is_away_at_unplug(
    site: Site, volume: str, fate: str
) -> None:
    info = site.target.serve(volume, 64 * MIB)
    disk = await site.one.attach(volume, info)
    await site.one.agent.run(WRITE_WITHOUT_FLUSH.format(disk))
    site.target.kill() if fate == "killed" else site.target.pause()
    try:
        await site.one.detach(volume)
        assert await site.one.agent.run("echo alive") == "alive"
        assert await site.one.disks() == ()
        assert await _nodes(site, volume) == {DiskNames.of(volume).protocol("a")}
    finally:
        site.target.start() if fate == "killed" else site.target.resume()
    await site.one.attach(volume, info)
    await site.one.detach(volume)
    assert await _nodes(site, volume) == set()


async def test_a_lun_that_was_taken_away_can_be_unplugged(site: Site, volume: str) -> None:
    disk = await site.one.attach(volume, site.target.serve(volume, 64 * MIB))
    await site.one.agent.run(WRITE_WITHOUT_FLUSH.format(disk))
    site.target.withdraw(volume)
    await site.one.detach(volume)
    assert await _nodes(site, volume) == set()


async def test_a_guest_boots_from_a_lun(site: Site, volume: str) -> None:
    info = site.target.serve(volume, 64 * MIB)
    with site.target.file(volume).open("r+b") as file:
        file.write(boot_sector(SENTENCE))
    spec = site.guests.spec("boots", Disk(volume, info, boot=True, size_bytes=64 * MIB))
    await site.one.hypervisor.start(spec)
    folder = site.guests.folder(spec.uuid)
    while SENTENCE not in folder.console_log.read_text(errors="replace"):
        await asyncio.sleep(0.1)
    assert site.target.password.encode() not in _command_line(folder)
    await site.one.hypervisor.destroy(spec.uuid)


def _command_line(folder: GuestDirectory) -> bytes:
    return Path("/proc", folder.pid_file.read_text().strip(), "cmdline").read_bytes()


async def _nodes(site: Site, volume: str) -> set[str]:
    """What the first guest's QEMU still has of the volume."""
    names = DiskNames.of(volume)
    wanted = {names.filter, names.probe, names.protocol("a"), names.protocol("b")}
    async with monitor(site.guests.folder(site.one.guest).qmp_socket) as qmp:
        nodes = await qmp.execute("query-named-block-nodes")
    return wanted & {node["node-name"] for node in nodes}
