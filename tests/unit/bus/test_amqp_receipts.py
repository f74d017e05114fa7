"""Whatever is handled in whatever order: just that is acknowledged, and never too late."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from breezeblock.bus import amqp_receipts
from breezeblock.bus.amqp_channel import Channel, Closed
from breezeblock.bus.amqp_receipts import Receipts


class Broker(Channel):
    """Delivers and hears acknowledgements, as the protocol says what they mean."""

    def __init__(self) -> None:
        self.closed = None
        self.waiting: list[int] = []
        self.acknowledged: list[int] = []
        self.frames = 0

    def ack(self, tag: int, *, all_before: bool = False) -> None:
        self.frames += 1
        about = [one for one in self.waiting if one == tag or (all_before and one < tag)]
        assert about, f"{tag} is unknown: the broker would close the channel"
        self.acknowledged += about
        self.waiting = [one for one in self.waiting if one not in about]

    def nack(self, tag: int, *, requeue: bool) -> None:
        self.waiting.remove(tag)


STEPS = st.lists(st.tuples(st.sampled_from(["deliver", "done", "refuse"]), st.integers(0, 9)))


@given(st.integers(1, 6), STEPS)
def test_just_what_is_handled_is_acknowledged(in_flight: int, steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        broker, running, handled, count = Broker(), list[int](), set[int](), 0
        receipts = Receipts(broker, in_flight)
        for step, which in steps:
            if step == "deliver":
                if len(broker.waiting) == in_flight:
                    continue
                count += 1
                broker.waiting.append(count)
                running.append(count)
                receipts.delivered(count)
            elif running:
                tag = running.pop(which % len(running))
                if step == "done":
                    handled.add(tag)
                    receipts.done(tag)
                else:
                    receipts.refused(tag, requeue=True)
            assert set(broker.acknowledged) <= handled
            full = len(broker.waiting) == in_flight
            assert not full or set(broker.waiting) == set(running), "the broker brings nothing more"
        receipts.send()
        assert sorted(broker.acknowledged) == sorted(handled)

    asyncio.run(play())


async def test_what_nobody_needs_waits_for_others_but_not_for_ever() -> None:
    broker = Broker()
    receipts = Receipts(broker, in_flight=100)
    for tag in range(1, 11):
        broker.waiting.append(tag)
        receipts.delivered(tag)
    for tag in range(10, 0, -1):
        receipts.done(tag)
    assert broker.frames == 0

    async with asyncio.timeout(100 * amqp_receipts.WAIT_SECONDS):
        while broker.waiting:
            await asyncio.sleep(0.01)
    assert broker.frames == 1


async def test_on_a_channel_that_is_closed_nothing_is_said() -> None:
    broker = Broker()
    receipts = Receipts(broker, in_flight=1)
    receipts.delivered(1)
    broker.closed = Closed("gone")
    receipts.done(1)
    receipts.delivered(2)
    receipts.refused(2, requeue=True)
    assert broker.frames == 0
