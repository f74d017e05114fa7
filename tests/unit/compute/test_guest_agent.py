"""The line to the guest's shell agent: noise, late boots, and answers that are not ours.

In the guest's place stands the guest's own script, run by this machine's shell behind a socket that
can lose what comes too early, as a serial port does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from breezeblock.compute import guest_agent
from breezeblock.compute.guest_agent import GuestAgentError, ScriptFailed
from breezeblock.compute.initramfs import script


@asynccontextmanager
async def _port(folder: Path, *, deaf: int = 0, noise: bytes = b"") -> AsyncIterator[Path]:
    """A serial port that loses the first `deaf` bytes and begins with `noise`."""
    (folder / "agent.sh").write_bytes(script("agent.sh").replace(b"/tmp/", b"./"))
    shell = await asyncio.create_subprocess_exec(
        "sh", "agent.sh", cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert shell.stdin
    assert shell.stdout
    to_shell, from_shell = shell.stdin, shell.stdout

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def inwards() -> None:
            lost = 0
            while data := await reader.read(64):
                kept = data[max(0, deaf - lost) :]
                lost += len(data)
                to_shell.write(kept)

        async def outwards() -> None:
            writer.write(noise)
            while data := await from_shell.read(64):
                writer.write(data)

        await asyncio.wait(
            [asyncio.ensure_future(one()) for one in (inwards, outwards)],
            return_when=asyncio.FIRST_COMPLETED,
        )

    server = await asyncio.start_unix_server(serve, folder / "agent.sock")
    try:
        yield folder / "agent.sock"
    finally:
        server.close()
        shell.kill()
        await shell.wait()


async def test_a_scripts_output_is_returned_without_its_last_line_break(tmp_path: Path) -> None:
    async with _port(tmp_path) as port, guest_agent.connect(port) as agent:
        assert await agent.run("echo one; echo two >&2") == "one\ntwo"
        assert await agent.run("printf '%s' \"it's\"") == "it's"
        assert await agent.run("true") == ""


async def test_a_guest_that_hears_late_is_poked_until_it_answers(tmp_path: Path) -> None:
    async with _port(tmp_path, deaf=25) as port, guest_agent.connect(port) as agent:
        assert await agent.run("echo here") == "here"


async def test_noise_and_old_answers_are_not_taken_for_ours(tmp_path: Path) -> None:
    noise = b"[ 0.1] boot\r\n\n@@dead-0 start\nold\n\n@@dead-0 0\n\xff\xfe"
    async with _port(tmp_path, noise=noise) as port, guest_agent.connect(port) as agent:
        assert await agent.run("echo '@@x 1'; echo mine") == "@@x 1\nmine"


async def test_a_failed_script_tells_its_status_and_output(tmp_path: Path) -> None:
    async with _port(tmp_path) as port, guest_agent.connect(port) as agent:
        with pytest.raises(ScriptFailed) as failed:
            await agent.run("echo why; exit 3")
    assert (failed.value.status, failed.value.output) == (3, "why\n")


async def test_an_answer_that_comes_too_late_is_ignored(tmp_path: Path) -> None:
    async with _port(tmp_path) as port, guest_agent.connect(port) as agent:
        with pytest.raises(GuestAgentError, match="No answer"):
            await agent.run("sleep 0.5; echo late", patience=0.1)
        assert await agent.run("echo next") == "next"


async def test_a_guest_that_never_answers_is_an_error(tmp_path: Path) -> None:
    async with _port(tmp_path, deaf=10_000) as port:
        with pytest.raises(GuestAgentError, match="did not answer"):
            async with guest_agent.connect(port, patience=0.5):
                pass


async def test_a_guest_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GuestAgentError, match="No guest"):
        async with guest_agent.connect(tmp_path / "agent.sock"):
            pass
