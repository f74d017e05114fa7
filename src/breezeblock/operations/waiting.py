"""Waiting for an operation's end: how a request gets an answer that a service produces.

The answer stands on the operation's row; the message only says that it is there (design, law 10).
When the message is lost, looking at the row now and then finds the answer all the same.
"""

from __future__ import annotations

import asyncio

from breezeblock.bus.base import Bus
from breezeblock.model.errors import Failure, OperationFailed, Unavailable
from breezeblock.model.operation import Operation
from breezeblock.operations.wakes import parse_wake
from breezeblock.store import operations
from breezeblock.store.store import Store

MOMENT = 0.001
"""Seconds. What rounding leaves of a patience that is over is not waited for."""


class StillRunning(Unavailable):
    """The operation goes on, but the caller's patience is over."""


class Waiter:
    """One process's ear for the ends of operations. `topic` goes into `Caller.reply_to`."""

    LOOKS = (0.2, 0.5, 1.0, 2.0)

    def __init__(self, store: Store, bus: Bus, name: str) -> None:
        self.store = store
        self.bus = bus
        self.topic = f"reply.{name}"
        self._waiting: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        await self.bus.listen(self.topic, self._heard)

    async def _heard(self, body: bytes) -> None:
        event = self._waiting.get(parse_wake(body))
        if event is not None:
            event.set()

    async def wait(self, operation_id: str, seconds: float) -> Operation:
        """The ended operation. Raises OperationFailed for a bad end, StillRunning after so many
        seconds (the operation goes on)."""
        operation = await self.wait_for_end(operation_id, seconds)
        if operation.state != "succeeded":
            raise OperationFailed(Failure(**(operation.failure or {"code": "", "message": ""})))
        return operation

    async def wait_for_end(self, operation_id: str, seconds: float) -> Operation:
        """The ended operation, however it ended. Raises StillRunning after so many seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        event = self._waiting.setdefault(operation_id, asyncio.Event())
        looks = iter(self.LOOKS)
        pause = 0.0
        try:
            while True:
                event.clear()
                operation = await self.store.read(lambda tx: operations.get(tx, operation_id))
                if operation is None or not operation.is_open:
                    break
                left = deadline - loop.time()
                if left < MOMENT:
                    raise StillRunning(f"Operation {operation_id} is still under way.")
                pause = next(looks, pause)
                try:
                    await asyncio.wait_for(event.wait(), min(pause, left))
                except TimeoutError:
                    continue
        finally:
            self._waiting.pop(operation_id, None)
        assert operation is not None
        return operation
