"""Volumes and real guests: what is written stays, whatever dies on the way.

Block storage in one process, the compute service in another, QEMU for guests. The guests run in
emulation, so they are started once for all tests.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from breezeblock.compute import qemu_process
from breezeblock.compute.guest_agent import GuestAgent
from breezeblock.compute.guest_directory import GuestDirectory
from tests.e2e.boot_sector import boot_sector
from tests.e2e.deployment import Deployment

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

STORAGE, COMPUTE = ("api", "scheduler", "volume"), ("compute",)
AGENT = "1-compute"
SENTENCE = "This volume boots."
GIB = 1024**3


class Cloud(Deployment):
    """The deployment, in the words of servers and their volumes."""

    def guest(self, server: str) -> GuestDirectory:
        return GuestDirectory.of(self.data / "guests", server)

    async def boot(self, name: str, **wishes: Any) -> str:
        """A server that runs; its id."""
        flavor = (await self.compute("GET", "/flavors")).json()["flavors"][0]["id"]
        wanted = {"name": name, "flavorRef": flavor, "networks": "none", **wishes}
        reply = await self.compute("POST", "/servers", {"server": wanted})
        assert reply.status_code == 202, reply.text
        ident = str(reply.json()["server"]["id"])
        await self.server_is(ident, "ACTIVE")
        return ident

    async def server(self, ident: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.compute("GET", f"/servers/{ident}")).json()["server"]
        return shown

    async def server_is(self, ident: str, status: str) -> None:
        async with asyncio.timeout(60):
            while (shown := await self.server(ident))["status"] != status:
                assert shown["status"] != "ERROR", shown
                await asyncio.sleep(0.1)

    async def restart_agent(self) -> None:
        """After a kill -9: the compute service comes back, the guests never left."""
        self.launch(AGENT, COMPUTE)
        await self.until_ready()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud() -> AsyncIterator[Cloud]:
    made = Cloud({}, roles=(STORAGE, COMPUTE))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one(cloud: Cloud) -> str:
    return await cloud.boot("one")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(cloud: Cloud) -> str:
    return await cloud.boot("two")


@pytest_asyncio.fixture(loop_scope="module")
async def volume(cloud: Cloud) -> AsyncIterator[str]:
    """A volume of 1 GiB, which must be free again when the test ends."""
    ident = str((await cloud.create_volume())["id"])
    yield ident
    reply = await cloud.volume("DELETE", f"/volumes/{ident}")
    assert reply.status_code == 202, reply.text
    await cloud.until_gone(f"/volumes/{ident}")


async def write(guest: GuestAgent, disk: str, text: str) -> None:
    await guest.run(f"printf %s '{text}' | dd of={disk} conv=fsync 2>/dev/null")


async def test_bytes_travel_from_guest_to_guest(
    cloud: Cloud, one: str, two: str, volume: str
) -> None:
    await cloud.attach(one, volume)
    async with cloud.inside(one) as guest:
        await write(guest, await guest.find_disk(volume), "carried")
    await cloud.detach(one, volume)
    await cloud.attach(two, volume)
    async with cloud.inside(two) as guest:
        assert await guest.run(f"head -c 7 {await guest.find_disk(volume)}") == "carried"
    await cloud.detach(two, volume)


async def test_a_guest_sees_its_volume_grow(cloud: Cloud, one: str, volume: str) -> None:
    await cloud.attach(one, volume)
    async with cloud.inside(one) as guest:
        disk = await guest.find_disk(volume)
        await write(guest, disk, "kept")
        assert await guest.size(disk) == GIB
        body = {"os-extend": {"new_size": 2}}
        reply = await cloud.volume("POST", f"/volumes/{volume}/action", body)
        assert reply.status_code == 202, reply.text
        async with asyncio.timeout(60):
            while await guest.size(disk) != 2 * GIB:
                await asyncio.sleep(0.1)
        assert await guest.run(f"head -c 4 {disk}") == "kept"
    await cloud.until_volume_is("in-use", volume)
    messages = (await cloud.volume("GET", f"/messages?resource_uuid={volume}")).json()["messages"]
    assert messages == []
    await cloud.detach(one, volume)


async def test_guests_and_volumes_outlive_the_agent(cloud: Cloud, one: str, volume: str) -> None:
    await cloud.attach(one, volume)
    pid = qemu_process.holder(cloud.guest(one).pid_file)
    cloud.kill(AGENT)
    async with cloud.inside(one) as guest:
        await write(guest, await guest.find_disk(volume), "meanwhile")
    await cloud.restart_agent()
    assert (await cloud.server(one))["status"] == "ACTIVE"
    assert qemu_process.holder(cloud.guest(one).pid_file) == pid
    async with cloud.inside(one) as guest:
        assert await guest.run(f"head -c 9 {await guest.find_disk(volume)}") == "meanwhile"
    await cloud.detach(one, volume)


async def test_an_attach_is_finished_by_the_next_agent(cloud: Cloud, one: str, volume: str) -> None:
    await cloud.attach(one, volume, "2.101")  # accepted, and at most begun
    cloud.kill(AGENT)
    await cloud.restart_agent()
    async with cloud.inside(one) as guest:
        await guest.find_disk(volume, patience=60)
    await cloud.until_volume_is("in-use", volume)
    await cloud.detach(one, volume)


async def test_a_guest_writes_on_when_the_export_daemon_was_killed(
    cloud: Cloud, one: str, volume: str
) -> None:
    await cloud.attach(one, volume)
    async with cloud.inside(one) as guest:
        disk = await guest.find_disk(volume)
        await write(guest, disk, "before")
        for pid in _export_daemons(cloud):
            os.kill(pid, signal.SIGKILL)
        await write(guest, disk, "after!")  # waits for the next daemon
        assert await guest.run(f"head -c 6 {disk}") == "after!"
    await cloud.detach(one, volume)


def _export_daemons(cloud: Cloud) -> list[int]:
    """Daemons of this deployment: their command lines name its folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"qemu-storage-daemon" in command and str(cloud.data).encode() in command:
            found.append(int(process.name))
    assert found
    return found


async def test_a_guest_that_was_killed_is_shown_off_and_starts_again_with_its_volume(
    cloud: Cloud, volume: str
) -> None:
    server = await cloud.boot("mortal")
    await cloud.attach(server, volume)
    async with cloud.inside(server) as guest:
        await write(guest, await guest.find_disk(volume), "kept")
    pid = qemu_process.holder(cloud.guest(server).pid_file)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await cloud.server_is(server, "SHUTOFF")
    assert "killed or crashed" in (await cloud.server(server))["fault"]["message"]
    reply = await cloud.compute("POST", f"/servers/{server}/action", {"os-start": None})
    assert reply.status_code == 202, reply.text
    await cloud.server_is(server, "ACTIVE")
    async with cloud.inside(server) as guest:
        assert await guest.run(f"head -c 4 {await guest.find_disk(volume)}") == "kept"
    assert (await cloud.compute("DELETE", f"/servers/{server}")).status_code == 204
    await cloud.until_volume_is("available", volume)


async def test_a_server_boots_from_a_volume(cloud: Cloud, one: str, volume: str) -> None:
    sector = base64.b64encode(boot_sector(SENTENCE)).decode()
    await cloud.attach(one, volume)
    async with cloud.inside(one) as guest:
        disk = await guest.find_disk(volume)
        await guest.run(f"echo {sector} | base64 -d | dd of={disk} conv=fsync 2>/dev/null")
    await cloud.detach(one, volume)

    root = {"source_type": "volume", "destination_type": "volume", "boot_index": 0}
    server = await cloud.boot("from-volume", block_device_mapping_v2=[{**root, "uuid": volume}])
    console = cloud.guest(server).console_log
    async with asyncio.timeout(60):
        while SENTENCE not in console.read_text(errors="replace"):
            await asyncio.sleep(0.1)
    shown = (await cloud.volume("GET", f"/volumes/{volume}")).json()["volume"]
    [attached] = shown["attachments"]
    assert (attached["server_id"], attached["device"]) == (server, "/dev/vda")
    assert (await cloud.compute("DELETE", f"/servers/{server}")).status_code == 204
    await cloud.until_volume_is("available", volume)
    assert not cloud.guest(server).exists
