"""A channel of an AMQP connection: questions with answers, one consumer, confirmed publishing.

The broker closes a channel over whatever it does not like, and leaves the connection's other
channels alone. A question that nobody waits for any more harms nothing: its answer is taken off
the line when it comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pamqp.base import Frame
from pamqp.commands import Basic
from pamqp.commands import Channel as ChannelMethods

from breezeblock.bus import amqp_frames as frames
from breezeblock.bus.base import BusUnavailable

if TYPE_CHECKING:
    from breezeblock.bus.amqp_connection import Connection

NOT_FOUND = 404
PRECONDITION_FAILED = 406

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

    def __init__(self, connection: Connection, number: int) -> None:
        self.number = number
        self.closed: Closed | None = None
        self.on_closed: Callable[[Closed], None] | None = None
        """Called when the broker closes it, or the connection is lost."""
        self.on_cancelled: Callable[[], None] | None = None
        """Called when the consumer's queue is gone."""
        self.on_delivery: Deliver | None = None
        self.on_confirmation: Confirm | None = None
        self.on_return: Callable[[str, bytes], None] | None = None
        """Called for a message that found no queue, with its key and body: then it is confirmed."""
        self._connection = connection
        self._write = connection.write
        self._settling = frames.Settling(number)
        self._answers: deque[tuple[Frame, asyncio.Future[Frame]]] = deque()
        self._content = b""
        self._missing = 0
        self._pieces: list[bytes] = []

    async def ask(self, method: Frame) -> Frame:
        """Send it; the broker's answer. Raises Closed."""
        if self.closed is not None:
            raise self.closed
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers.append((method, answer))
        self._write(frames.method_frame(self.number, method))
        return await answer

    def publish(self, envelope: frames.Envelope, body: bytes) -> None:
        self._write(envelope.around(body))

    def ack(self, tag: int, *, all_before: bool = False) -> None:
        """It is dealt with, or so is all that was delivered up to it."""
        self._write(self._settling.ack(tag, all_before=all_before))

    def nack(self, tag: int, *, requeue: bool) -> None:
        """It is for another consumer, or a dead letter."""
        self._write(self._settling.nack(tag, requeue=requeue))

    async def close(self) -> None:
        """Free it on the broker, too. Raises Closed when the broker was quicker."""
        await self.ask(ChannelMethods.Close(200, "", 0, 0))
        self.lose(Closed("The channel was closed."))

    def take(self, kind: int, payload: bytes) -> None:
        """A frame of this channel has come."""
        if kind == frames.BODY:
            self._pieces.append(payload)
            self._missing -= len(payload)
            if self._missing <= 0:
                self._content_is_whole()
        elif kind == frames.HEADER:
            self._missing = frames.read_size(payload)
            if not self._missing:
                self._content_is_whole()
        else:
            self._take_method(payload)

    def lose(self, reason: Closed) -> None:
        """It is no more: whoever waits for something is told."""
        if self.closed is not None:
            return
        self.closed = reason
        self._connection.forget(self)
        for _method, answer in self._answers:
            if not answer.done():
                answer.set_exception(Closed(str(reason), reason.code))
        self._answers.clear()
        if self.on_closed is not None:
            self.on_closed(reason)

    def _take_method(self, payload: bytes) -> None:
        method = payload[:4]
        if method in (frames.DELIVER, frames.RETURN):
            self._content = payload
        elif method in (frames.ACK, frames.NACK):
            if self.on_confirmation is not None:
                tag, multiple = frames.read_confirmation(payload)
                self.on_confirmation(tag, multiple, method == frames.ACK)
        else:
            self._take_rare_method(frames.read_method(payload))

    def _take_rare_method(self, method: Frame) -> None:
        if isinstance(method, ChannelMethods.Close):
            self._write(frames.method_frame(self.number, ChannelMethods.CloseOk()))
            self.lose(Closed(f"{method.reply_code} {method.reply_text}", method.reply_code or 0))
        elif isinstance(method, Basic.Cancel):
            if self.on_cancelled is not None:
                self.on_cancelled()
        elif self._answers and method.name in self._answers[0][0].valid_responses:
            _asked, answer = self._answers.popleft()
            if not answer.done():  # else its caller has left
                answer.set_result(method)

    def _content_is_whole(self) -> None:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._content[:4] == frames.RETURN:
            if self.on_return is not None:
                self.on_return(frames.read_returned_key(self._content), body)
        elif self.on_delivery is not None:
            self.on_delivery(*frames.read_delivery(self._content), body)
