"""What every image service must do: a folder, and a real Glance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from breezeblock.images.base import ImageService, NewImage
from breezeblock.images.folder import Folder
from breezeblock.images.glance import FixedToken, Glance
from breezeblock.model.errors import Conflict, NotFound, Unavailable
from breezeblock.model.ids import new_id

T = TypeVar("T")
Use = Callable[[ImageService], Coroutine[Any, Any, T]]


class Opened:
    """Opens the service anew for each use, as processes do: nothing may live in it."""

    def __init__(self, open_: Callable[[], ImageService]) -> None:
        self._open = open_

    def use(self, work: Use[T]) -> T:
        async def whole() -> T:
            service = self._open()
            try:
                return await work(service)
            finally:
                await service.close()

        return asyncio.run(whole())


@pytest.fixture(params=["folder", "glance"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    if request.param == "folder":
        yield Opened(lambda: Folder(tmp_path / "images"))
    else:
        glance = request.getfixturevalue("glance")
        yield Opened(lambda: Glance(glance.endpoint, FixedToken("admin:service")))


def wanted(**values: Any) -> NewImage:
    ident = new_id()
    given = {"name": f"image {ident}", "disk_format": "raw", "container_format": "bare"}
    return NewImage(id=ident, **(given | values))


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 70_000):
        yield content[start : start + 70_000]


async def all_of(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])


CONTENT = bytes(range(251)) * 9_000


def test_what_is_written_is_read(images: Opened) -> None:
    image = wanted(properties={"hw_disk_bus": "scsi"}, min_disk=3, min_ram=64, owner="abba")
    announced = images.use(lambda one: one.create(image))
    assert (announced.id, announced.status) == (image.id, "queued")

    images.use(lambda one: one.write(image.id, chunks(CONTENT)))

    found = images.use(lambda one: one.find(image.id))
    assert (found.status, found.size, found.name) == ("active", len(CONTENT), image.name)
    assert (found.disk_format, found.container_format) == ("raw", "bare")
    assert (found.min_disk, found.min_ram, found.owner) == (3, 64, "abba")
    assert found.properties["hw_disk_bus"] == "scsi"
    assert found.visibility == "private"
    assert images.use(lambda one: all_of(one.read(image.id))) == CONTENT


@pytest.mark.parametrize("name", ['a, "quoted" \\ name of {}', "in:{}, äöü", "{}.qcow2"])
def test_it_is_found_by_id_in_any_spelling_and_by_name(images: Opened, name: str) -> None:
    image = wanted(name=name.format(f"<{new_id()}>"))
    images.use(lambda one: one.create(image))
    for text in (image.id, image.id.replace("-", "").upper(), image.name):
        assert images.use(lambda one, text=text: one.find(text)).id == image.id


def test_a_name_that_several_have_is_refused(images: Opened) -> None:
    name = f"twins {new_id()}"
    for _ in range(2):
        images.use(lambda one: one.create(wanted(name=name)))
    with pytest.raises(Conflict, match="twins"):
        images.use(lambda one: one.find(name))


@pytest.mark.parametrize(
    "text",
    ["nope", "../../etc/passwd", "in:a,b", "ü" * 200, "11111111-1111-1111-1111-111111111111"],
)
def test_what_is_not_there_is_not_found(images: Opened, text: str) -> None:
    with pytest.raises(NotFound):
        images.use(lambda one: one.find(text))


def test_what_is_not_there_has_no_bytes_either(images: Opened) -> None:
    with pytest.raises(NotFound):
        images.use(lambda one: all_of(one.read(new_id())))
    with pytest.raises(NotFound):
        images.use(lambda one: one.write(new_id(), chunks(b"x")))
    images.use(lambda one: one.discard(new_id()))


def test_an_announced_image_has_no_bytes(images: Opened) -> None:
    image = wanted()
    images.use(lambda one: one.create(image))
    with pytest.raises(NotFound):
        images.use(lambda one: all_of(one.read(image.id)))


def test_announcing_twice_makes_one_image(images: Opened) -> None:
    image = wanted()
    first = images.use(lambda one: one.create(image))
    assert images.use(lambda one: one.create(image)).id == first.id
    assert images.use(lambda one: one.find(image.name)).id == image.id


def test_an_image_keeps_the_bytes_that_it_has(images: Opened) -> None:
    image = wanted()
    images.use(lambda one: one.create(image))
    images.use(lambda one: one.write(image.id, chunks(CONTENT)))
    images.use(lambda one: one.write(image.id, chunks(b"late")))
    images.use(lambda one: one.discard(image.id))
    assert images.use(lambda one: all_of(one.read(image.id))) == CONTENT


def test_a_writing_that_breaks_off_leaves_it_to_be_written_again(images: Opened) -> None:
    image = wanted()
    images.use(lambda one: one.create(image))

    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:70_000]
        raise ZeroDivisionError

    async def write(one: ImageService) -> None:
        with pytest.raises(ZeroDivisionError):
            await one.write(image.id, broken())

    images.use(write)
    assert images.use(lambda one: one.find(image.id)).status != "active"

    async def write_again(one: ImageService) -> None:
        for _ in range(100):  # Glance needs a moment to see that the other writer is gone
            try:
                return await one.write(image.id, chunks(CONTENT))
            except Unavailable:
                await asyncio.sleep(0.1)
        raise AssertionError("it cannot be written again")

    images.use(write_again)
    assert images.use(lambda one: all_of(one.read(image.id))) == CONTENT


@pytest.mark.parametrize("protected", [False, True])
def test_an_announced_image_can_be_discarded(images: Opened, protected: bool) -> None:
    image = wanted(protected=protected)
    images.use(lambda one: one.create(image))
    images.use(lambda one: one.discard(image.id))
    images.use(lambda one: one.discard(image.id))
    with pytest.raises(NotFound):
        images.use(lambda one: one.find(image.id))


def test_a_glance_that_is_not_there_is_unavailable() -> None:
    nowhere = Opened(lambda: Glance("http://127.0.0.1:9"))
    with pytest.raises(Unavailable):
        nowhere.use(lambda one: one.find("anything"))
    with pytest.raises(Unavailable):
        nowhere.use(lambda one: all_of(one.read(new_id())))


def test_glance_shows_its_callers_what_they_may_see(glance: Any) -> None:
    """Without Keystone this Glance takes everyone for an administrator, so only that the token
    arrives can be seen: the image belongs to its project."""
    service = Opened(lambda: Glance(glance.endpoint + "/v2/", FixedToken("admin:service")))
    image = wanted()
    made = service.use(lambda one: one.create(image, token="ada:abba"))
    assert made.owner == "abba"
