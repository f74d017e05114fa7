"""Volumes made from images: what the API takes, and what becomes of it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import Image, PermanentError, StillWorking, TemporaryError, Volume
from breezeblock.images import staging
from breezeblock.images.base import Image as ServiceImage
from breezeblock.images.base import ImageService
from breezeblock.images.inspection import Refused
from breezeblock.model.errors import Unavailable
from breezeblock.model.ids import new_id
from breezeblock.workflows import from_image, telling
from tests.service.catalog_fixture import Caller
from tests.service.fake_driver import FakeDriver
from tests.service.house import House, open_house

GIB = 1 << 30
NOBODYS = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9"


async def ask(house: House, caller: Caller | None = None, **wishes: Any) -> Any:
    body = {"volume": {"size": 1, **wishes}}
    return await (caller or house.member).post("/volumes", body, wishes.pop("version", "3.71"))


async def made(house: House, **wishes: Any) -> dict[str, Any]:
    """The settled volume."""
    reply = await ask(house, **wishes)
    assert reply.status_code == 202, reply.text
    await house.quiet()
    return await house.show(reply.json()["volume"]["id"])


async def messages(house: House) -> list[str]:
    reply = await house.member.get("/messages")
    return [one["user_message"] for one in reply.json()["messages"]]


def scratch(house: House) -> list[Path]:
    return list((house.images.parent / "scratch").glob("*"))


async def test_a_volume_has_the_images_bytes_and_says_so(house: House) -> None:
    said = {"name": "Debian 12", "min_disk": 1, "min_ram": 64, "properties": {"os_type": "linux"}}
    house.image("debian.raw", b"Debian", **said)
    volume = await made(house, imageRef="Debian 12", name="root")
    assert (volume["status"], volume["bootable"]) == ("available", "true")
    kept = volume["volume_image_metadata"]
    assert len(kept.pop("image_id")) == 36
    assert kept == {
        "image_name": "Debian 12",
        "container_format": "bare",
        "disk_format": "raw",
        "min_disk": "1",
        "min_ram": "64",
        "size": "6",
        "os_type": "linux",
    }
    assert house.driver.contents[volume["id"]] == "Debian"
    assert scratch(house) == []
    assert (await house.act(volume["id"], "os-show_image_metadata")).status_code == 200


@pytest.mark.parametrize("key", ["imageRef", "image_id"])
@pytest.mark.parametrize(
    "form", ["{id}", "http://glance.example/v2/images/{id}", "{name}", "{name}.raw"]
)
async def test_the_image_is_named_in_several_ways(house: House, key: str, form: str) -> None:
    ident = new_id()
    house.image(f"{ident}.raw")
    volume = await made(house, **{key: form.format(id=ident, name=ident)})
    assert volume["volume_image_metadata"]["image_id"] == ident


@pytest.mark.parametrize("named", ["nope", "ü" * 255, "../../etc/passwd", "/", " ", NOBODYS])
async def test_an_unknown_image_is_refused(house: House, named: str) -> None:
    reply = await ask(house, imageRef=named)
    assert reply.status_code == 400
    assert reply.json()["badRequest"]["message"].startswith("imageRef: the image")


async def test_a_name_that_several_images_have_is_a_conflict(house: House) -> None:
    house.image("one.raw", name="twins")
    house.image("two.raw", name="twins")
    assert (await ask(house, imageRef="twins")).status_code == 409


async def test_no_image_is_asked_for_by_null_and_by_nothing(house: House) -> None:
    for nothing in (None, ""):
        volume = await made(house, imageRef=nothing)
        assert volume["bootable"] == "false"


async def test_the_size_is_needed(house: House) -> None:
    reply = await ask(house, imageRef=house.image(), size=None)
    assert reply.status_code == 400
    assert "size" in reply.json()["badRequest"]["message"]


async def test_the_image_must_fit(house: House) -> None:
    house.image("wide.raw", min_disk=2)
    assert "2 GiB at least" in (await ask(house, imageRef="wide")).text
    with (house.images / "long.raw").open("wb") as file:
        file.truncate(GIB + 1)
    reply = await ask(house, imageRef="long")
    assert reply.status_code == 400
    assert "2 GiB, 1 are too few" in reply.text
    assert (await made(house, imageRef="long", size=2))["status"] == "available"


async def test_an_image_without_bytes_is_refused(house: House) -> None:
    ident = new_id()
    (house.images / f"{ident}.raw.json").write_text("{}")
    reply = await ask(house, imageRef=ident)
    assert reply.status_code == 400
    assert "queued, it must be active" in reply.text


async def test_only_one_source_may_be_given(house: House) -> None:
    image = house.image()
    reply = await ask(house, imageRef=image, source_volid=await house.volume())
    assert reply.status_code == 400


async def test_a_private_image_is_its_projects(house: House) -> None:
    house.image("theirs.raw", owner="somebody-else", visibility="private")
    assert (await ask(house, imageRef="theirs")).status_code == 400
    assert (await ask(house, house.admin, imageRef="theirs")).status_code == 202
    house.image("all.raw", owner="somebody-else", visibility="community")
    assert (await ask(house, imageRef="all")).status_code == 202


async def test_the_image_may_name_the_type(house: House) -> None:
    await house.new_type("fast")
    house.image("a.raw", properties={"cinder_img_volume_type": "fast"})
    house.image("b.raw", properties={"cinder_img_volume_type": "nowhere"})
    await house.new_type("other")
    assert (await made(house, imageRef="a"))["volume_type"] == "fast"
    assert (await made(house, imageRef="a", volume_type="other"))["volume_type"] == "other"
    reply = await ask(house, imageRef="b")
    assert reply.status_code == 400
    assert "nowhere" in reply.text


async def test_an_image_of_a_servers_snapshots_stands_for_the_volume_snapshot(
    house: House,
) -> None:
    snapshot = await house.snapshot(await house.volume())
    devices = (
        f'[{{"source_type": "snapshot", "boot_index": 0, "snapshot_id": "{snapshot}"}},'
        '{"source_type": "blank", "boot_index": null}]'
    )
    house.image("server.raw", b"", properties={"block_device_mapping": devices})
    volume = await made(house, imageRef="server")
    assert volume["snapshot_id"] == snapshot
    assert house.driver.origins[volume["id"]] == snapshot
    reply = await house.member.post(
        "/volumes", {"volume": {"size": 1, "imageRef": "server"}}, "3.45"
    )
    await house.quiet()
    assert reply.json()["volume"]["snapshot_id"] is None


# -- what becomes of it ----------------------------------------------------------------------------


async def test_it_downloads_and_may_be_reserved_meanwhile(house: House) -> None:
    gate = house.driver.gates["create"] = threading.Event()
    reply = await ask(house, imageRef=house.image())
    ident = reply.json()["volume"]["id"]
    assert reply.json()["volume"]["status"] == "creating"
    while await house.status(ident) != "downloading":
        await asyncio.sleep(0.01)
    attachment = await house.attachment(ident)
    assert await house.status(ident) == "downloading"
    refused = await house.member.put(
        f"/attachments/{attachment}", {"attachment": {"connector": {"host": "compute1"}}}
    )
    assert refused.status_code == 409
    gate.set()
    await house.quiet()
    assert await house.status(ident) == "reserved"


async def test_a_file_that_lies_ends_it_and_no_other_pool_is_tried(tmp_path: Path) -> None:
    drivers = [FakeDriver("fast"), FakeDriver("slow")]
    async with open_house(tmp_path, drivers) as house:
        house.image("lie.qcow2", b"This is a text.")
        volume = await made(house, imageRef="lie")
        assert volume["status"] == "error"
        assert [one.calls for one in drivers] == [[], []]
        (told,) = await messages(house)
        assert "says it is of format qcow2, its file seems to be raw" in told
        assert scratch(house) == []


async def test_why_an_image_was_refused_names_no_file_of_the_server(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_said: Any, **_limits: Any) -> None:
        raise Refused(f"Could not open '{path}': it is cut off")

    monkeypatch.setattr(staging, "inspect", refuse)
    house.image("debian.raw")
    volume = await made(house, imageRef="debian")
    (told,) = await messages(house)
    assert "Could not open '…': it is cut off" in told
    shown = (await house.member.get(f"/operations?resource_id={volume['id']}")).text
    assert "it is cut off" in shown
    assert str(house.images.parent) not in told + shown


async def test_an_image_that_was_replaced_meanwhile_ends_it(house: House) -> None:
    image = house.image("debian.raw", b"Debian 12")
    with house.late(image, b"Debian 13.1"):
        volume = await made(house, imageRef=image)
    assert volume["status"] == "error"
    (told,) = await messages(house)
    assert "replaced after the request: its size was 9, and is 11 now" in told
    assert house.driver.calls == []
    assert (await made(house, imageRef=image))["volume_image_metadata"]["size"] == "11"


async def test_an_image_that_has_gone_meanwhile_ends_it(house: House) -> None:
    image = house.image()
    gate = house.driver.gates["create"] = threading.Event()
    first = await ask(house, imageRef=image)
    (house.images / image).unlink()
    second_reply = await ask(house, imageRef=image)
    assert second_reply.status_code == 400
    gate.set()
    await house.quiet()
    status = await house.status(first.json()["volume"]["id"])
    told = await messages(house)
    assert (status, len(told)) in {("available", 0), ("error", 1)}


async def test_a_driver_that_refuses_hands_on_to_the_next_pool(tmp_path: Path) -> None:
    drivers = [FakeDriver("fast"), FakeDriver("slow", capacity=900.0)]
    async with open_house(tmp_path, drivers) as house:
        drivers[0].failures["create"] = PermanentError("No.")
        volume = await made(house, imageRef=house.image())
        assert volume["status"] == "available"
        assert drivers[1].contents[volume["id"]] == "Debian"
        assert scratch(house) == []


class SlowDriver(FakeDriver):
    """Copies in the background: it is asked several times."""

    asked = 0

    def create(self, volume: Volume, source: Any) -> None:
        self.asked += 1
        assert isinstance(source, Image)
        assert source.path.read_bytes() == b"Debian"
        if self.asked < 4:
            raise StillWorking("…", retry_after=0.02, progress=25 * self.asked)
        super().create(volume, source)


async def test_a_driver_that_is_slow_is_waited_for_and_shows_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "INTERVAL", 0.0)
    seen: list[int] = []
    report = from_image.Run.report

    async def noted(run: Any, percent: int) -> None:
        seen.append(percent)
        await report(run, percent)

    monkeypatch.setattr(from_image.Run, "report", noted)
    async with open_house(tmp_path, [SlowDriver()]) as house:
        volume = await made(house, imageRef=house.image())
        assert volume["status"] == "available"
    assert seen == [50, 62, 75, 87]


class Away(ImageService):
    """An image service that does not answer for a while."""

    checks_tokens = False

    def __init__(self, service: ImageService, silent: int) -> None:
        self.service = service
        self.silent = silent

    async def find(self, name_or_id: str, *, token: str | None = None) -> ServiceImage:
        if self.silent:
            self.silent -= 1
            raise Unavailable("The image service does not answer.")
        return await self.service.find(name_or_id, token=token)

    def read(self, image_id: str) -> Any:
        return self.service.read(image_id)

    async def create(self, image: Any, *, token: str | None = None) -> ServiceImage:
        return await self.service.create(image, token=token)

    async def write(self, image_id: str, content: Any) -> None:
        await self.service.write(image_id, content)

    async def discard(self, image_id: str) -> None:
        await self.service.discard(image_id)


async def test_without_an_answer_of_the_image_service_the_api_has_none(house: House) -> None:
    object.__setattr__(house.app, "images", Away(house.app.images, silent=1))
    image = house.image()
    assert (await ask(house, imageRef=image)).status_code == 503
    assert (await ask(house, imageRef=image)).status_code == 202


async def test_an_image_service_that_is_away_is_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_image, "AGAIN", 0.01)
    staging = house.engine.doors.staging
    staging._service = Away(staging._service, silent=3)
    assert (await made(house, imageRef=house.image()))["status"] == "available"


async def test_a_pool_that_is_not_ready_is_asked_again_with_the_image(house: House) -> None:
    house.driver.failures["create"] = TemporaryError("Not now.", retry_after=0.01)
    reply = await ask(house, imageRef=house.image())
    while ("create", reply.json()["volume"]["id"]) not in house.driver.calls:
        await asyncio.sleep(0.01)
    house.driver.failures.clear()
    await house.quiet()
    assert (await house.show(reply.json()["volume"]["id"]))["status"] == "available"
