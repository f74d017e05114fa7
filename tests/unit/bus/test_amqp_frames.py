"""What is encoded once and used again is what pamqp, which knows all of AMQP, reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import unmarshal
from pamqp.header import ContentHeader

from breezeblock.bus.amqp_frames import SMALL, Envelope

CHANNELS = st.integers(1, 2047)
NAMES = st.text("abc.@-0", max_size=60)
BODIES = st.lists(st.binary(max_size=3 * SMALL), min_size=1, max_size=3)


@given(CHANNELS, NAMES, NAMES, BODIES, st.booleans())
def test_each_message_in_an_envelope_is_read_as_it_was_meant(
    channel: int, exchange: str, key: str, bodies: list[bytes], kept: bool
) -> None:
    envelope = Envelope(channel, exchange, key, kept=kept)
    for body in [*bodies, bodies[0]]:
        publish, header, *pieces = read(envelope.around(body), channel)
        assert isinstance(publish, Basic.Publish)
        assert (publish.exchange, publish.routing_key) == (exchange, key)
        assert publish.mandatory == kept
        assert isinstance(header, ContentHeader)
        assert header.body_size == len(body)
        assert header.properties.delivery_mode == (2 if kept else None)
        assert b"".join(one.value for one in pieces if isinstance(one, ContentBody)) == body


def read(data: bytes, channel: int) -> list[object]:
    found: list[object] = []
    while data:
        size, number, frame = unmarshal(data)
        assert number == channel
        assert size <= SMALL
        found.append(frame)
        data = data[size:]
    return found
