"""The frames that are written and read by hand, held against pamqp's, which knows all of AMQP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame as pamqp
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Queue
from pamqp.header import ContentHeader

from breezeblock.bus import amqp_frames as frames
from breezeblock.bus.amqp_frames import Envelope, NotAmqp, Settling

CHANNELS = st.integers(1, 2047)
TAGS = st.integers(1, 2**63 - 1)
NAMES = st.text("abc.@-0", max_size=60)
BODIES = st.binary(max_size=3 * frames.SMALL)


def payload(method: Frame) -> bytes:
    ((_, _, found),), _ = frames.split(pamqp.marshal(method, 1))
    return found


@given(CHANNELS, NAMES, NAMES, BODIES, st.booleans())
def test_a_publishing_is_what_pamqp_reads_it_as(
    channel: int, exchange: str, key: str, body: bytes, kept: bool
) -> None:
    left = Envelope(channel, exchange, key, kept=kept).around(body)
    read = []
    while left:
        size, number, found = pamqp.unmarshal(left)
        assert number == channel
        assert size <= frames.SMALL
        left = left[size:]
        read.append(found)
    publish, header, *bodies = read
    assert isinstance(publish, Basic.Publish)
    assert (publish.exchange, publish.routing_key, publish.mandatory) == (exchange, key, kept)
    assert isinstance(header, ContentHeader)
    assert header.body_size == len(body)
    assert header.properties.delivery_mode == (2 if kept else None)
    assert b"".join(one.value for one in bodies if isinstance(one, ContentBody)) == body


@given(CHANNELS, TAGS, st.booleans())
def test_settling_is_what_pamqp_writes(channel: int, tag: int, bit: bool) -> None:
    ack, nack = Basic.Ack(tag, bit), Basic.Nack(tag, requeue=bit)
    settling = Settling(channel)
    assert settling.ack(tag, all_before=bit) == pamqp.marshal(ack, channel)
    assert settling.nack(tag, requeue=bit) == pamqp.marshal(nack, channel)


@given(TAGS, st.booleans(), NAMES, NAMES)
def test_what_comes_with_every_message_is_read_as_pamqp_means_it(
    tag: int, bit: bool, name: str, other: str
) -> None:
    assert frames.read_confirmation(payload(Basic.Ack(tag, bit))) == (tag, bit)
    assert frames.read_confirmation(payload(Basic.Nack(tag, bit, requeue=True))) == (tag, bit)
    delivery = payload(Basic.Deliver(name, tag, bit, other, name))
    assert frames.read_delivery(delivery) == (tag, bit)
    assert frames.read_returned_key(payload(Basic.Return(312, "NO_ROUTE", other, name))) == name


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(0, 60))
def test_frames_are_found_wherever_the_data_is_cut(bodies: list[bytes], cut: int) -> None:
    data = b"".join(pamqp.marshal(ContentBody(body), 7) for body in bodies)
    first, rest = frames.split(data[:cut])
    second, rest = frames.split(rest + data[cut:])
    assert first + second == [(frames.BODY, 7, body) for body in bodies]
    assert rest == b""


def test_other_methods_are_pamqps() -> None:
    declare = Queue.Declare(queue="q", durable=True, arguments={"x-max-length": 5})
    ((kind, channel, found),), _ = frames.split(frames.method_frame(3, declare))
    assert (kind, channel) == (frames.METHOD, 3)
    assert dict(frames.read_method(found)) == dict(declare)
    assert frames.read_method(found).name == declare.name


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n", b"AMQP\x01\x01\x00\x0a", b"\x01\0\0\0\0\0\1x\x00"]
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(NotAmqp):
        frames.split(data)


def test_a_method_that_nobody_knows_is_refused() -> None:
    with pytest.raises(NotAmqp):
        frames.read_method(b"\xff\xff\xff\xff")
