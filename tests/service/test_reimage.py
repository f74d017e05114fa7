"""os-reimage: which volumes may get an image's content, and what becomes of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError, StillWorking
from breezeblock.model.ids import new_id
from tests.service.fake_driver import FakeDriver
from tests.service.house import House

SERVER = "5e4de4a0-0000-4000-8000-000000000001"


def an_image(house: House, content: bytes = b"Debian", **said: Any) -> str:
    """An image file; its id."""
    ident = new_id()
    house.image(f"{ident}.raw", content, **said)
    return ident


async def reimage(house: House, volume: str, image: str, **wishes: Any) -> Any:
    how = {key: wishes.pop(key) for key in ("version", "caller") if key in wishes}
    return await house.act(volume, "os-reimage", {"image_id": image, **wishes}, **how)


async def test_the_volume_has_the_images_content_and_says_so(house: House) -> None:
    house.image("old.raw", b"old", properties={"old": "yes"})
    volume = await house.volume(imageRef="old")
    image = an_image(house, properties={"os_type": "linux"})
    reply = await reimage(house, volume, image)
    assert (reply.status_code, reply.content) == (202, b"")
    await house.quiet()
    shown = await house.show(volume)
    assert shown["status"] == "available"
    kept = shown["volume_image_metadata"]
    assert (kept["image_id"], kept["os_type"], "old" in kept) == (image, "linux", False)
    assert house.driver.contents[volume] == "Debian"
    assert list((house.images.parent / "scratch").glob("*")) == []


async def test_it_is_downloading_meanwhile_and_nobody_is_let_in(house: House) -> None:
    volume = await house.volume()
    gate = house.driver.gates["overwrite"] = threading.Event()
    assert (await reimage(house, volume, an_image(house))).status_code == 202
    assert await house.status(volume) == "downloading"
    assert (await reimage(house, volume, an_image(house))).status_code == 400
    attachment = await house.attachment(volume)
    connector = {"connector": {"host": "compute1"}}
    reply = await house.member.put(f"/attachments/{attachment}", {"attachment": connector})
    assert reply.status_code == 409
    gate.set()
    await house.quiet()
    assert await house.status(volume) == "reserved"


async def test_an_id_may_be_written_in_several_ways(house: House) -> None:
    image = an_image(house)
    for text in (image.upper(), image.replace("-", "")):
        volume = await house.volume()
        assert (await reimage(house, volume, text)).status_code == 202


@pytest.mark.parametrize("status", ["in-use", "creating", "maintenance", "reserved", "uploading"])
async def test_only_what_nobody_uses_is_reimaged(house: House, status: str) -> None:
    volume = await house.volume()
    await house.put(volume, status=status)
    reply = await reimage(house, volume, an_image(house))
    assert reply.status_code == 400
    assert status in reply.text


async def test_one_in_error_is_and_stays_so(house: House) -> None:
    volume = await house.volume()
    await house.put(volume, status="error")
    assert (await reimage(house, volume, an_image(house))).status_code == 202
    await house.quiet()
    assert await house.status(volume) == "error"
    assert house.driver.contents[volume] == "Debian"


async def test_one_that_is_nowhere_is_not(house: House) -> None:
    volume = await house.volume()
    await house.put(volume, status="error", host=None)
    assert (await reimage(house, volume, an_image(house))).status_code == 400


async def test_several_attachments_are_a_conflict(house: House) -> None:
    volume = await house.volume(volume_type=await house.multiattach_type())
    for server in (SERVER, SERVER[:-1] + "2"):
        await house.attachment(volume, server=server)
    reply = await reimage(house, volume, an_image(house), reimage_reserved=True)
    assert reply.status_code == 409


async def test_a_volume_that_a_host_is_connected_with_is_not(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    await house.act(volume, "os-initialize_connection", {"connector": {"host": "compute1"}})
    await house.put(volume, status="available")
    reply = await reimage(house, volume, an_image(house))
    assert reply.status_code == 400
    assert "a host is connected" in reply.text


class Servers:
    """The compute service, as far as it is told of volumes."""

    def __init__(self, broken: bool = False) -> None:
        self.told: list[tuple[list[str], str, str]] = []
        self.broken = broken
        self.house: House | None = None

    async def volume_reimaged(self, servers: list[str], volume_id: str) -> None:
        assert self.house is not None
        self.told.append((servers, volume_id, await self.house.status(volume_id)))
        if self.broken:
            raise RuntimeError("nobody listens")


@pytest.mark.parametrize("broken", [False, True])
async def test_the_server_that_it_is_reserved_for_is_told(house: House, broken: bool) -> None:
    servers = house.engine.doors.servers = Servers(broken)
    servers.house = house
    volume = await house.volume()
    await house.attachment(volume, server=SERVER)
    image = an_image(house)
    assert (await reimage(house, volume, image)).status_code == 400
    assert (await reimage(house, volume, image, reimage_reserved=True)).status_code == 202
    await house.quiet()
    assert servers.told == [([SERVER], volume, "reserved")]
    assert await house.status(volume) == "reserved"
    told = (await house.member.get("/messages")).json()["messages"]
    assert [one["event_id"] for one in told] == (["VOLUME_VOLUME_016_028"] if broken else [])


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({}, "image_id"),
        ({"image_id": None}, "image_id"),
        ({"image_id": "nope"}, "image_id"),
        ({"image_id": 3}, "image_id"),
        ({"image_id": SERVER, "reimage_reserved": "perhaps"}, "reimage_reserved"),
        ({"image_id": SERVER, "more": 1}, "more"),
        ({"image_id": SERVER}, "os-reimage.image_id: the image"),
        (None, "os-reimage"),
    ],
)
async def test_bad_wishes_name_the_field(house: House, value: Any, part: str) -> None:
    volume = await house.volume()
    reply = await house.act(volume, "os-reimage", value)
    assert reply.status_code == 400
    assert part in reply.text


async def test_what_does_not_fit_or_is_not_there_is_refused(house: House) -> None:
    volume = await house.volume()
    assert (await reimage(house, volume, an_image(house, min_disk=2))).status_code == 400
    ident = new_id()
    (house.images / f"{ident}.raw.json").write_text("{}")
    assert (await reimage(house, volume, ident)).status_code == 400
    assert (await reimage(house, new_id(), an_image(house))).status_code == 404
    assert (await reimage(house, volume, an_image(house), version="3.67")).status_code == 404
    assert await house.status(volume) == "available"


async def test_a_file_that_lies_leaves_the_content_and_an_error(house: House) -> None:
    volume, ident = await house.volume(), new_id()
    house.image(f"{ident}.qcow2", b"This is a text.")
    assert (await reimage(house, volume, ident)).status_code == 202
    await house.quiet()
    assert await house.status(volume) == "error"
    assert volume not in house.driver.contents
    (told,) = (await house.member.get("/messages")).json()["messages"]
    assert told["event_id"] == "VOLUME_VOLUME_016_029"
    assert "seems to be raw" in told["user_message"]


async def test_an_image_that_was_replaced_meanwhile_leaves_the_content(house: House) -> None:
    volume, image = await house.volume(), an_image(house)
    with house.late(f"{image}.raw", b"another"):
        assert (await reimage(house, volume, image)).status_code == 202
        await house.quiet()
    assert await house.status(volume) == "error"
    assert volume not in house.driver.contents
    (told,) = (await house.member.get("/messages")).json()["messages"]
    assert "its size was 6, and is 7 now" in told["user_message"]


async def test_a_driver_that_refuses_leaves_an_error(house: House) -> None:
    volume = await house.volume()
    house.driver.failures["overwrite"] = PermanentError("No.")
    await reimage(house, volume, an_image(house))
    await house.quiet()
    assert await house.status(volume) == "error"


async def test_what_was_cut_short_is_not_done_late(house: House) -> None:
    """While a worker waits for a slow driver an administrator resets the volume: the next call of
    the driver does not come."""
    volume = await house.volume()
    house.driver.failures["overwrite"] = StillWorking("copying", retry_after=0.3, progress=10)
    await reimage(house, volume, an_image(house))
    while ("overwrite", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    reply = await house.act(volume, "os-reset_status", {"status": "available"}, house.admin)
    assert reply.status_code == 202
    del house.driver.failures["overwrite"]
    await house.quiet()
    while list((house.images.parent / "scratch").glob("*")):
        await asyncio.sleep(0.01)
    assert volume not in house.driver.contents
    assert await house.status(volume) == "available"


async def test_snapshots_show_how_far_they_are(house: House) -> None:
    volume = await house.volume()
    slow: FakeDriver = house.driver
    slow.failures["snapshot"] = StillWorking("copying", retry_after=0.05, progress=40)
    reply = await house.member.post("/snapshots", {"snapshot": {"volume_id": volume}})
    ident = reply.json()["snapshot"]["id"]

    async def shown() -> str:
        answer = await house.member.get(f"/snapshots/{ident}")
        return str(answer.json()["snapshot"]["os-extended-snapshot-attributes:progress"])

    while await shown() != "40%":
        await asyncio.sleep(0.01)
    found = await house.member.get(f"/operations?resource_id={ident}")
    assert [one["progress"] for one in found.json()["operations"]] == [40]
    slow.failures.clear()
    await house.quiet()
    assert await shown() == "100%"
