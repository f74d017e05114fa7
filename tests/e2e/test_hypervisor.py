"""Volumes in real guests: attach, use, detach, move, grow, survive.

Two guests serve all tests. They were started by a process that has ended, so each test also shows
that a later agent finds them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from breezeblock.compute import guest_agent
from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.guest_agent import GuestAgent, ScriptFailed
from breezeblock.compute.hypervisor import (
    DeviceNameTaken,
    Disk,
    GuestState,
    HostError,
    Hypervisor,
)
from breezeblock.compute.qemu import QemuHypervisor
from breezeblock.compute.qmp import monitor
from tests.e2e.guests import Guests, sweep
from tests.e2e.nbd_server import NbdServer

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

MIB = 1024 * 1024
WRITE = "head -c 1048576 /dev/urandom > /tmp/r; dd if=/tmp/r of={0} bs=64k conv=fsync 2>/dev/null; "
CHECKSUM = "dd if={0} bs=64k count=16 2>/dev/null | sha256sum | cut -c1-64"


@dataclass(frozen=True)
class Guest:
    uuid: str
    agent: GuestAgent


@dataclass(frozen=True)
class Host:
    """A host with two guests, and storage over a unix socket and over TCP with a secret."""

    guests: Guests
    hypervisor: Hypervisor
    one: Guest
    other: Guest
    unix: NbdServer
    tcp: NbdServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    await sweep()
    folder = tmp_path_factory.mktemp("nbd")
    unix, tcp = NbdServer(folder / "unix"), NbdServer(folder / "tcp", tcp=True)
    async with AsyncExitStack() as stack:
        stack.callback(unix.close)
        stack.callback(tcp.close)
        guests = Guests()
        stack.push_async_callback(guests.remove)
        unix.start()
        tcp.start()
        uuids = [await guests.start_elsewhere(name) for name in ("one", "other")]
        one, other = [
            Guest(uuid, await stack.enter_async_context(_agent(guests, uuid))) for uuid in uuids
        ]
        yield Host(guests, QemuHypervisor(guests.state_dir), one, other, unix, tcp)


def _agent(guests: Guests, uuid: str) -> AbstractAsyncContextManager[GuestAgent]:
    return guest_agent.connect(guests.folder(uuid).agent_socket)


@pytest_asyncio.fixture(loop_scope="module")
async def volume(host: Host) -> AsyncIterator[str]:
    """A volume's UUID; whoever has it attached when the test ends loses it."""
    volume_id = str(uuid4())
    yield volume_id
    for guest in (host.one, host.other):
        await host.hypervisor.detach(guest.uuid, volume_id, 20)


async def test_a_disk_is_seen_under_the_serial_of_its_volume(host: Host, volume: str) -> None:
    disk = Disk(volume, await host.unix.serve(volume, 64 * MIB))
    device = await host.hypervisor.attach(host.one.uuid, disk)
    seen = await host.one.agent.find_disk(volume)
    serial = await host.one.agent.run(f"cat /sys/block/{Path(seen).name}/serial")
    assert device == "/dev/vdb"
    assert serial.strip() == volume[:20]


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_bytes_written_in_one_guest_are_read_in_the_other(
    host: Host, volume: str, transport: str
) -> None:
    server: NbdServer = getattr(host, transport)
    disk = Disk(volume, await server.serve(volume, 64 * MIB))
    await host.hypervisor.attach(host.one.uuid, disk)
    here = await host.one.agent.find_disk(volume)
    written = await host.one.agent.run((WRITE + CHECKSUM).format(here))
    await host.hypervisor.detach(host.one.uuid, volume, 20)
    assert not await host.one.agent.exists(here)
    await host.hypervisor.attach(host.other.uuid, disk)
    there = await host.other.agent.find_disk(volume)
    assert await host.other.agent.run(CHECKSUM.format(there)) == written


async def test_a_file_of_the_host_is_a_disk(host: Host, volume: str, tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.write_bytes(b"from the host".ljust(MIB, b"\0"))
    flat = {"driver_volume_type": "local", "device_path": str(path), "attachment_id": "a"}
    await host.hypervisor.attach(host.one.uuid, Disk(volume, flat))
    disk = await host.one.agent.find_disk(volume)
    assert await host.one.agent.run(f"head -c 13 {disk}") == "from the host"
    await host.one.agent.run(f"printf 'from inside..' | dd of={disk} conv=fsync 2>/dev/null")
    assert path.read_bytes().startswith(b"from inside..")


async def test_a_wrong_key_is_refused_by_the_storage(host: Host, volume: str) -> None:
    info = await host.tcp.serve(volume, 64 * MIB)
    info["data"]["tls_psk_key"] = "00" * 32
    with pytest.raises(HostError, match="could not be attached"):
        await host.hypervisor.attach(host.one.uuid, Disk(volume, info))
    assert await _disks(host.hypervisor, host.one) == {}


async def test_secrets_do_not_stay_on_the_host(host: Host, volume: str) -> None:
    info = await host.tcp.serve(volume, 64 * MIB)
    await host.hypervisor.attach(host.one.uuid, Disk(volume, info))
    secret = info["data"]["tls_psk_key"].encode()
    files = [path for path in host.guests.state_dir.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret in path.read_bytes()]


async def test_attaching_again_gives_the_same_device(host: Host, volume: str) -> None:
    disk = Disk(volume, await host.unix.serve(volume, 64 * MIB), device="/dev/vdf")
    first = await host.hypervisor.attach(host.one.uuid, disk)
    again = await QemuHypervisor(host.guests.state_dir).attach(host.one.uuid, disk)
    assert (first, again) == ("/dev/vdf", "/dev/vdf")


async def test_a_device_name_in_use_is_refused(host: Host, volume: str) -> None:
    info = await host.unix.serve(volume, 64 * MIB)
    await host.hypervisor.attach(host.one.uuid, Disk(volume, info, device="/dev/vdc"))
    with pytest.raises(DeviceNameTaken, match="/dev/vdc"):
        await host.hypervisor.attach(host.one.uuid, Disk(str(uuid4()), info, device="/dev/vdc"))


async def test_a_half_done_attach_is_completed(host: Host, volume: str) -> None:
    info = await host.tcp.serve(volume, 64 * MIB)
    names = DiskNames.of(volume)
    async with monitor(host.guests.folder(host.one.uuid).qmp_socket) as qmp:
        file = {"driver": "null-co", "node-name": names.protocol("a")}
        await qmp.execute("blockdev-add", **file)
        await qmp.execute("object-add", qom_type="secret", id=names.tls_credentials, data="old")
    await host.hypervisor.attach(host.one.uuid, Disk(volume, info, size_bytes=64 * MIB))
    assert await host.one.agent.find_disk(volume)


async def test_a_disk_smaller_than_its_volume_never_reaches_the_guest(
    host: Host, volume: str
) -> None:
    info = await host.unix.serve(volume, 64 * MIB)
    with pytest.raises(HostError, match="are expected"):
        await host.hypervisor.attach(host.one.uuid, Disk(volume, info, size_bytes=128 * MIB))
    assert await _disks(host.hypervisor, host.one) == {}
    assert not await host.unix.has_client(volume)


async def test_detaching_lets_go_of_the_storage_and_may_be_repeated(
    host: Host, volume: str
) -> None:
    disk = Disk(volume, await host.unix.serve(volume, 64 * MIB))
    await host.hypervisor.attach(host.one.uuid, disk)
    assert await host.unix.has_client(volume)
    await host.hypervisor.detach(host.one.uuid, volume, 20)
    await host.hypervisor.detach(host.one.uuid, volume, 20)
    assert not await host.unix.has_client(volume)


async def test_a_read_only_disk_takes_no_writes(host: Host, volume: str) -> None:
    info = await host.unix.serve(volume, 64 * MIB)
    await host.hypervisor.attach(host.one.uuid, Disk(volume, info, read_only=True))
    disk = await host.one.agent.find_disk(volume)
    with pytest.raises(ScriptFailed):
        await host.one.agent.run(f"echo no | dd of={disk} conv=fsync")


async def test_a_new_hypervisor_finds_guests_and_their_disks(host: Host, volume: str) -> None:
    disk = Disk(volume, await host.unix.serve(volume, 64 * MIB), device="/dev/vdd")
    await host.hypervisor.attach(host.one.uuid, disk)
    found = {guest.uuid: guest for guest in await QemuHypervisor(host.guests.state_dir).discover()}
    one, other = found[host.one.uuid], found[host.other.uuid]
    assert (one.name, other.name) == ("one", "other")
    assert (one.state, other.state) == (GuestState.RUNNING, GuestState.RUNNING)
    seen = [(each.volume_id, each.device, each.size_bytes) for each in one.disks]
    assert (seen, other.disks) == ([(volume, "/dev/vdd", 64 * MIB)], ())


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_a_guest_sees_its_volume_grow_without_losing_a_write(
    host: Host, volume: str, transport: str
) -> None:
    server: NbdServer = getattr(host, transport)
    await host.hypervisor.attach(host.one.uuid, Disk(volume, await server.serve(volume, 64 * MIB)))
    disk = await host.one.agent.find_disk(volume)
    written = await host.one.agent.run((WRITE + CHECKSUM).format(disk))
    for size in (128 * MIB, 256 * MIB):
        await server.grow(volume, size)
        assert await host.hypervisor.resize(host.one.uuid, volume, size) == size
        assert await host.one.agent.size(disk) == size
    assert await host.one.agent.run(CHECKSUM.format(disk)) == written


async def test_a_guest_keeps_to_the_limits_of_its_volume_also_when_it_grew(
    host: Host, volume: str
) -> None:
    info = await host.unix.serve(volume, 64 * MIB)
    info["data"]["qos_specs"] = {"write_iops_sec": "50", "total_bytes_sec": "100000000"}
    await host.hypervisor.attach(host.one.uuid, Disk(volume, info))
    assert await _limits(host, volume) == {"iops-write": 50, "bps-total": 100_000_000}
    disk = await host.one.agent.find_disk(volume)
    written = await host.one.agent.run((WRITE + CHECKSUM).format(disk))
    await host.unix.grow(volume, 128 * MIB)
    assert await host.hypervisor.resize(host.one.uuid, volume, 128 * MIB) == 128 * MIB
    assert await host.one.agent.size(disk) == 128 * MIB
    assert await host.one.agent.run(CHECKSUM.format(disk)) == written
    assert await _limits(host, volume) == {"iops-write": 50, "bps-total": 100_000_000}
    await host.hypervisor.detach(host.one.uuid, volume, 20)
    assert await _limits(host, volume) is None


@pytest.mark.parametrize(
    "specs",
    [{"total_iops_sec": "5", "read_iops_sec": "5"}, {"total_iops_sec_max": "5"}],
)
async def test_limits_that_exclude_each_other_attach_nothing(
    host: Host, volume: str, specs: dict[str, str]
) -> None:
    info = await host.unix.serve(volume, 64 * MIB)
    info["data"]["qos_specs"] = specs
    with pytest.raises(HostError, match="could not be attached"):
        await host.hypervisor.attach(host.one.uuid, Disk(volume, info))
    assert await _disks(host.hypervisor, host.one) == {}


async def _limits(host: Host, volume: str) -> dict[str, int] | None:
    """What the throttle below the first guest's disk keeps; None: there is no throttle."""
    group = DiskNames.of(volume).throttle
    async with monitor(host.guests.folder(host.one.uuid).qmp_socket) as qmp:
        if group not in {one["name"] for one in await qmp.execute("qom-list", path="/objects")}:
            return None
        nodes = await qmp.execute("query-named-block-nodes")
        drivers = {one["node-name"]: one["drv"] for one in nodes}
        assert drivers[DiskNames.of(volume).filter] == "throttle"
        kept = await qmp.execute("qom-get", path=f"/objects/{group}", property="limits")
    return {name: value for name, value in kept.items() if value and not name.endswith("-length")}


async def test_a_late_resize_never_shrinks_a_disk(host: Host, volume: str, tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.write_bytes(bytes(64 * MIB))
    info = {"driver_volume_type": "local", "data": {"device_path": str(path)}}
    await host.hypervisor.attach(host.one.uuid, Disk(volume, info))
    os.truncate(path, 256 * MIB)
    assert await host.hypervisor.resize(host.one.uuid, volume, 128 * MIB) == 256 * MIB
    assert await host.hypervisor.resize(host.one.uuid, volume, 64 * MIB) == 256 * MIB
    assert path.stat().st_size == 256 * MIB


async def test_a_resize_before_the_storage_grew_changes_nothing(host: Host, volume: str) -> None:
    await host.hypervisor.attach(
        host.one.uuid, Disk(volume, await host.unix.serve(volume, 64 * MIB))
    )
    with pytest.raises(HostError, match="not 134217728 yet") as refused:
        await host.hypervisor.resize(host.one.uuid, volume, 128 * MIB)
    disk = await host.one.agent.find_disk(volume)
    assert refused.value.temporary
    assert await host.one.agent.size(disk) == 64 * MIB


@pytest.mark.parametrize("fate", ["killed", "frozen", "withdrawn"])
async def test_detaching_does_not_wait_for_storage_that_is_away(
    host: Host, volume: str, fate: str
) -> None:
    await host.hypervisor.attach(
        host.one.uuid, Disk(volume, await host.unix.serve(volume, 64 * MIB))
    )
    disk = await host.one.agent.find_disk(volume)
    await _befall(host.unix, fate, volume)
    try:
        await host.hypervisor.detach(host.one.uuid, volume, 20)
        assert not await host.one.agent.exists(disk)
        assert await _disks(host.hypervisor, host.one) == {}
    finally:
        host.unix.kill()
        host.unix.start()


async def test_a_guest_survives_the_death_of_its_storage_daemon(host: Host, volume: str) -> None:
    await host.hypervisor.attach(
        host.one.uuid, Disk(volume, await host.unix.serve(volume, 64 * MIB))
    )
    disk = await host.one.agent.find_disk(volume)
    await host.one.agent.run(
        "rm -f /tmp/acknowledged; (i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); "
        f"printf %08d $i | dd of={disk} bs=512 seek=$i conv=notrunc,fsync 2>/dev/null "
        "&& echo $i >> /tmp/acknowledged || touch /tmp/failed; done) > /dev/null 2>&1 &"
    )
    await _writes(host.one.agent, more_than=0)
    host.unix.kill()
    before = await _writes(host.one.agent, more_than=0)
    host.unix.start()
    await _writes(host.one.agent, more_than=before + 1)
    lost = await host.one.agent.run(
        "touch /tmp/stop; sleep 1; for i in $(cat /tmp/acknowledged); do "
        f"[ $(dd if={disk} bs=512 skip=$i count=1 iflag=direct 2>/dev/null | head -c 8) = "
        "$(printf %08d $i) ] || echo $i; done; ls /tmp/failed 2>/dev/null || true"
    )
    assert lost == ""


async def _befall(server: NbdServer, fate: str, volume_id: str) -> None:
    if fate == "withdrawn":
        await server.withdraw(volume_id)
    elif fate == "frozen":
        server.freeze()
    else:
        server.kill()


async def _writes(agent: GuestAgent, *, more_than: int) -> int:
    """Wait until the guest's writer has had so many writes acknowledged; return their number."""
    count = "cat /tmp/acknowledged 2>/dev/null | wc -l"
    return int(
        await agent.run(f"while [ $({count}) -le {more_than} ]; do sleep 0.1; done; {count}")
    )


async def _disks(hypervisor: Hypervisor, guest: Guest) -> dict[str, str]:
    found = await hypervisor.describe(guest.uuid)
    return {disk.volume_id: disk.device for disk in found.disks}
