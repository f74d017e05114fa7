"""An event loop whose time passes only when nothing else can happen, and then at once.

Two things follow. A sleep of an hour costs nothing, so leases, deadlines and patience are tried as
they are configured. And the loop knows when everybody waits: `idle()` returns exactly then, which
makes a run repeatable step by step. Nothing here may use threads, sockets or processes.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from typing import Any


class Deadlock(AssertionError):
    """Everybody waits for somebody, and no timer is set: nothing can happen any more."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `time()` is virtual, too."""

    def __init__(self) -> None:
        self._virtual = 0.0
        self.waiting_for_idle: deque[asyncio.Future[None]] = deque()
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._virtual

    def nothing_to_do(self, seconds: float | None) -> None:
        """All tasks wait, the next timer is due in so many seconds (None: there is no timer)."""
        while self.waiting_for_idle:
            future = self.waiting_for_idle.popleft()
            if not future.done():
                future.set_result(None)
                return
        if seconds is None:
            raise Deadlock("everybody waits, and no timer is set")
        self._virtual += seconds


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout > 0:
            self._loop.nothing_to_do(timeout)
        return []


async def idle() -> None:
    """Wait, without time passing, until every other task waits, too."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    future = loop.create_future()
    loop.waiting_for_idle.append(future)
    await future
