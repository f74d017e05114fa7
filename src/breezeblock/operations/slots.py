"""How many steps of a queue may run at a time, and whether they get anywhere."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType


class Slots:
    """The places of one queue: `async with slots` waits for one that is free."""

    def __init__(self, number: int) -> None:
        self._free = asyncio.Semaphore(number)
        self._moved_at = time.monotonic()

    async def __aenter__(self) -> None:
        await self._free.acquire()
        self._moved_at = time.monotonic()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._moved_at = time.monotonic()
        self._free.release()

    @property
    def taken(self) -> bool:
        """Whether whoever comes now has to wait."""
        return self._free.locked()

    @property
    def stuck_for(self) -> float:
        """Seconds since a step began or ended, when none can begin now."""
        return time.monotonic() - self._moved_at if self.taken else 0.0
