"""A guest's life on a host: start, stop, end by itself or by force, be found, be forgotten."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from breezeblock.compute import guest_agent, qemu_process, qmp
from breezeblock.compute.guest_agent import GuestAgentError
from breezeblock.compute.hypervisor import (
    Disk,
    GuestNotFound,
    GuestNotRunning,
    GuestSpec,
    GuestState,
    HostError,
)
from breezeblock.compute.qemu import QemuHypervisor
from tests.e2e.boot_sector import boot_sector
from tests.e2e.guests import Guests, sweep

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
SENTENCE = "This volume boots."


@pytest_asyncio.fixture
async def guests() -> AsyncIterator[Guests]:
    await sweep()
    guests = Guests()
    yield guests
    await guests.remove()


@pytest.fixture
def hypervisor(guests: Guests) -> QemuHypervisor:
    return QemuHypervisor(guests.state_dir)


@pytest.fixture
def small(guests: Guests, tmp_path: Path) -> GuestSpec:
    return _small(guests, tmp_path / "root")


def _small(guests: Guests, root: Path) -> GuestSpec:
    """A guest that boots from a volume and is up at once."""
    root.write_bytes(boot_sector(SENTENCE).ljust(MIB, b"\0"))
    return guests.spec("small", Disk(str(uuid4()), _local(root), boot=True))


def _local(path: Path) -> dict[str, str]:
    return {"driver_volume_type": "local", "device_path": str(path)}


def _pid(guests: Guests, spec: GuestSpec) -> int:
    pid = qemu_process.holder(guests.folder(spec.uuid).pid_file)
    assert pid is not None
    return pid


def _console_says(guests: Guests, spec: GuestSpec, text: str) -> None:
    console = guests.folder(spec.uuid).console_log
    while text not in console.read_text(errors="replace"):
        time.sleep(0.02)  # the test's time-out ends this


async def test_a_guest_boots_from_a_volume(
    guests: Guests, hypervisor: QemuHypervisor, small: GuestSpec
) -> None:
    guest = await hypervisor.start(small)
    _console_says(guests, small, SENTENCE)
    assert [disk.device for disk in guest.disks] == ["/dev/vda"]


async def test_starting_what_runs_leaves_it_as_it_is(
    guests: Guests, hypervisor: QemuHypervisor, small: GuestSpec
) -> None:
    await hypervisor.start(small)
    pid = _pid(guests, small)
    again = await QemuHypervisor(guests.state_dir).start(small)
    assert (again.state, _pid(guests, small)) == (GuestState.RUNNING, pid)


async def test_a_killed_guest_is_stopped_with_a_reason_and_starts_again(
    guests: Guests, hypervisor: QemuHypervisor, small: GuestSpec
) -> None:
    await hypervisor.start(small)
    os.kill(_pid(guests, small), signal.SIGKILL)
    await qemu_process.gone(guests.folder(small.uuid).pid_file, 10)
    [found] = await QemuHypervisor(guests.state_dir).discover()
    assert (found.state, found.reason) == (
        GuestState.STOPPED,
        "QEMU was killed or crashed; it left no message.",
    )
    assert (await hypervisor.start(small)).state is GuestState.RUNNING


async def test_the_reason_of_a_guest_that_ended_is_in_the_words_of_its_qemu(
    guests: Guests, hypervisor: QemuHypervisor, small: GuestSpec
) -> None:
    await hypervisor.start(small)
    os.kill(_pid(guests, small), signal.SIGTERM)
    await qemu_process.gone(guests.folder(small.uuid).pid_file, 10)
    found = await hypervisor.describe(small.uuid)
    assert found.state is GuestState.STOPPED
    assert "terminating on signal 15" in found.reason


async def test_a_guest_that_does_not_hear_the_power_button_is_unplugged(
    guests: Guests, hypervisor: QemuHypervisor, small: GuestSpec
) -> None:
    await hypervisor.start(small)
    _console_says(guests, small, SENTENCE)
    await hypervisor.stop(small.uuid, 0.5)
    found = await hypervisor.describe(small.uuid)
    assert (found.state, found.reason) == (GuestState.STOPPED, "Stopped on request.")


async def test_a_stopped_guest_takes_no_disks_and_has_none_to_detach(
    hypervisor: QemuHypervisor, small: GuestSpec, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(bytes(MIB))
    await hypervisor.start(small)
    await hypervisor.stop(small.uuid, 0)
    with pytest.raises(GuestNotRunning, match="Stopped on request"):
        await hypervisor.attach(small.uuid, Disk(str(uuid4()), _local(tmp_path / "data")))
    await hypervisor.detach(small.uuid, small.disks[0].volume_id, 5)


async def test_a_guest_that_keeps_a_disk_is_a_temporary_error(
    guests: Guests, hypervisor: QemuHypervisor, small: GuestSpec
) -> None:
    await hypervisor.start(small)
    _console_says(guests, small, SENTENCE)
    volume_id = small.disks[0].volume_id
    for _ in range(2):
        with pytest.raises(HostError, match="did not release") as refused:
            await hypervisor.detach(small.uuid, volume_id, 0.5)
        assert refused.value.temporary
    found = await hypervisor.describe(small.uuid)
    assert [disk.volume_id for disk in found.disks] == [volume_id]


async def test_a_destroyed_guest_leaves_nothing_and_may_be_destroyed_again(
    guests: Guests, hypervisor: QemuHypervisor, small: GuestSpec
) -> None:
    await hypervisor.start(small)
    pid_file = guests.folder(small.uuid).pid_file
    await hypervisor.destroy(small.uuid)
    await hypervisor.destroy(small.uuid)
    assert qemu_process.holder(pid_file) is None
    assert list(guests.state_dir.iterdir()) == []
    with pytest.raises(GuestNotFound):
        await hypervisor.describe(small.uuid)


async def test_a_guest_whose_volume_is_out_of_reach_does_not_start(
    guests: Guests, hypervisor: QemuHypervisor
) -> None:
    nowhere = {"transport": "unix", "path": "/nowhere/nbd.sock", "export": "root"}
    info = {"driver_volume_type": "nbd", "data": nowhere}
    spec = guests.spec("unlucky", Disk(str(uuid4()), info, boot=True))
    with pytest.raises(HostError, match=r"/nowhere/nbd\.sock"):
        await hypervisor.start(spec)
    assert (await hypervisor.describe(spec.uuid)).state is GuestState.STOPPED


async def test_a_guest_whose_volume_is_another_one_does_not_start(
    guests: Guests, hypervisor: QemuHypervisor, tmp_path: Path
) -> None:
    (tmp_path / "root").write_bytes(bytes(MIB))
    disk = Disk(str(uuid4()), _local(tmp_path / "root"), boot=True, size_bytes=2 * MIB)
    spec = guests.spec("wrong", disk)
    with pytest.raises(HostError, match="are expected"):
        await hypervisor.start(spec)
    found = await hypervisor.describe(spec.uuid)
    assert found.state is GuestState.STOPPED
    assert "are expected" in found.reason


async def test_without_qemu_the_host_says_what_to_install(
    hypervisor: QemuHypervisor, small: GuestSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for call in (hypervisor.capabilities(), hypervisor.start(small)):
        with pytest.raises(HostError) as refused:
            await call
        assert "apt-get install qemu-system-x86" in refused.value.remedy


async def test_disks_given_at_the_start_are_there_and_the_power_button_works(
    guests: Guests, hypervisor: QemuHypervisor, tmp_path: Path
) -> None:
    disks = []
    for number, wanted in enumerate((None, "/dev/vdb", None)):
        path = tmp_path / str(number)
        path.write_bytes(f"disk {number}".encode().ljust(MIB, b"\0"))
        disks.append(Disk(str(uuid4()), _local(path), device=wanted))
    spec = guests.spec("linux", *disks)
    guest = await hypervisor.start(spec)
    planned = {disk.volume_id: disk.device for disk in guest.disks}
    assert [planned[disk.volume_id] for disk in disks] == ["/dev/vdc", "/dev/vdb", "/dev/vdd"]
    async with guest_agent.connect(guests.folder(spec.uuid).agent_socket) as agent:
        for number, disk in enumerate(disks):
            seen = await agent.find_disk(disk.volume_id)
            assert await agent.run(f"head -c 6 {seen}") == f"disk {number}"
    await hypervisor.stop(spec.uuid, 60)
    _console_says(guests, spec, "Power down")
    assert (await hypervisor.describe(spec.uuid)).reason == "Stopped on request."


async def test_a_guest_that_shuts_itself_down_is_found_stopped(
    guests: Guests, hypervisor: QemuHypervisor
) -> None:
    spec = guests.spec("linux")
    await hypervisor.start(spec)
    async with guest_agent.connect(guests.folder(spec.uuid).agent_socket) as agent:
        with pytest.raises(GuestAgentError):
            await agent.run("poweroff -f; sleep 60", patience=2)
    [found] = await QemuHypervisor(guests.state_dir).discover()
    assert (found.state, found.reason) == (GuestState.STOPPED, "The guest shut itself down.")
    assert qemu_process.holder(guests.folder(spec.uuid).pid_file) is None


async def test_a_guest_that_does_not_answer_hides_no_other_guest(
    guests: Guests, hypervisor: QemuHypervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "CONNECT_TIMEOUT", 0.5)
    healthy, frozen = _small(guests, tmp_path / "one"), _small(guests, tmp_path / "other")
    for spec in (healthy, frozen):
        await hypervisor.start(spec)
    os.kill(_pid(guests, frozen), signal.SIGSTOP)
    found = {guest.uuid: guest for guest in await hypervisor.discover()}
    assert found[healthy.uuid].state is GuestState.RUNNING
    assert found[frozen.uuid].state is GuestState.UNKNOWN
    assert "does not answer" in found[frozen.uuid].reason
