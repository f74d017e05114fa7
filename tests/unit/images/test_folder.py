"""A folder of image files: what files say of themselves, and what stands beside them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from breezeblock.images.base import Image, NewImage
from breezeblock.images.folder import Folder
from breezeblock.model.errors import Conflict, NotFound
from breezeblock.model.ids import new_id


def find(directory: Path, text: str) -> Image:
    return asyncio.run(Folder(directory).find(text))


def test_a_file_is_found_by_its_name_with_and_without_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "debian.raw").write_bytes(b"x" * 1000)
    image = find(tmp_path, "debian")
    assert find(tmp_path, "debian.raw") == image == find(tmp_path, image.id)
    assert (image.name, image.status, image.size) == ("debian", "active", 1000)
    assert (image.disk_format, image.container_format) == ("raw", "bare")
    assert image.visibility == "public"


def test_its_id_stays_and_is_its_name_when_that_is_one(tmp_path: Path) -> None:
    ident = new_id()
    for name in ("debian.raw", f"{ident}.qcow2", ident.replace("-", "").upper()):
        (tmp_path / name).write_bytes(b"x")
    assert find(tmp_path, "debian").id == find(tmp_path / ".", "debian.raw").id
    assert find(tmp_path, f"{ident}.qcow2").id == ident
    assert find(tmp_path, ident).id == ident


def test_a_whole_file_name_goes_before_a_name_without_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"1")
    (tmp_path / "a.raw.img").write_bytes(b"22")
    assert find(tmp_path, "a.raw").size == 1


def test_one_name_for_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"1")
    (tmp_path / "a.img").write_bytes(b"2")
    with pytest.raises(Conflict, match=r"a\.img, a\.raw"):
        find(tmp_path, "a")


def test_what_stands_beside_it_counts(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(b"1")
    said = {
        "name": "Debian 12",
        "disk_format": "raw",
        "min_disk": 5,
        "owner": "abba",
        "visibility": "private",
        "properties": {"os_type": "linux"},
    }
    (tmp_path / "a.img.json").write_text(json.dumps(said))
    image = find(tmp_path, "Debian 12")
    assert (image.min_disk, image.owner, image.visibility) == (5, "abba", "private")
    assert image.properties == {"os_type": "linux"}
    with pytest.raises(NotFound):
        find(tmp_path, "a")
    assert find(tmp_path, "a.img") == image


@pytest.mark.parametrize("text", ["{", "[]", '{"min_disk": "five"}', '{"properties": {"a": 1}}'])
def test_an_image_whose_description_is_damaged_is_not_active(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.img").write_bytes(b"1")
    (tmp_path / "a.img.json").write_text(text)
    assert find(tmp_path, "a").status == "killed"


def test_a_file_without_a_telling_suffix_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "3G"], check=True)
    image = find(tmp_path, "disk")
    assert (image.disk_format, image.virtual_size) == ("qcow2", 3 << 30)


def test_hidden_files_directories_and_descriptions_are_no_images(tmp_path: Path) -> None:
    (tmp_path / ".upload-x").write_bytes(b"1")
    (tmp_path / "directory").mkdir()
    (tmp_path / "notes.json").write_text("{}")
    for name in (".upload-x", "directory", "notes", "notes.json"):
        with pytest.raises(NotFound):
            find(tmp_path, name)


def test_links_that_lead_out_of_the_folder_are_no_images(tmp_path: Path) -> None:
    folder, announced = tmp_path / "images", f"{new_id()}.raw"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(b"secret")
    (folder / "debian-12.raw").write_bytes(b"Debian")
    (folder / "debian.raw").symlink_to("debian-12.raw")
    (folder / "secret.raw").symlink_to(tmp_path / "secret.raw")
    (folder / "nothing.raw").symlink_to("nothing.raw")
    (folder / announced).symlink_to("../secret.raw")
    (folder / f"{announced}.json").write_text("{}")
    assert find(folder, "debian").size == 6
    for name in ("secret", "secret.raw", "nothing"):
        with pytest.raises(NotFound):
            find(folder, name)

    image = find(folder, announced)
    assert (image.status, image.size) == ("queued", None)

    async def story() -> bytes:
        service = Folder(folder)
        with pytest.raises(NotFound):
            await anext(service.read(image.id))

        async def content():  # type: ignore[no-untyped-def]
            yield b"uploaded"

        await service.write(image.id, content())
        return await anext(service.read(image.id))

    assert asyncio.run(story()) == b"uploaded"
    assert (tmp_path / "secret.raw").read_bytes() == b"secret"


def test_a_description_elsewhere_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "other.json").write_text('{"name": "secret"}')
    (folder / "debian.raw").write_bytes(b"Debian")
    (folder / "debian.raw.json").symlink_to(tmp_path / "other.json")
    image = find(folder, "debian")
    assert (image.name, image.status) == ("debian", "killed")


def test_a_directory_that_is_not_there_has_no_images(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        find(tmp_path / "nowhere", "a")


def test_a_late_writer_does_not_bring_back_what_was_discarded(tmp_path: Path) -> None:
    service = Folder(tmp_path)
    image = NewImage(id=new_id(), name="late", disk_format="raw", container_format="bare")

    async def story() -> None:
        await service.create(image)

        async def slow():  # type: ignore[no-untyped-def]
            yield b"first"
            await service.discard(image.id)
            yield b"second"

        with pytest.raises(NotFound):
            await service.write(image.id, slow())

    asyncio.run(story())
    assert list(tmp_path.iterdir()) == []


def test_zeros_that_are_written_take_no_room(tmp_path: Path) -> None:
    parts = [bytes(5 << 20), b"data" * 40_000, bytes(100), bytes(20 << 20)]
    image = NewImage(id=new_id(), name="thin", disk_format="raw", container_format="bare")

    async def story() -> bytes:
        service = Folder(tmp_path)
        await service.create(image)

        async def content():  # type: ignore[no-untyped-def]
            for part in parts:
                yield part

        await service.write(image.id, content())
        return b"".join([part async for part in service.read(image.id)])

    assert asyncio.run(story()) == b"".join(parts)
    assert (tmp_path / f"{image.id}.raw").stat().st_blocks * 512 <= 1 << 20
