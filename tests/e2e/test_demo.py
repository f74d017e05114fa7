"""`breezeblock demo` as a newcomer starts it: it prints what happened, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from breezeblock.compute.guest_image import ensure_guest_image
from tests.e2e.deployment import BREEZEBLOCK
from tests.e2e.guests import IMAGE_CACHE

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]

PATIENCE = 30.0


@pytest.fixture
def cache() -> Iterator[Path]:
    """With the guest image that the tests have made already. A socket's name has to be short."""
    folder = Path(tempfile.mkdtemp(prefix="breezeblock-demo-"))
    ensure_guest_image(IMAGE_CACHE, print)
    (folder / "guest").symlink_to(IMAGE_CACHE)
    try:
        yield folder
    finally:
        for guest in working_in(folder):  # those of a demo that was killed live on, as guests do
            with contextlib.suppress(ProcessLookupError):
                os.kill(guest, signal.SIGKILL)
        shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def demo(cache: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command; it has ended afterwards."""
    process = await asyncio.create_subprocess_exec(
        # Who runs the tests in the background has made them, and it, deaf to SIGINT.
        *("env", "--default-signal=INT"),
        *(str(BREEZEBLOCK), "demo", "--cache", str(cache), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def working_in(folder: Path, program: str = "") -> list[int]:
    """The processes that name the folder, or that work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            near = str(folder) in words or (process / "cwd").readlink().is_relative_to(folder)
            if near and program in words:
                found.append(int(process.name))
    return found


def left_in(cache: Path) -> list[str | int]:
    """What is there after the demo besides the guest's image."""
    files = [path.name for path in cache.iterdir() if path.name != "guest"]
    return [*files, *working_in(cache)]


async def until_nobody_works_in(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := working_in(folder):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("backend", ["local", "netapp"])
async def test_a_text_is_carried_from_guest_to_guest(backend: str, cache: Path) -> None:
    async with demo(cache, "--backend", backend) as process:
        printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    wrote = re.search(r"wrote '(a breeze block carries \w{16})'", printed)
    assert wrote is not None and f"read '{wrote[1]}': the same bytes" in printed
    assert left_in(cache) == []
    volume = re.search(r"volume ([0-9a-f-]{36}) \(1 GiB\) is available on (\S+)", printed)
    assert volume is not None
    if backend == "local":
        assert "LUN" not in printed
        return
    pool = volume[2].partition("#")[2]
    told = re.findall(r"^  (\d{3})  (\w+) +/\S+/(\S+) +(.*)$", printed, re.MULTILINE)
    attached = [
        ("201", "POST", "igroups"),
        ("201", "POST", "lun-maps"),
        ("201", "POST", "credentials"),
        ("200", "DELETE", "lun-maps"),
        ("200", "DELETE", "credentials"),
    ]
    made, deleted = ("201", "POST", "luns"), ("200", "DELETE", "luns")
    assert [tuple(one[:3]) for one in told] == [made, *attached, *attached, deleted]
    assert told[0][3] == f"LUN made: /vol/{pool}/volume-{volume[1]}, 1 GiB"
    assert printed.rstrip().endswith("still on the array: 0 luns, 0 igroups, 0 credentials")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_the_array_ends_with_the_demo(number: signal.Signals, cache: Path) -> None:
    async with demo(cache, "--backend", "netapp") as process:
        assert process.stdout is not None
        while b"is available on" not in (line := await process.stdout.readline()):
            assert line, "the demo ended"
        assert working_in(cache, "tgtd")
        process.send_signal(number)
        await process.communicate()
    assert process.returncode != 0
    if number != signal.SIGKILL:
        assert left_in(cache) == []
    else:
        await until_nobody_works_in(cache / "demo" / "array")


async def test_a_backend_that_is_not_there_is_named(cache: Path) -> None:
    async with demo(cache, "--backend", "floppy") as process:
        printed = (await process.communicate())[0].decode()
    assert process.returncode != 0
    assert "local" in printed and "netapp" in printed
