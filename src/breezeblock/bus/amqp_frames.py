"""The frames of a message to be published, all that is always the same encoded once."""

from __future__ import annotations

from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader

SMALL = 4096
"""Bytes of a frame that every broker takes."""

ROOM = SMALL - 8
"""What of it is left for the body."""


class Envelope:
    """How a message is published to one place, but for its body."""

    __slots__ = ("_channel", "_properties", "_publish", "_starts")

    def __init__(self, channel: int, exchange: str, key: str, *, kept: bool) -> None:
        """`kept`: it must reach a queue (or comes back) and outlive the broker there."""
        publish = Basic.Publish(exchange=exchange, routing_key=key, mandatory=kept)
        self._channel = channel
        self._publish = marshal(publish, channel)
        self._properties = Basic.Properties(delivery_mode=2 if kept else None)
        self._starts: dict[int, bytes] = {}

    def around(self, body: bytes) -> bytes:
        """All frames of a publishing. Wake-ups are all of one size."""
        size = len(body)
        start = self._starts.get(size)
        if start is None:
            header = ContentHeader(body_size=size, properties=self._properties)
            start = self._starts[size] = self._publish + marshal(header, self._channel)
        pieces = [body[begin : begin + ROOM] for begin in range(0, size, ROOM)]
        return b"".join([start, *(marshal(ContentBody(one), self._channel) for one in pieces)])
