"""The agent dies before, or after, each of its effects: nothing is stranded, the work goes on.

Each test walks through all places: it counts the effects of an undisturbed run, and has the agent
die at the next place until there is none left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from breezeblock.compute.hypervisor import HostError
from tests.service.compute.cloud import ComputeCloud

BROKEN = HostError("the disk is broken", remedy="replace it")
Work = Callable[[], Awaitable[None]]


async def every_death(cloud: ComputeCloud, work: Work) -> AsyncIterator[str]:
    """Do the work again and again, the agent dying at another place each time."""
    place = 0
    while True:
        place += 1
        for moment in ("before", "after"):
            cloud.effects.restart(**{f"crash_{moment}": place})
            await work()
            if cloud.effects.begun < place:
                assert place > 1, "nothing was done"
                return
            yield f"{moment} effect {place}"


@pytest.fixture
async def server(still: ComputeCloud) -> str:
    ident = await still.create()
    await still.drive()
    return ident


async def test_attaching_and_detaching_are_finished(still: ComputeCloud, server: str) -> None:
    volume = await still.house.volume()

    async def attach() -> None:
        assert (await still.attach(server, volume, "2.101")).status_code == 202
        await still.drive()

    async for place in every_death(still, attach):
        assert await still.house.status(volume) == "in-use", place
        assert still.disks(server) == {volume: "/dev/vdb"}, place
        assert [one["status"] for one in await still.storage_attachments(volume)] == ["attached"]
        still.effects.restart()
        await still.detach(server, volume)
        await still.drive()
        assert still.house.driver.exports == set()


async def test_detaching_is_finished(still: ComputeCloud, server: str) -> None:
    volume = await still.house.volume()

    async def detach() -> None:
        crash = (still.effects.crash_before, still.effects.crash_after)
        still.effects.restart()
        await still.attach(server, volume, "2.101")
        await still.drive()
        still.effects.restart(crash_before=crash[0], crash_after=crash[1])
        assert (await still.detach(server, volume)).status_code == 202
        await still.drive()

    async for place in every_death(still, detach):
        assert await still.house.status(volume) == "available", place
        assert still.disks(server) == {}, place
        assert await still.attachments(server) == [], place
        assert await still.storage_attachments(volume) == [], place
        assert still.house.driver.exports == set(), place


async def test_an_attach_that_fails_leaves_nothing(still: ComputeCloud, server: str) -> None:
    volume = await still.house.volume()

    async def attach() -> None:
        still.hypervisor.fail("attach", BROKEN, times=3)
        assert (await still.attach(server, volume, "2.101")).status_code == 202
        await still.drive()

    async for place in every_death(still, attach):
        assert await still.house.status(volume) == "available", place
        assert still.disks(server) == {}, place
        assert await still.attachments(server) == [], place
        assert await still.storage_attachments(volume) == [], place
        assert still.house.driver.exports == set(), place


async def test_a_detach_that_fails_changes_nothing(still: ComputeCloud, server: str) -> None:
    volume = await still.house.volume()
    await still.attach(server, volume, "2.101")
    await still.drive()

    async def detach() -> None:
        still.hypervisor.fail("detach", BROKEN, times=3)
        assert (await still.detach(server, volume)).status_code == 202
        await still.drive()

    async for place in every_death(still, detach):
        assert await still.house.status(volume) == "in-use", place
        assert still.disks(server) == {volume: "/dev/vdb"}, place
        assert len(await still.attachments(server)) == 1, place


def from_volume(volume: str) -> dict[str, object]:
    device = {"source_type": "volume", "destination_type": "volume", "boot_index": 0}
    return {**device, "uuid": volume}


BLANK = {
    "source_type": "blank",
    "destination_type": "volume",
    "volume_size": 1,
    "delete_on_termination": True,
}


async def test_creating_and_deleting_a_server_are_finished(still: ComputeCloud) -> None:
    root = await still.house.volume()
    made: list[str] = []

    async def create() -> None:
        wishes = {"block_device_mapping_v2": [from_volume(root), BLANK]}
        made.append(await still.create(**wishes))
        await still.drive()

    async for place in every_death(still, create):
        shown = await still.show(made[-1])
        assert shown["status"] == "ACTIVE", (place, shown.get("fault"))
        assert sorted(still.disks(made[-1]).values()) == ["/dev/vda", "/dev/vdb"], place
        assert await still.house.status(root) == "in-use", place
        assert len(still.house.driver.sizes) == 2, place
        still.effects.restart()
        await still.member.call("DELETE", f"/servers/{made[-1]}")
        await still.drive()
        assert set(still.house.driver.sizes) == {root}, place


async def test_deleting_a_server_is_finished(still: ComputeCloud) -> None:
    root = await still.house.volume()

    async def delete() -> None:
        crash = (still.effects.crash_before, still.effects.crash_after)
        still.effects.restart()
        ident = await still.create(block_device_mapping_v2=[from_volume(root), BLANK])
        await still.drive()
        still.effects.restart(crash_before=crash[0], crash_after=crash[1])
        await still.member.call("DELETE", f"/servers/{ident}")
        await still.drive()

    async for place in every_death(still, delete):
        assert still.hypervisor.guests == {}, place
        assert await still.house.status(root) == "available", place
        assert set(still.house.driver.sizes) == {root}, place
        assert still.house.driver.exports == set(), place


async def test_a_server_that_cannot_start_leaves_only_its_fault(still: ComputeCloud) -> None:
    root = await still.house.volume()
    made: list[str] = []

    async def create() -> None:
        still.hypervisor.fail("start", BROKEN, times=3)
        made.append(await still.create(block_device_mapping_v2=[from_volume(root), BLANK]))
        await still.drive()

    async for place in every_death(still, create):
        shown = await still.show(made[-1])
        assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ERROR", None), place
        assert "the disk is broken" in shown["fault"]["message"], place
        assert "replace it" in shown["fault"]["message"], place
        assert still.hypervisor.guests == {}, place
        assert await still.house.status(root) == "available", place
        assert set(still.house.driver.sizes) == {root}, place
        assert still.house.driver.exports == set(), place
