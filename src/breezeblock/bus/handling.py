"""Running handlers: what the buses share.

A handler runs as a task of the bus, not of the connection that brought the message: losing the
broker must not cancel work that is half done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from enum import Enum

import structlog

from breezeblock.bus.base import Handler, NotHere, UnreadableMessage

log = structlog.get_logger(__name__)

PATIENCE = 5.0
"""Seconds that close() leaves running handlers to end by themselves."""

CANCEL_SECONDS = 1.0
"""Seconds that close() waits for handlers which it has cancelled."""


class Tasks:
    """The tasks of one bus."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()

    def spawn(self, work: Coroutine[None, None, object]) -> None:
        # What it logs does not belong to the request that happened to send the message.
        task: asyncio.Task[object] = asyncio.create_task(work, context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def drain(self) -> None:
        """Wait PATIENCE for what runs, then cancel it."""
        await self._wait(PATIENCE)
        for task in self._others():
            task.cancel()
        await self._wait(CANCEL_SECONDS)

    async def _wait(self, seconds: float) -> None:
        if others := self._others():
            await asyncio.wait(others, timeout=seconds)

    def _others(self) -> set[asyncio.Task[object]]:
        """Without the caller: a handler may close the bus that runs it."""
        return {task for task in self._running if task is not asyncio.current_task()}


class Verdict(Enum):
    """What becomes of a message."""

    DONE = "done"
    FOR_ANOTHER = "for another consumer"
    DEAD = "dead letter"


async def handle(topic: str, handler: Handler, body: bytes) -> Verdict:
    """Call the handler; log what it raises. Only a cancelled task gets out by an exception."""
    try:
        await handler(body)
    except NotHere:
        return Verdict.FOR_ANOTHER
    except UnreadableMessage as error:
        log.warning("unreadable message", topic=topic, reason=str(error), body=body[:200])
        return Verdict.DEAD
    except asyncio.CancelledError:
        if cancelled():
            raise
        log.exception("handler failed", topic=topic)
    except Exception:
        log.exception("handler failed", topic=topic)
    return Verdict.DONE


def cancelled() -> bool:
    """Whether somebody wants the current task to end.

    Otherwise a CancelledError comes from a cancelled future that the task was waiting for, and is
    an error like any other.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
