"""Acknowledging what a consumer has handled, many deliveries with one frame.

To write to the network costs more than all else that we do for a message, and an acknowledgement
can wait: what is handled twice, because we died before it, is found to be done. So it goes along
with those of the next tenth of a second, unless the broker brings nothing more without it.
"""

from __future__ import annotations

import asyncio

from breezeblock.bus.amqp_channel import Channel

WAIT_SECONDS = 0.1
"""How long an acknowledgement may wait for others."""


class Receipts:
    """What one channel has delivered and the broker does not know to be handled.

    It brings no more than `in_flight` of those.
    """

    def __init__(self, channel: Channel, in_flight: int) -> None:
        self._channel = channel
        self._in_flight = in_flight
        self._handled: dict[int, bool] = {}
        """By the delivery's number, in the order in which they came."""
        self._timer: asyncio.TimerHandle | None = None

    def delivered(self, tag: int) -> None:
        self._handled[tag] = False
        self._send_if_due()

    def done(self, tag: int) -> None:
        """It is handled."""
        self._handled[tag] = True
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WAIT_SECONDS, self.send)
        self._send_if_due()

    def refused(self, tag: int, *, requeue: bool) -> None:
        """It is for another consumer, or a dead letter."""
        del self._handled[tag]
        if self._channel.closed is None:
            self._channel.nack(tag, requeue=requeue)

    def send(self) -> None:
        """Acknowledge all that is handled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._channel.closed is not None:
            return
        running = min((tag for tag, done in self._handled.items() if not done), default=None)
        handled = [tag for tag, done in self._handled.items() if done]
        before = [tag for tag in handled if running is None or tag < running]
        if before:
            self._channel.ack(before[-1], all_before=True)
        for tag in handled[len(before) :]:
            self._channel.ack(tag)
        for tag in handled:
            del self._handled[tag]

    def _send_if_due(self) -> None:
        if self._timer is not None and len(self._handled) >= self._in_flight:
            self.send()
