"""Images on their way: fetched whole or not at all, sparse, and gone afterwards."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from breezeblock.images.base import Image
from breezeblock.images.folder import Folder
from breezeblock.images.inspection import Refused
from breezeblock.images.scratch import Scratch
from breezeblock.images.staging import Staging
from breezeblock.model.errors import NotFound

MIB = 1 << 20


class Service(Folder):
    """A folder that says of its one image what a test wants, and gives what a test wants."""

    def __init__(self, content: bytes, **said: Any) -> None:
        super().__init__(Path("unused"))
        self.content = content
        told = {"id": "x", "name": "x", "status": "active", "disk_format": "raw"}
        self.image = Image(**(told | {"size": len(content)} | said))

    async def find(self, name_or_id: str, *, token: str | None = None) -> Image:
        return self.image

    async def read(self, image_id: str) -> AsyncIterator[bytes]:
        for start in range(0, len(self.content), MIB):
            yield self.content[start : start + MIB]


def fetched(
    service: Service,
    directory: Path,
    most: int = 2048,
    chosen: Mapping[str, str] | None = None,
) -> tuple[bytes, list[float], int]:
    """The file's bytes, what was told meanwhile, and how many bytes it takes on the disk."""
    told: list[float] = []

    async def tell(percent: float) -> None:
        told.append(percent)

    async def story() -> tuple[bytes, list[float], int]:
        staging = Staging(service, Scratch(directory, "image-"), most)
        async with staging.fetch("x", "name", tell, chosen or {}) as staged:
            assert (staged.format, staged.virtual_bytes) == ("raw", len(service.content))
            return staged.path.read_bytes(), told, staged.path.stat().st_blocks * 512

    try:
        return asyncio.run(story())
    finally:
        assert list(directory.glob("*")) == []


def test_the_bytes_arrive_as_they_are_and_zeros_take_no_room(tmp_path: Path) -> None:
    content = b"\0" * 3 * MIB + os.urandom(MIB) + b"\0" * 5 * MIB + b"end" + b"\0" * 100_000
    checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
    found, told, taken = fetched(Service(content, checksum=checksum), tmp_path)
    assert found == content
    assert taken <= 2 * MIB
    assert told[-1] == 100.0 and told == sorted(told)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"size": 5}, "more than the 5 bytes"),
        ({"size": 3 * MIB}, "bytes, 3145728 are said"),
        ({"checksum": "0" * 32}, "checksum"),
        ({"status": "queued"}, "must be active"),
        ({"disk_format": "qcow2"}, "seems to be raw"),
        ({"size": 3 << 40}, "more than 2048 GiB"),
    ],
)
def test_what_is_not_as_it_was_said_is_refused(
    tmp_path: Path, said: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        fetched(Service(b"x" * 2 * MIB, **said), tmp_path)


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"size": "5"}, "its size was 5, and is 3 now"),
        ({"size": "3", "checksum": "0" * 32}, "its checksum was 0"),
        ({"size": "3", "disk_format": "iso"}, "its disk format was iso, and is raw now"),
    ],
)
def test_another_image_than_the_chosen_one_is_refused(
    tmp_path: Path, chosen: dict[str, str], why: str
) -> None:
    checksum = hashlib.md5(b"xxx", usedforsecurity=False).hexdigest()
    service = Service(b"xxx", checksum=checksum)
    with pytest.raises(Refused, match=f"replaced after the request: {why}"):
        fetched(service, tmp_path, chosen=chosen)
    same = {"size": "3", "checksum": checksum, "disk_format": "raw", "min_disk": "7"}
    assert fetched(service, tmp_path, chosen=same)[0] == b"xxx"


def test_an_image_that_ends_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    class Broken(Service):
        async def read(self, image_id: str) -> AsyncIterator[bytes]:
            yield b"x"
            raise NotFound("Image", image_id)

    with pytest.raises(NotFound):
        fetched(Broken(b"xx"), tmp_path)


def test_only_what_dead_processes_left_is_cleared(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "image-")
    (tmp_path / "notes").write_text("somebody else's")
    killed = (
        "import os, signal, sys; from pathlib import Path;"
        "from breezeblock.images.scratch import Scratch;"
        "kept = Scratch(Path(sys.argv[1]), 'image-').file('dead'); kept.__enter__();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("image-dead*"))) == 1
    with scratch.file("alive") as (path, file):
        file.write(b"x")
        scratch.clear()
        assert path.exists()
        assert list(tmp_path.glob("image-dead*")) == []
    assert [one.name for one in tmp_path.iterdir()] == ["notes"]


def test_a_file_that_was_renamed_stays(tmp_path: Path) -> None:
    with Scratch(tmp_path, ".upload-").file("x") as (path, file):
        file.write(b"whole")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.rename(tmp_path / "image.raw")
    assert (tmp_path / "image.raw").read_bytes() == b"whole"
