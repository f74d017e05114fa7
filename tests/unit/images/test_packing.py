"""Copying a volume into an image file: what is made, what is told, and what is left behind."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from breezeblock.drivers.base import Readable
from breezeblock.images.inspection import inspect
from breezeblock.images.packing import WRITABLE, NotMade, Packing
from breezeblock.images.scratch import Scratch

GIB = 1 << 30
MIB = 1 << 20


async def nobody(_percent: float) -> None:
    """Nobody wants to know."""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def packing(scratch: Path) -> Packing:
    return Packing(Scratch(scratch, "image-"))


def a_volume(directory: Path, size: int = GIB) -> Readable:
    """A raw file that begins with a MiB of sevens, as a driver names it to QEMU."""
    path = directory / "volume.raw"
    with path.open("wb") as file:
        file.write(b"\7" * MIB)
        file.truncate(size)
    return _file(path)


def _file(path: Path) -> Readable:
    return Readable({"driver": "raw", "file": {"driver": "file", "filename": str(path)}})


def left(scratch: Path) -> list[Path]:
    return list(scratch.iterdir())


def first_bytes(image: Path, image_format: str, back: Path) -> bytes:
    """What the disk in the image begins with."""
    command = ["qemu-img", "convert", "-f", image_format, "-O", "raw", str(image), str(back)]
    subprocess.run(command, check=True)
    with back.open("rb") as file:
        return file.read(MIB + 1)


def processes(scratch: Path) -> list[str]:
    """Command lines that name the scratch directory."""
    lines = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(one.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if str(scratch) in line]


@pytest.mark.parametrize("disk_format", sorted(WRITABLE))
async def test_a_volume_is_copied_into_every_format(
    tmp_path: Path, scratch: Path, packing: Packing, disk_format: str
) -> None:
    source = a_volume(tmp_path)
    async with packing.pack(source, disk_format, 1, "one", nobody) as packed:
        found = inspect(packed.path, disk_format, max_gigabytes=1)
        assert found.virtual_bytes == GIB
        content = first_bytes(packed.path, found.format, tmp_path / "back.raw")
    assert content == b"\7" * MIB + b"\0"
    assert left(scratch) == []


async def test_progress_is_told_of_copying_and_of_sending(tmp_path: Path, packing: Packing) -> None:
    copied: list[float] = []
    sent: list[float] = []

    async def copying(percent: float) -> None:
        copied.append(percent)

    async def sending(percent: float) -> None:
        sent.append(percent)

    async with packing.pack(a_volume(tmp_path), "qcow2", 1, "one", copying) as packed:
        content = b"".join([chunk async for chunk in packed.content(sending)])
        assert content == packed.path.read_bytes()
    for percentages in (copied, sent):
        assert percentages == sorted(percentages)
        assert percentages[-1] == 100.0


async def test_who_is_overtaken_stops_and_leaves_nothing(
    tmp_path: Path, scratch: Path, packing: Packing
) -> None:
    class Overtaken(Exception):
        pass

    async def told(_percent: float) -> None:
        raise Overtaken

    with pytest.raises(Overtaken):
        async with packing.pack(a_volume(tmp_path), "raw", 1, "one", told):
            raise AssertionError("it went on")
    assert left(scratch) == []
    assert processes(scratch) == []


async def test_who_is_cancelled_leaves_nothing(
    tmp_path: Path, scratch: Path, packing: Packing
) -> None:
    begun = asyncio.Event()

    async def told(_percent: float) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def pack() -> None:
        async with packing.pack(a_volume(tmp_path), "raw", 1, "one", told):
            raise AssertionError("it went on")

    task = asyncio.create_task(pack())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(scratch) == []
    assert processes(scratch) == []


@pytest.mark.parametrize("size", [GIB - MIB, GIB + 512, 2 * GIB])
async def test_a_volume_of_another_size_than_was_said_is_no_image(
    tmp_path: Path, scratch: Path, packing: Packing, size: int
) -> None:
    with pytest.raises(NotMade):
        async with packing.pack(a_volume(tmp_path, size), "qcow2", 1, "one", nobody):
            raise AssertionError("it was taken for good")
    assert left(scratch) == []


async def test_what_qemu_says_is_told(tmp_path: Path, packing: Packing) -> None:
    with pytest.raises(NotMade, match="No such file"):
        async with packing.pack(_file(tmp_path / "gone"), "raw", 1, "one", nobody):
            raise AssertionError("there was nothing")


async def test_a_host_that_lacks_qemu_says_so(
    tmp_path: Path, packing: Packing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotMade, match="not installed"):
        async with packing.pack(a_volume(tmp_path), "raw", 1, "one", nobody):
            raise AssertionError("there was nothing")
