"""A small NBD client: one request at a time, over a unix socket.

QEMU's own client hides what a host goes through (it reconnects and repeats by itself); here the
test has to know which request was acknowledged and which was not.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from typing import Any

FUA = 1
READ, WRITE, FLUSH = 0, 1, 3
_WITHIN = 6.0
_REQUEST, _REPLY = 0x25609513, 0x67446698


class NbdError(OSError):
    """The server refused, or is no NBD server."""


class Connection:
    """An open connection; `open` makes one. Every method raises OSError when it breaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = 0
        self.size = 0

    @classmethod
    async def open(cls, info: Mapping[str, Any]) -> Connection:
        """Connect to the export that `connection_info` names."""
        async with asyncio.timeout(_WITHIN):
            reader, writer = await asyncio.open_unix_connection(info["path"])
            made = cls(reader, writer)
            try:
                await made._greet(str(info["export"]).encode())
            except BaseException:
                writer.close()
                raise
        return made

    async def _greet(self, export: bytes) -> None:
        if (await self._take(18))[:16] != b"NBDMAGICIHAVEOPT":
            raise NbdError("no NBD server")
        self._writer.write(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, len(export)) + export)
        self.size = struct.unpack(">QH", await self._take(10))[0]

    async def read(self, offset: int, length: int) -> bytes:
        return await self._ask(READ, offset, length, answer=length)

    async def write(self, offset: int, block: bytes, *, fua: bool = False) -> None:
        await self._ask(WRITE, offset, len(block), block, flags=FUA if fua else 0)

    async def flush(self) -> None:
        await self._ask(FLUSH, 0, 0)

    async def _ask(
        self,
        kind: int,
        offset: int,
        length: int,
        body: bytes = b"",
        flags: int = 0,
        answer: int = 0,
    ) -> bytes:
        self._handle += 1
        request = struct.pack(">IHHQQI", _REQUEST, flags, kind, self._handle, offset, length)
        async with asyncio.timeout(_WITHIN):
            self._writer.write(request + body)
            await self._writer.drain()
            magic, error, handle = struct.unpack(">IIQ", await self._take(16))
            if magic != _REPLY or handle != self._handle:
                raise NbdError("the server's answer is no answer")
            if error:
                raise NbdError(f"the server refused: error {error}")
            return await self._take(answer)

    async def _take(self, length: int) -> bytes:
        try:
            return await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise NbdError("the connection ended") from error

    def close(self) -> None:
        self._writer.close()
