"""`os-volume_upload_image`: a volume's content becomes an image."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError, Readable
from breezeblock.images import packing
from breezeblock.images.base import Image, ImageService, NewImage
from breezeblock.images.inspection import inspect
from breezeblock.model.errors import NotFound, OverQuota, Unavailable
from breezeblock.workflows import discard_image, upload_volume
from tests.service.house import PROJECT, House

GIB = 1 << 30
QCOW2 = {"image_name": "copy", "disk_format": "qcow2"}


async def upload(house: House, volume: str, version: str = "3.71", **wishes: Any) -> Any:
    return await house.act(volume, "os-volume_upload_image", QCOW2 | wishes, version=version)


async def uploaded(house: House, volume: str, **wishes: Any) -> Image:
    """Upload, and see it through: the image."""
    reply = await upload(house, volume, **wishes)
    assert reply.status_code == 202, reply.text
    await house.quiet()
    assert await house.status(volume) == "available"
    assert house.app.images is not None
    return await house.app.images.find(reply.json()["os-volume_upload_image"]["image_id"])


def files(house: House) -> list[str]:
    return sorted(path.name for path in house.images.iterdir())


def on_the_way(house: House) -> list[Path]:
    return list((house.images.parent / "scratch").glob("*"))


async def told(house: House) -> list[str]:
    found = (await house.member.get("/messages")).json()["messages"]
    return [one["user_message"] for one in found]


async def test_a_volume_becomes_an_image(house: House) -> None:
    volume = await house.volume(2, description="a disk")
    gate = house.driver.gates["readable"] = threading.Event()
    reply = await upload(house, volume)
    assert reply.status_code == 202
    shown = reply.json()["os-volume_upload_image"]
    assert await house.status(volume) == "uploading"
    gate.set()
    await house.quiet()
    assert await house.status(volume) == "available"
    image = await house.app.images.find(shown["image_id"])
    assert (image.status, image.name, image.disk_format) == ("active", "copy", "qcow2")
    assert (image.virtual_size, image.owner) == (2 * GIB, PROJECT)
    assert (image.visibility, image.protected, image.min_disk) == ("private", False, 0)
    assert on_the_way(house) == []
    assert {key: shown[key] for key in ("id", "status", "size", "display_description")} == {
        "id": volume,
        "status": "uploading",
        "size": 2,
        "display_description": "a disk",
    }
    assert (shown["image_name"], shown["disk_format"], shown["container_format"]) == (
        "copy",
        "qcow2",
        "bare",
    )
    assert (shown["visibility"], shown["protected"]) == ("private", False)
    assert shown["volume_type"]["name"] == "__DEFAULT__"


@pytest.mark.parametrize("disk_format", sorted(packing.WRITABLE - {"raw"}))
async def test_every_format_is_what_it_says(house: House, disk_format: str) -> None:
    image = await uploaded(house, await house.volume(3), disk_format=disk_format)
    (path,) = [house.images / name for name in files(house) if name.endswith(disk_format)]
    assert image.disk_format == disk_format
    assert inspect(path, disk_format, max_gigabytes=3).virtual_bytes == 3 * GIB


async def test_a_raw_image_asks_for_a_disk_of_its_size(house: House) -> None:
    gate = house.driver.gates["readable"] = threading.Event()
    reply = await upload(house, await house.volume(7), disk_format="raw")
    image = await house.app.images.find(reply.json()["os-volume_upload_image"]["image_id"])
    assert (image.status, image.min_disk) == ("queued", 7)
    house.driver.failures["readable"] = PermanentError("7 GiB take long.")
    gate.set()
    await house.quiet()


async def test_an_image_says_what_the_volume_knows_of_its_content(house: House) -> None:
    house.image(min_ram=64, min_disk=1, properties={"os_type": "linux", "img_signature": "x"})
    volume = await house.volume(imageRef="debian")
    assert (await house.row(volume)).image_metadata["min_ram"] == "64"
    image = await uploaded(house, volume)
    assert dict(image.properties) == {"os_type": "linux"}
    assert (image.min_ram, image.min_disk) == (64, 0)


@pytest.mark.parametrize("value", ["", "many", "-1", "٣", "9" * 400])
async def test_what_users_write_into_image_metadata_does_no_harm(house: House, value: str) -> None:
    volume = await house.volume()
    await house.act(volume, "os-set_image_metadata", {"metadata": {"min_ram": value}})
    assert (await uploaded(house, volume)).min_ram == 0


async def test_a_volume_can_be_made_of_it_again(house: House) -> None:
    image = await uploaded(house, await house.volume(2))
    copy = await house.volume(2, imageRef=image.id)
    assert await house.status(copy) == "available"
    small = {"volume": {"size": 1, "imageRef": image.id}}
    assert (await house.member.post("/volumes", small)).status_code == 400


class TestWhatMayBeAsked:
    @pytest.mark.parametrize(
        ("wishes", "status"),
        [
            ({"visibility": "shared", "protected": "true"}, 202),
            ({"container_format": None}, 202),
            ({"force": True}, 202),
            ({"disk_format": "ploop"}, 400),
            ({"disk_format": "iso"}, 400),
            ({"disk_format": None}, 400),
            ({"container_format": "compressed"}, 400),
            ({"container_format": "two\nlines"}, 400),
            ({"container_format": 5}, 400),
            ({"visibility": "secret"}, 400),
            ({"visibility": None}, 400),
            ({"protected": "perhaps"}, 400),
            ({"force": "perhaps"}, 400),
            ({"image_name": ""}, 400),
            ({"image_name": None}, 400),
            ({"image_name": "x" * 256}, 400),
            ({"image_name": "ü" * 255}, 202),
            ({"image_name": ["x"]}, 400),
            ({"size": 1}, 400),
        ],
        ids=str,
    )
    async def test_values(self, house: House, wishes: dict[str, Any], status: int) -> None:
        reply = await upload(house, await house.volume(), **wishes)
        assert reply.status_code == status, reply.text
        await house.quiet()
        assert len(files(house)) == (2 if status == 202 else 0)

    async def test_visibility_is_there_from_3_1_on(self, house: House) -> None:
        volume = await house.volume()
        assert (await upload(house, volume, "3.0", visibility="shared")).status_code == 400
        assert (await upload(house, volume, "3.0", protected=True)).status_code == 400
        assert (await upload(house, volume, "3.0")).status_code == 202

    @pytest.mark.parametrize("value", [None, [], "x", {}, {"disk_format": "raw"}])
    async def test_bodies(self, house: House, value: Any) -> None:
        volume = await house.volume()
        reply = await house.act(volume, "os-volume_upload_image", value)
        assert reply.status_code == 400

    async def test_public_images_are_for_administrators(self, house: House) -> None:
        volume = await house.volume()
        reply = await upload(house, volume, visibility="public")
        assert reply.status_code == 403
        assert "upload_public" in reply.json()["forbidden"]["message"]
        assert await house.status(volume) == "available"
        wish = QCOW2 | {"visibility": "public"}
        reply = await house.act(volume, "os-volume_upload_image", wish, house.admin)
        assert reply.status_code == 202

    async def test_it_is_for_the_volumes_owner(self, house: House) -> None:
        volume = await house.volume()
        for caller, status in ((house.other, 404), (house.reader, 403)):
            reply = await house.act(volume, "os-volume_upload_image", QCOW2, caller)
            assert reply.status_code == status

    @pytest.mark.parametrize("status", ["in-use", "error", "uploading", "maintenance", "extending"])
    async def test_the_wrong_status_is_refused(self, house: House, status: str) -> None:
        volume = await house.volume()
        await house.put(volume, status=status)
        for force in (False, True):
            assert (await upload(house, volume, force=force)).status_code == 400
        assert files(house) == []

    async def test_a_volume_that_a_host_is_connected_with_is_refused(self, house: House) -> None:
        volume = await house.volume()
        connector = {"connector": {"host": "compute1"}}
        assert (await house.act(volume, "os-initialize_connection", connector)).status_code == 200
        assert (await upload(house, volume)).status_code == 400

    async def test_encrypted_volumes_are_refused(self, house: House) -> None:
        volume = await house.volume()
        await house.put(volume, encryption_key_id="11111111-1111-1111-1111-111111111111")
        assert (await upload(house, volume)).status_code == 400


async def test_nothing_else_begins_meanwhile(house: House) -> None:
    volume = await house.volume()
    gate = house.driver.gates["readable"] = threading.Event()
    await upload(house, volume)
    for action, value in (
        ("os-volume_upload_image", QCOW2),
        ("os-extend", {"new_size": 2}),
        ("os-reserve", None),
        ("os-initialize_connection", {"connector": {"host": "compute1"}}),
        ("os-set_image_metadata", {"metadata": {"k": "v"}}),
    ):
        assert (await house.act(volume, action, value)).status_code in (400, 409), action
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 400
    metadata = {"metadata": {"k": "v"}}
    assert (await house.member.post(f"/volumes/{volume}/metadata", metadata)).status_code == 400
    for path, body in (
        ("/attachments", {"attachment": {"volume_uuid": volume}}),
        ("/snapshots", {"snapshot": {"volume_id": volume}}),
        ("/volumes", {"volume": {"source_volid": volume}}),
    ):
        assert (await house.member.post(path, body)).status_code == 400, body
    gate.set()
    await house.quiet()
    assert await house.status(volume) == "available"


class TestFailures:
    async def test_the_backend_fails(self, house: House) -> None:
        volume = await house.volume()
        house.driver.failures["readable"] = PermanentError("It cannot be read here.")
        assert (await upload(house, volume)).status_code == 202
        await house.quiet()
        assert await house.status(volume) == "available"
        assert files(house) == []
        (text,) = await told(house)
        assert "It cannot be read here." in text

    async def test_qemu_cannot_read_what_the_backend_names(self, house: House) -> None:
        volume = await house.volume()
        node = {"driver": "raw", "file": {"driver": "file", "filename": "/nowhere/secret"}}
        house.driver.readable = lambda _volume: Readable(node)  # type: ignore[method-assign]
        await upload(house, volume)
        await house.quiet()
        assert (await house.status(volume), files(house), on_the_way(house)) == (
            "available",
            [],
            [],
        )
        (text,) = await told(house)
        assert "could not be copied into an image" in text
        assert "/nowhere" not in text

    async def test_what_was_made_is_looked_at(self, house: House) -> None:
        volume = await house.volume(2)
        house.driver.sizes[volume] = 1  # the backend has less than it should
        await upload(house, volume)
        await house.quiet()
        assert (await house.status(volume), files(house)) == ("available", [])
        assert "no good" in (await told(house))[0] or "holds a disk" in (await told(house))[0]

    async def test_an_image_service_that_refuses_is_told_at_once(self, house: House) -> None:
        volume = await house.volume()
        house = with_images(house, Refusing(OverQuota("ImageLimitExceeded: too many")))
        reply = await upload(house, volume)
        assert reply.status_code == 413
        await house.quiet()
        assert await house.status(volume) == "available"
        assert len(await told(house)) == 1

    async def test_an_image_service_that_is_away_is_told_at_once(self, house: House) -> None:
        volume = await house.volume()
        house = with_images(house, Refusing(Unavailable("It does not answer.")))
        assert (await upload(house, volume)).status_code == 503
        await house.quiet()
        assert await house.status(volume) == "available"

    async def test_an_api_that_dies_before_it_has_asked_leaves_no_stuck_volume(
        self, house: House
    ) -> None:
        volume = await house.volume()
        house = with_images(house, Refusing(asyncio.CancelledError()))
        with pytest.raises(asyncio.CancelledError):
            await upload(house, volume)
        assert await house.status(volume) == "uploading"
        await house.come_due("upload_volume")
        assert await house.status(volume) == "available"
        assert len(await told(house)) == 1

    async def test_an_image_that_is_deleted_meanwhile_is_not_made_again(self, house: House) -> None:
        volume = await house.volume()
        gate = house.driver.gates["readable"] = threading.Event()
        await upload(house, volume)
        for path in house.images.iterdir():
            path.unlink()
        gate.set()
        await house.quiet()
        assert (await house.status(volume), files(house)) == ("available", [])
        assert "not there any more" in (await told(house))[0]

    async def test_an_image_service_that_is_away_for_a_while_costs_time_only(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upload_volume, "AGAIN", 0.05)
        volume = await house.volume()
        calls: list[str] = []
        doors = house.engine.doors
        doors.images = Faltering(doors.images, calls, fails=2)
        assert (await upload(house, volume)).status_code == 202
        await house.quiet()
        assert calls == ["write", "write", "write"]
        assert await house.status(volume) == "available"
        assert len(files(house)) == 2

    async def test_an_image_that_was_sent_is_not_sent_again(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upload_volume, "AGAIN", 0.05)
        volume = await house.volume()
        doors = house.engine.doors
        calls: list[str] = []
        doors.images = Faltering(doors.images, calls, fails=1, writes=True)
        await upload(house, volume)
        await house.quiet()
        assert (await house.status(volume), calls) == ("available", ["write"])
        assert len(files(house)) == 2


class TestCutShort:
    async def test_a_reset_discards_the_image(self, house: House) -> None:
        volume = await house.volume()
        gate = house.driver.gates["readable"] = threading.Event()
        await upload(house, volume)
        assert len(files(house)) == 1
        reply = await house.act(volume, "os-reset_status", {"status": "error"}, house.admin)
        assert reply.status_code == 202
        gate.set()
        await house.quiet()
        assert (await house.status(volume), files(house)) == ("error", [])
        assert len(await told(house)) == 1

    async def test_a_deletion_by_force_discards_the_image(self, house: House) -> None:
        volume = await house.volume()
        gate = house.driver.gates["readable"] = threading.Event()
        await upload(house, volume)
        assert (await house.act(volume, "os-force_delete", None, house.admin)).status_code == 202
        gate.set()
        await house.quiet()
        assert (await house.status(volume), files(house)) == ("gone", [])

    async def test_discarding_waits_for_the_image_service(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(discard_image, "AGAIN", 0.05)
        volume = await house.volume()
        house.driver.failures["readable"] = PermanentError("No.")
        doors = house.engine.doors
        calls: list[str] = []
        doors.images = Faltering(doors.images, calls, fails=3, verb="discard")
        await upload(house, volume)
        await house.quiet()
        assert calls == ["discard"] * 4
        assert files(house) == []


class Faltering(ImageService):
    """Another one, one verb of which does not answer at first; with `writes` it does its work
    all the same."""

    checks_tokens = False

    def __init__(
        self,
        real: ImageService,
        calls: list[str],
        fails: int,
        verb: str = "write",
        writes: bool = False,
    ) -> None:
        self._real, self._calls, self._left = real, calls, fails
        self._verb, self._writes = verb, writes

    def _answer(self, verb: str) -> bool:
        if verb != self._verb:
            return True
        self._calls.append(verb)
        self._left -= 1
        return self._left < 0

    async def find(self, name_or_id: str, *, token: str | None = None) -> Image:
        return await self._real.find(name_or_id, token=token)

    def read(self, image_id: str) -> AsyncIterator[bytes]:
        return self._real.read(image_id)

    async def create(self, image: NewImage, *, token: str | None = None) -> Image:
        return await self._real.create(image, token=token)

    async def write(self, image_id: str, content: AsyncIterator[bytes]) -> None:
        answers = self._answer("write")
        if answers or self._writes:
            await self._real.write(image_id, content)
        if not answers:
            raise Unavailable("The image service does not answer.")

    async def discard(self, image_id: str) -> None:
        if not self._answer("discard"):
            raise Unavailable("The image service does not answer.")
        await self._real.discard(image_id)


class Refusing(ImageService):
    """One that takes no image."""

    checks_tokens = False

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def find(self, name_or_id: str, *, token: str | None = None) -> Image:
        raise NotFound("Image", name_or_id)

    async def read(self, image_id: str) -> AsyncIterator[bytes]:
        raise NotFound("Image", image_id)
        yield b""

    async def create(self, image: NewImage, *, token: str | None = None) -> Image:
        raise self._error

    async def write(self, image_id: str, content: AsyncIterator[bytes]) -> None:
        raise self._error

    async def discard(self, image_id: str) -> None:
        """There is none."""


def with_images(house: House, images: ImageService) -> House:
    """The house with another image service before its API."""
    object.__setattr__(house.app, "images", images)
    return replace(house)
