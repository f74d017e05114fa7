"""One connection to an AMQP broker, and whether somebody answers at its other end.

A broker that is frozen, or that a cut cable hides, keeps its connections open. So a trivial
question is asked every few seconds, and at once when a publisher got no answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aio_pika
from aio_pika.abc import AbstractConnection

from breezeblock.bus.base import BusUnavailable
from breezeblock.bus.handling import cancelled

logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what it says ends in `lost`

ANSWER_SECONDS = 2.0
"""How long a publisher waits for the broker."""

HEARTBEAT_SECONDS = 10
"""A client silent for twice this long is dead to the broker: others get its messages."""

PULSE_SECONDS = 5.0
"""How often we ask whether the broker is alive, and how long it has to answer.

The client library would notice silence only after three heartbeats.
"""

BLOCKED_SECONDS = 0.5
"""How often we look whether a broker that had said so takes messages again."""

Lost = Callable[[str], None]


class Link:
    """A connection; `lost` is called, with the reason, when it is no more."""

    def __init__(self, lost: Lost) -> None:
        self._lost = lost
        self._connection: AbstractConnection | None = None
        self._doubt = asyncio.Event()
        self._pulse: asyncio.Task[None] | None = None

    async def open(self, url: str, purpose: str, seconds: float) -> AbstractConnection:
        """Connect. Raises BusUnavailable after so many seconds."""
        async with answer_within(seconds):
            connection = await aio_pika.connect(
                url,
                heartbeat=HEARTBEAT_SECONDS,
                client_properties={"connection_name": f"breezeblock {os.getpid()} {purpose}"},
            )
        connection.close_callbacks.add(lambda _, error: self._lost(repr(error)))
        self._connection = connection
        self._pulse = asyncio.create_task(self._feel_pulse(connection))
        return connection

    @property
    def answering(self) -> bool:
        return not self._doubt.is_set()

    def doubt(self) -> None:
        """The broker left something unanswered: `answering` is False until it shows life."""
        self._doubt.set()

    @property
    def blocked(self) -> bool:
        """Whether the broker takes no messages for now, being short of memory or disk space.

        It has said so, and reads nothing more from this connection until that is over.
        """
        if self._connection is None or self._connection.transport is None:
            return False
        unblocked = self._connection.transport.connection.ready()
        try:
            unblocked.send(None)
        except StopIteration:
            return False
        unblocked.close()  # it would wait
        return True

    async def close(self) -> None:
        """Let go of it, within a few seconds whatever the broker does."""
        if self._pulse is not None:
            self._pulse.cancel()
        if self._connection is not None:
            with suppress(BusUnavailable):
                async with answer_within(ANSWER_SECONDS * 2):
                    await self._connection.close()

    async def _feel_pulse(self, connection: AbstractConnection) -> None:
        """Give the connection up when the broker leaves a trivial question unanswered.

        A slow disk delays confirms but not this answer: it must not cost us the connection. Nor
        must an alarm of the broker, which reads no questions then.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE_SECONDS):
                    await self._doubt.wait()
            if self.blocked:
                await asyncio.sleep(BLOCKED_SECONDS)
                continue
            try:
                async with answer_within(PULSE_SECONDS):
                    await (await connection.channel(publisher_confirms=False)).close()
            except BusUnavailable as error:
                if not self.blocked:
                    self._lost(str(error))
                    return
            else:
                self._doubt.clear()


@asynccontextmanager
async def answer_within(seconds: float) -> AsyncIterator[None]:
    """Turn silence, and whatever the client library raises, into BusUnavailable.

    It fails pending calls with what closed the channel: AMQP errors, OSError, RuntimeError, bare
    Exception, and CancelledError though nobody cancelled us.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except BusUnavailable:
        raise
    except TimeoutError as error:
        raise BusUnavailable("The message broker does not answer.") from error
    except asyncio.CancelledError as error:
        if cancelled():
            raise
        raise BusUnavailable("The message broker was lost.") from error
    except Exception as error:
        raise BusUnavailable(f"The message broker failed: {error!r}") from error
