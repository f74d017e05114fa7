"""A cable between a client and a server: it can be cut without either end being told."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.engines.process import free_port


class Relay:
    """Passes bytes on between its own port and another, until it is cut."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.port = free_port()
        self._target = (address, port)
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def close(self) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        for writer in self._writers:
            writer.close()

    def cut(self) -> None:
        """Nothing more passes, and nobody hears that. New connections lead nowhere, too."""
        self._cut = True
        for pump in self._pumps:
            pump.cancel()

    def mend(self) -> None:
        """New connections get through again; those of before stay dead, and open."""
        self._cut = False

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._cut:
            return
        there, back = await asyncio.open_connection(*self._target)
        self._writers.add(back)
        for source, sink in ((reader, back), (there, writer)):
            pump = asyncio.create_task(_pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()
