"""A connection to an AMQP broker: what this bus needs of the protocol, and no more.

A client of our own, because a message is two frames of a hundred bytes: the client libraries for
asyncio run a task, a few queues and half a dozen objects for each of them, which cost more than the
step that the message wakes (`bench/bus.py` compares). A connection is never repaired: when anything
goes wrong it is lost, with the reason, and another is made by the bus.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import parse_qs, unquote, urlsplit

from pamqp.base import Frame
from pamqp.commands import Channel as ChannelMethods
from pamqp.commands import Connection as Methods
from pamqp.common import FieldTable

from breezeblock.bus import amqp_frames as frames
from breezeblock.bus.amqp_channel import Channel, Closed

HEARTBEAT_SECONDS = 10
"""A client silent for twice this long is dead to the broker: others get its messages.

What `Link` asks every few seconds is our heartbeat.
"""

CAPABILITIES: FieldTable = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


@dataclass(frozen=True)
class Broker:
    """What a URL says of one broker and of who we are there."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    virtual_host: str
    tls: dict[str, str] | None
    """Files to trust and to show; None without TLS."""


def read_url(url: str) -> Broker:
    """amqp:// or amqps://user:password@host:port/virtual-host?cafile=…&certfile=…&keyfile=…"""
    parts = urlsplit(url)
    files = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    secure = parts.scheme == "amqps"
    return Broker(
        host=parts.hostname or "localhost",
        port=parts.port or (5671 if secure else 5672),
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
        tls=files if secure else None,
    )


async def connect(url: str, name: str, lost: Callable[[str], None]) -> Connection:
    """A connection that is ready for channels; operators see it by its name.

    `lost` is called once, with the reason, when it is no more. Raises Closed, OSError.
    """
    broker = read_url(url)
    loop = asyncio.get_running_loop()
    trust = None if broker.tls is None else await asyncio.to_thread(_trust, broker.tls)
    connection = Connection(broker, name, lost)
    await loop.create_connection(lambda: connection, broker.host, broker.port, ssl=trust)
    try:
        await connection.ready
    except BaseException:
        connection.abort()
        raise
    return connection


def _trust(files: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.get("cafile"), capath=files.get("capath"))
    if "certfile" in files:
        context.load_cert_chain(files["certfile"], files.get("keyfile"))
    return context


class Connection(asyncio.Protocol):
    """Made by `connect()`."""

    def __init__(self, broker: Broker, name: str, lost: Callable[[str], None]) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when channels may be opened; fails when they never may."""
        self.blocked = False
        """Whether the broker reads nothing more for now, being short of memory or disk space."""
        self._broker = broker
        self._name = name
        self._tell_lost = lost
        self._channels: dict[int, Channel] = {}
        self._most_channels = 2047
        self._rest = b""
        self._lost: str | None = None
        self._closing: asyncio.Future[None] | None = None

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
        number = next(
            (one for one in range(1, self._most_channels + 1) if one not in self._channels), None
        )
        if number is None:
            raise Closed("The message broker allows no more channels.")
        channel = self._channels[number] = Channel(self, number)
        await channel.ask(ChannelMethods.Open())
        return channel

    def forget(self, channel: Channel) -> None:
        """Its number is free again."""
        self._channels.pop(channel.number, None)

    def write(self, data: bytes) -> None:
        if self._lost is None:
            self._transport.write(data)

    async def close(self) -> None:
        """Say goodbye and wait for the answer, then hang up."""
        if self._lost is None:
            self._closing = asyncio.get_running_loop().create_future()
            self._send(Methods.Close(200, "", 0, 0))
            try:
                await self._closing
            finally:
                self.abort()

    def abort(self) -> None:
        """Hang up."""
        self._lose("The connection was closed.")

    # -- the event loop's side -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"AMQP\x00\x00\x09\x01")

    def data_received(self, data: bytes) -> None:
        try:
            found, self._rest = frames.split(self._rest + data)
            for kind, number, payload in found:
                if number == 0:
                    if kind == frames.METHOD:
                        self._take_method(frames.read_method(payload))
                elif (channel := self._channels.get(number)) is not None:
                    channel.take(kind, payload)
        except frames.NotAmqp as error:
            self._lose(f"It does not speak AMQP 0-9-1: {error}.")

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(repr(error) if error else "The message broker has hung up.")

    # -- the broker's side ------------------------------------------------------------------------

    def _take_method(self, method: Frame) -> None:
        match method:
            case Methods.Start():
                self._introduce_ourselves()
            case Methods.Tune():
                self._most_channels = method.channel_max or self._most_channels
                largest = min(method.frame_max or frames.LARGEST, frames.LARGEST)
                self._send(Methods.TuneOk(self._most_channels, largest, HEARTBEAT_SECONDS))
                self._send(Methods.Open(self._broker.virtual_host))
            case Methods.OpenOk():
                if not self.ready.done():
                    self.ready.set_result(None)
            case Methods.Blocked():
                self.blocked = True
            case Methods.Unblocked():
                self.blocked = False
            case Methods.Close():
                self._send(Methods.CloseOk())
                self._lose(f"{method.reply_code} {method.reply_text}")
            case Methods.CloseOk():
                if self._closing is not None and not self._closing.done():
                    self._closing.set_result(None)

    def _introduce_ourselves(self) -> None:
        properties: FieldTable = {
            "product": "breezeblock",
            "connection_name": self._name,
            "capabilities": CAPABILITIES,
        }
        response = f"\x00{self._broker.user}\x00{self._broker.password}"
        self._send(Methods.StartOk(properties, "PLAIN", response, "en_US"))

    def _send(self, method: Frame) -> None:
        self.write(frames.method_frame(0, method))

    def _lose(self, reason: str) -> None:
        if self._lost is not None:
            return
        self._lost = reason
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # what waits may wait for ever
        else:
            self._transport.close()
        if not self.ready.done():
            self.ready.set_exception(Closed(reason))
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)
        for channel in [*self._channels.values()]:
            channel.lose(Closed(reason))
        self._tell_lost(reason)
