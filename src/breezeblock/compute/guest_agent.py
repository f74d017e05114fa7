"""Talks to the shell agent inside the demo's and the tests' guest (`guest/agent.sh`).

The demo and the end-to-end tests use it to look at a disk as the guest sees it; the product itself
needs nothing inside a guest. The line is a serial port: bytes sent before the guest opens it are
lost or cut, and another client may have left half a line or the end of an answer. Therefore each
request starts with a line break, carries an id that no other client has, and the answer is what
stands between that id's two marks; and a client first pings until it is answered.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_PING_INTERVAL = 0.2
_LONGEST_SCRIPT = 8192  # the guest's terminal drops input beyond its buffers


class GuestAgentError(Exception):
    """The guest's agent does not answer, or the line broke."""


class ScriptFailed(GuestAgentError):
    """A script ended with a status other than 0."""

    def __init__(self, script: str, status: int, output: str) -> None:
        super().__init__(f"{script!r} ended with status {status}: {output.strip()}")
        self.status = status
        self.output = output


class GuestAgent:
    """A connection to one guest's shell agent; made by `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._heard = b""
        self._ids = (f"{secrets.token_hex(4)}-{number}" for number in itertools.count())

    async def run(self, script: str, *, patience: float = 60.0) -> str:
        """Run a shell script in the guest; return its output without the last line break.

        stdout and stderr come together. ScriptFailed when the status is not 0; GuestAgentError
        after `patience` seconds (the script goes on in the guest, its answer is then ignored).
        """
        encoded = base64.b64encode(script.encode()).decode()
        if len(encoded) > _LONGEST_SCRIPT:
            raise GuestAgentError(f"A script of {len(script)} characters is too long for the line.")
        ident = next(self._ids)
        try:
            async with asyncio.timeout(patience):
                await self._send(f"{ident} {encoded}")
                await self._until(f"\n@@{ident} start\n")
                output = await self._until(f"\n@@{ident} ")
                status = int(await self._until("\n"))
        except TimeoutError:
            raise GuestAgentError(f"No answer to {script!r} within {patience:.0f} s.") from None
        if status:
            raise ScriptFailed(script, status, output)
        return output.removesuffix("\n")

    async def find_disk(self, volume_id: str, *, patience: float = 20.0) -> str:
        """Wait for the disk whose serial is the volume's UUID; return its path in the guest."""
        script = (
            f"n=0; while [ $n -lt {int(patience * 20)} ]; do for d in /sys/block/*; do "
            f'[ "$(cat $d/serial 2>/dev/null)" = "{volume_id[:20]}" ] && basename $d && exit 0; '
            "done; usleep 50000; n=$((n+1)); done; exit 1"
        )
        return f"/dev/{(await self.run(script, patience=patience + 30)).strip()}"

    async def exists(self, path: str) -> bool:
        """Whether a file, or a disk, is there in the guest."""
        return await self.run(f"[ -e {path} ] && echo yes || true") != ""

    async def size(self, disk: str) -> int:
        """Size of a disk ("/dev/vdb") as the guest sees it now, in bytes."""
        return int(await self.run(f"cat /sys/block/{disk.removeprefix('/dev/')}/size")) * 512

    async def answers(self) -> bool:
        """Ping once: true when the agent answered before the next ping is due."""
        ident = next(self._ids)
        try:
            async with asyncio.timeout(_PING_INTERVAL):
                await self._send(ident)
                await self._until(f"\n@@{ident} 0\n")
        except TimeoutError:
            return False
        return True

    async def _send(self, line: str) -> None:
        try:
            self._writer.write(f"\n{line}\n".encode())
            await self._writer.drain()
        except OSError as error:
            raise GuestAgentError(f"The guest's serial port is gone: {error}") from error

    async def _until(self, mark: str) -> str:
        """Return what was heard before the mark, and forget it together with the mark."""
        wanted = mark.encode()
        while wanted not in self._heard:
            more = await self._reader.read(65536)
            if not more:
                raise GuestAgentError("The guest's serial port was closed.")
            self._heard += more
        before, _, self._heard = self._heard.partition(wanted)
        return before.decode(errors="replace")


@asynccontextmanager
async def connect(socket: Path, *, patience: float = 60.0) -> AsyncIterator[GuestAgent]:
    """Connect to a guest's agent socket and wait until the agent answers, that is: has booted.

    May be called at any time of the guest's life, by any process, one at a time. GuestAgentError
    after `patience` seconds.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError as error:
        raise GuestAgentError(f"No guest listens on {socket}: {error}") from error
    agent = GuestAgent(reader, writer)
    try:
        try:
            async with asyncio.timeout(patience):
                while not await agent.answers():
                    pass
        except TimeoutError:
            raise GuestAgentError(
                f"The guest's agent did not answer within {patience:.0f} s; "
                f"see console.log in {socket.parent}."
            ) from None
        yield agent
    finally:
        writer.close()
