"""AMQP 0-9-1 as bytes: frames, and by hand those that go with every message.

What is sent once in a while (declare, bind, open) is written and read by pamqp. A message is a
publishing or a delivery, and an acknowledgement: these few are fixed bytes with a number in them,
and a class for each, with its fields encoded one by one, would cost more than all the rest.
"""

from __future__ import annotations

from struct import Struct

from pamqp import commands
from pamqp.base import Frame

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
"""Kinds of frames."""

LARGEST = 131_072
"""Bytes of a frame at most: what RabbitMQ proposes."""

SMALL = 4096
"""Bytes of a frame that every broker takes."""

_START = Struct(">BHI")
START_SIZE = _START.size
_END = b"\xce"
_END_BYTE = 0xCE

DELIVER = b"\x00\x3c\x00\x3c"
RETURN = b"\x00\x3c\x00\x32"
ACK = b"\x00\x3c\x00\x50"
NACK = b"\x00\x3c\x00\x78"
"""The methods, class and number, that are read here and not by pamqp."""

_SIZE = Struct(">Q")
_TAG_AND_BIT = Struct(">QB")
_PERSISTENT = b"\x10\x00\x02"
_NO_PROPERTIES = b"\x00\x00"


class NotAmqp(ValueError):
    """Whatever this is, it is no frame."""


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _START.pack(kind, channel, len(payload)) + payload + _END


def split(data: bytes) -> tuple[list[tuple[int, int, bytes]], bytes]:
    """The whole frames at the beginning of the data (kind, channel, payload), and what is left."""
    found, begin, size = [], 0, len(data)
    while size - begin >= START_SIZE:
        kind, channel, length = _START.unpack_from(data, begin)
        if kind not in (METHOD, HEADER, BODY, HEARTBEAT) or length > LARGEST:
            raise NotAmqp(repr(data[begin : begin + START_SIZE]))
        end = begin + START_SIZE + length
        if end >= size:
            break
        if data[end] != _END_BYTE:
            raise NotAmqp("a frame does not end where it should")
        found.append((kind, channel, data[begin + START_SIZE : end]))
        begin = end + 1
    return found, data[begin:]


def method_frame(channel: int, method: Frame) -> bytes:
    return frame(METHOD, channel, method.index.to_bytes(4) + method.marshal())


def read_method(payload: bytes) -> Frame:
    try:
        method: Frame = commands.INDEX_MAPPING[int.from_bytes(payload[:4])]()
    except KeyError as error:
        raise NotAmqp(f"unknown method {error}") from None
    method.unmarshal(payload[4:])
    return method


class Envelope:
    """How a message is published to one place, but for its body."""

    __slots__ = ("_channel", "_middle", "_start")

    def __init__(self, channel: int, exchange: str, key: str, *, kept: bool) -> None:
        """`kept`: it must reach a queue (or comes back) and outlive the broker there."""
        where = _short(exchange) + _short(key)
        publish = frame(METHOD, channel, b"\x00\x3c\x00\x28\x00\x00" + where + bytes([kept]))
        properties = _PERSISTENT if kept else _NO_PROPERTIES
        size = 2 + 2 + _SIZE.size + len(properties)
        self._channel = channel
        self._start = publish + _START.pack(HEADER, channel, size) + b"\x00\x3c\x00\x00"
        self._middle = properties + _END

    def around(self, body: bytes) -> bytes:
        """All frames of a publishing."""
        room = SMALL - START_SIZE - 1
        pieces = (body[begin : begin + room] for begin in range(0, len(body), room))
        bodies = [frame(BODY, self._channel, piece) for piece in pieces]
        return b"".join([self._start, _SIZE.pack(len(body)), self._middle, *bodies])


def _short(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(1) + encoded


class Settling:
    """How deliveries on one channel are settled."""

    __slots__ = ("_ack", "_nack")

    def __init__(self, channel: int) -> None:
        self._ack = _START.pack(METHOD, channel, 4 + _TAG_AND_BIT.size) + ACK
        self._nack = _START.pack(METHOD, channel, 4 + _TAG_AND_BIT.size) + NACK

    def ack(self, tag: int, *, all_before: bool = False) -> bytes:
        return self._ack + _TAG_AND_BIT.pack(tag, all_before) + _END

    def nack(self, tag: int, *, requeue: bool) -> bytes:
        return self._nack + _TAG_AND_BIT.pack(tag, 2 if requeue else 0) + _END


def read_confirmation(payload: bytes) -> tuple[int, bool]:
    """Of an ack or nack to a publisher: up to which number, and whether all before it, too."""
    tag, bits = _TAG_AND_BIT.unpack_from(payload, 4)
    return tag, bool(bits & 1)


def read_delivery(payload: bytes) -> tuple[int, bool]:
    """The number to settle it by, and whether it has been delivered before."""
    tag, bits = _TAG_AND_BIT.unpack_from(payload, 5 + payload[4])
    return tag, bool(bits)


def read_size(payload: bytes) -> int:
    """Of a content header: how many bytes of body follow."""
    size: int = _SIZE.unpack_from(payload, 4)[0]
    return size


def read_returned_key(payload: bytes) -> str:
    """By which key a message that has come back was published."""
    at = 6
    for _ in ("reason", "exchange"):
        at += 1 + payload[at]
    return payload[at + 1 : at + 1 + payload[at]].decode()
