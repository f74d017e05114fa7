"""Waiting for an operation's end: how a request gets an answer that a service produces.

The answer stands on the operation's row; the message only says that it is there (design, law 10).
When the message is lost, looking at the row now and then finds the answer all the same. Who has
just opened the operation need not look at first: if it has ended already, that has been heard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from breezeblock.bus.base import Bus
from breezeblock.model.errors import Failure, OperationFailed, Unavailable
from breezeblock.model.operation import Operation
from breezeblock.operations.wakes import parse_wake
from breezeblock.store import operations
from breezeblock.store.store import ReadTx, Store

MOMENT = 0.001
"""Seconds. What rounding leaves of a patience that is over is not waited for."""
HEARD = 1000
"""So many ends are remembered that were heard of before anybody waited for them."""

T = TypeVar("T")


class StillRunning(Unavailable):
    """The operation goes on, but the caller's patience is over."""


class Waiter:
    """One process's ear for the ends of operations. `topic` goes into `Caller.reply_to`."""

    LOOKS = (0.2, 0.5, 1.0, 2.0)

    def __init__(self, store: Store, bus: Bus, name: str) -> None:
        self.store = store
        self.bus = bus
        self.topic = f"reply.{name}"
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._heard_early: OrderedDict[str, None] = OrderedDict()

    async def start(self) -> None:
        await self.bus.listen(self.topic, self._heard)

    async def _heard(self, body: bytes) -> None:
        operation_id = parse_wake(body)
        if waiting := self._waiting.get(operation_id):
            for event in waiting:
                event.set()
            return
        self._heard_early[operation_id] = None
        if len(self._heard_early) > HEARD:
            self._heard_early.popitem(last=False)

    async def wait(self, operation_id: str, seconds: float) -> Operation:
        """The ended operation. Raises OperationFailed for a bad end, StillRunning after so many
        seconds (the operation goes on)."""
        return (await self.wait_and_read(operation_id, seconds, lambda _tx: None))[0]

    async def wait_and_read(
        self, operation_id: str, seconds: float, then: Callable[[ReadTx], T]
    ) -> tuple[Operation, T]:
        """As `wait`, and what `then` reads in the transaction that finds the good end."""

        def read(tx: ReadTx) -> tuple[Operation, T] | None:
            ended = _ended(tx, operation_id)
            if ended is not None and ended.state != "succeeded":
                raise OperationFailed(Failure(**(ended.failure or {"code": "", "message": ""})))
            return None if ended is None else (ended, then(tx))

        return await self._look_for(operation_id, seconds, read)

    async def wait_for_end(self, operation_id: str, seconds: float) -> Operation:
        """The ended operation, however it ended; perhaps it has already. Raises StillRunning."""
        self._heard_early[operation_id] = None  # so it is looked at now
        return await self._look_for(operation_id, seconds, lambda tx: _ended(tx, operation_id))

    async def _look_for(
        self, operation_id: str, seconds: float, read: Callable[[ReadTx], T | None]
    ) -> T:
        """What `read` finds, as soon as it finds something: it looks when a message comes, and now
        and then without."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        event = asyncio.Event()
        waiting = self._waiting.setdefault(operation_id, set())
        waiting.add(event)
        if self._heard_early.pop(operation_id, event) is None:
            event.set()
        looks = iter(self.LOOKS)
        pause = 0.0
        try:
            while True:
                pause = next(looks, pause)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(pause, deadline - loop.time())):
                        await event.wait()
                event.clear()
                found = await self.store.read(read)
                if found is not None:
                    return found
                if deadline - loop.time() < MOMENT:
                    raise StillRunning(f"Operation {operation_id} is still under way.")
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(operation_id, None)


def _ended(tx: ReadTx, operation_id: str) -> Operation | None:
    """The operation, if it has ended."""
    operation = operations.get(tx, operation_id)
    assert operation is not None
    return None if operation.is_open else operation
