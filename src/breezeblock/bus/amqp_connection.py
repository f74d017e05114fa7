"""A connection to an AMQP broker: aiormq's, which is never repaired.

When anything goes wrong it is lost, with the reason, and the bus makes another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiormq
from aiormq.exceptions import ConnectionClosed
from pamqp.commands import Connection as Methods
from yarl import URL

from breezeblock.bus.amqp_channel import Channel, Closed

logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what it says ends in `lost`

HEARTBEAT_SECONDS = 10
"""A client silent for twice this long is dead to the broker: others get its messages."""

Lost = Callable[[str], None]


async def connect(url: str, name: str, lost: Lost) -> Connection:
    """A connection that is ready for channels; operators see it by its name.

    `lost` is called once, with the reason, when it is no more.
    """
    full = URL(url).update_query(heartbeat=str(HEARTBEAT_SECONDS))
    connection = _LibraryConnection(full, client_properties={"connection_name": name})
    await connection.connect()
    return Connection(connection, lost)


class Connection:
    """Made by `connect()`."""

    def __init__(self, connection: aiormq.Connection, lost: Lost) -> None:
        self._connection = connection
        self._tell_lost = lost
        self._channels: set[Channel] = set()
        self._lost: str | None = None
        connection.closing.add_done_callback(self._on_closing)

    @asynccontextmanager
    async def passing_channel(self) -> AsyncIterator[Channel]:
        """A channel for a question or two, which the broker may answer by closing it."""
        channel = await self.channel()
        try:
            yield channel
        finally:
            if channel.closed is None:
                await channel.close()

    async def channel(self) -> Channel:
        """Open a channel. Raises Closed."""
        if self._lost is not None:
            raise Closed(self._lost)
        opened = await self._connection.channel(publisher_confirms=False)
        assert isinstance(opened, aiormq.Channel)
        channel = Channel(opened, self._channels.discard)
        self._channels.add(channel)
        return channel

    @property
    def blocked(self) -> bool:
        """Whether the broker reads nothing more for now, being short of memory or disk space."""
        unblocked = self._connection.ready()
        try:
            unblocked.send(None)
        except StopIteration:
            return False
        unblocked.close()  # it would wait
        return True

    async def close(self) -> None:
        await self._connection.close()

    def _on_closing(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self._lost = reason = str(error) or repr(error)
        for channel in [*self._channels]:
            channel.lose(Closed(reason))
        self._tell_lost(reason)


class _LibraryConnection(aiormq.Connection):
    """aiormq's, with what stands in our way."""

    FRAME_BUFFER_SIZE = 0
    """Frames that may wait to be written: all. Whoever publishes does not wait for his turn."""

    @staticmethod
    async def _rpc(
        request: Any, writer: Any, frame_receiver: Any, wait_response: bool = True
    ) -> Any:
        """While connecting: aiormq would call a refusal an unexpected frame."""
        receiver = _Receiver(frame_receiver)
        return await aiormq.Connection._rpc(request, writer, receiver, wait_response)  # type: ignore[arg-type]


class _Receiver:
    """Raises what the broker says instead of an answer."""

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver

    async def get_frame(self) -> Any:
        found = await self._receiver.get_frame()
        if isinstance(found[2], Methods.Close):
            raise ConnectionClosed(found[2].reply_code, found[2].reply_text)
        return found
