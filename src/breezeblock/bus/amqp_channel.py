"""A channel of an AMQP connection: aiormq's, with a shorter way for what goes with every message.

aiormq runs a task for each delivery and keeps a future, a lock and two indexes for each publishing.
A handler is a task of its own here, and confirmations are counted by whoever publishes, so these
frames are taken off the line before it: `_Line` is the one place where it is bypassed. All else
(opening, questions and answers, closing) is left to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiormq.abc import ChannelFrame, FrameType
from aiormq.channel import Channel as LibraryChannel
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.commands import Channel as ChannelMethods
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from breezeblock.bus.amqp_frames import Envelope
from breezeblock.bus.base import BusUnavailable
from breezeblock.bus.handling import cancelled

NOT_FOUND = 404
PRECONDITION_FAILED = 406

TAG = "breezeblock"
"""What a channel's one consumer is called there."""

Deliver = Callable[[int, bool, bytes], None]
"""Called with a delivery: its number, whether it has been delivered before, and its body."""

Confirm = Callable[[int, bool, bool], None]
"""Called with a confirmation: a number, whether it counts for all before, whether it is good."""


class Closed(BusUnavailable):
    """The channel is no more. `code` says why, when the broker has closed it."""

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason)
        self.code = code


class Channel:
    """Made by `Connection.channel()`; open until `closed`."""

    def __init__(self, channel: LibraryChannel, forget: Callable[[Channel], None]) -> None:
        self.number = channel.number
        self.closed: Closed | None = None
        self.on_closed: Callable[[Closed], None] | None = None
        """Called when the broker closes it, or the connection is lost."""
        self.on_cancelled: Callable[[], None] | None = None
        """Called when the consumer's queue is gone."""
        self.on_delivery: Deliver | None = None
        self.on_confirmation: Confirm | None = None
        self.on_return: Callable[[str, bytes], None] | None = None
        """Called for a message that found no queue, with its key and body: then it is confirmed."""
        self._channel = channel
        self._forget = forget
        self._content: Basic.Deliver | Basic.Return | None = None
        self._missing = 0
        self._pieces: list[bytes] = []
        channel.frames = _Line(channel.frames, self._take)

    async def ask(self, method: Frame) -> Any:
        """Send it; the broker's answer. Raises Closed."""
        try:
            return await self._channel.rpc(method)
        except asyncio.CancelledError as error:
            if cancelled():
                raise
            raise self._why(error) from error
        except Exception as error:
            raise self._why(error) from error

    async def consume(self, queue: str, *, no_ack: bool = False) -> None:
        """Have the queue's messages delivered. Raises Closed."""
        self._channel.consumers[TAG] = _never  # aiormq answers when its queue is gone
        await self.ask(Basic.Consume(queue=queue, consumer_tag=TAG, no_ack=no_ack))

    def publish(self, envelope: Envelope, body: bytes) -> None:
        self._write(envelope.around(body))

    def ack(self, tag: int, *, all_before: bool = False) -> None:
        """It is dealt with, or so is all that was delivered up to it."""
        self._write(marshal(Basic.Ack(tag, all_before), self.number))

    def nack(self, tag: int, *, requeue: bool) -> None:
        """It is for another consumer, or a dead letter."""
        self._write(marshal(Basic.Nack(tag, requeue=requeue), self.number))

    async def close(self) -> None:
        """Free it on the broker, too."""
        self.lose(Closed("The channel was closed."))
        await self._channel.close()

    def lose(self, reason: Closed) -> None:
        """It is no more: whoever uses it is told."""
        if self.closed is None:
            self.closed = reason
            self._forget(self)
            if self.on_closed is not None:
                self.on_closed(reason)

    def _write(self, data: bytes) -> None:
        if self.closed is None:
            self._channel.write_queue.put_nowait(ChannelFrame(data, should_close=False))

    def _why(self, error: BaseException) -> Closed:
        if self.closed is not None:
            return Closed(str(self.closed), self.closed.code)
        return Closed(f"The channel failed: {error!r}")

    def _take(self, frame: FrameType) -> bool:
        """A frame has come; whether aiormq need not see it."""
        match frame:
            case ContentBody():
                self._pieces.append(frame.value)
                self._missing -= len(frame.value)
                if self._missing <= 0:
                    self._content_is_whole()
            case ContentHeader():
                self._missing = frame.body_size
                if not self._missing:
                    self._content_is_whole()
            case Basic.Deliver() | Basic.Return():
                self._content = frame
            case Basic.Ack() | Basic.Nack():
                if self.on_confirmation is not None:
                    good = isinstance(frame, Basic.Ack)
                    self.on_confirmation(frame.delivery_tag, frame.multiple, good)
            case ChannelMethods.Close():
                reason = f"{frame.reply_code} {frame.reply_text}"
                self.lose(Closed(reason, frame.reply_code or 0))
                return False
            case Basic.Cancel():
                if self.on_cancelled is not None:
                    self.on_cancelled()
                return False
            case _:
                return False
        return True

    def _content_is_whole(self) -> None:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        content, self._content = self._content, None
        if isinstance(content, Basic.Return):
            if self.on_return is not None:
                self.on_return(content.routing_key or "", body)
        elif content is not None and self.on_delivery is not None:
            self.on_delivery(content.delivery_tag or 0, bool(content.redelivered), body)


class _Line(asyncio.Queue[Any]):
    """The frames of a channel on their way from aiormq's connection to aiormq's channel."""

    def __init__(
        self, line: asyncio.Queue[tuple[int, FrameType]], take: Callable[[FrameType], bool]
    ) -> None:
        super().__init__()
        self._line = line
        self._take = take

    async def put(self, item: tuple[int, FrameType]) -> None:
        if not self._take(item[1]):
            await self._line.put(item)

    async def get(self) -> tuple[int, FrameType]:
        return await self._line.get()

    def task_done(self) -> None:
        self._line.task_done()


async def _never(_message: object) -> None:
    raise AssertionError("deliveries are taken off the line before")
