"""One connection to an AMQP broker, and whether somebody answers at its other end.

A broker that is frozen, or that a cut cable hides, keeps its connections open. So a trivial
question is asked every few seconds, and at once when a publisher got no answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from pamqp.commands import Basic

from breezeblock.bus.amqp_connection import Connection, connect
from breezeblock.bus.base import BusUnavailable
from breezeblock.bus.handling import cancelled

ANSWER_SECONDS = 2.0
"""How long a publisher waits for the broker."""

PULSE_SECONDS = 5.0
"""How often we ask whether the broker is alive, and how long it has to answer.

The client library would notice silence only after three heartbeats.
"""

BLOCKED_SECONDS = 0.5
"""How often we look whether a broker that had said so takes messages again."""

Lost = Callable[[str], None]


class NoAnswer(BusUnavailable):
    """The broker keeps silent."""


class Link:
    """A connection; `lost` is called, with the reason, when it is no more."""

    def __init__(self, lost: Lost) -> None:
        self._lost = lost
        self._connection: Connection | None = None
        self._doubt = asyncio.Event()
        self._pulse: asyncio.Task[None] | None = None

    async def open(self, url: str, purpose: str, seconds: float) -> Connection:
        """Connect. Raises BusUnavailable after so many seconds."""
        async with answer_within(seconds):
            name = f"breezeblock {os.getpid()} {purpose}"
            self._connection = await connect(url, name, self._lost)
        self._pulse = asyncio.create_task(self._feel_pulse(self._connection))
        return self._connection

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
        return self._connection is not None and self._connection.blocked

    async def close(self) -> None:
        """Let go of it, within a few seconds whatever the broker does."""
        if self._pulse is not None:
            self._pulse.cancel()
        if self._connection is not None:
            with suppress(BusUnavailable):
                async with answer_within(ANSWER_SECONDS * 2):
                    await self._connection.close()

    async def _feel_pulse(self, connection: Connection) -> None:
        """Give the connection up when the broker leaves a trivial question unanswered.

        A slow disk delays confirms but not this answer: it must not cost us the connection. Nor
        must an alarm of the broker, which reads no questions then.
        """
        questions = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE_SECONDS):
                    await self._doubt.wait()
            if self.blocked:
                await asyncio.sleep(BLOCKED_SECONDS)
                continue
            try:
                async with answer_within(PULSE_SECONDS):
                    questions = questions or await connection.channel()
                    await questions.ask(Basic.Qos())
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
        raise NoAnswer("The message broker does not answer.") from error
    except asyncio.CancelledError as error:
        if cancelled():
            raise
        raise BusUnavailable("The message broker was lost.") from error
    except Exception as error:
        raise BusUnavailable(f"The message broker failed: {error!r}") from error
