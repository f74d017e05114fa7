"""Calls that may take longer than a driver's method may block: they go on in the background.

The core repeats a call that raised StillWorking; the repeated call finds the work under way and
waits for it again. Work that dies with the process is begun anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from breezeblock.drivers.base import StillWorking


class LongCalls:
    """Runs each call on a thread of its own; one at a time for each key."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._running: dict[str, Future[None]] = {}

    def run(self, key: str, call: Callable[[], None]) -> None:
        """Do it, or wait for the one under way. Raises what it raises, StillWorking when it
        takes longer than our patience."""
        with self._guard:
            future = self._running.get(key)
            if future is None:
                future = self._running[key] = Future()
                work = (future, call)
                threading.Thread(target=_work, args=work, name=f"copy-{key}", daemon=True).start()
        if not wait([future], self._patience).done:
            raise StillWorking("The content is still being copied.", retry_after=5.0)
        with self._guard:
            if self._running.get(key) is future:
                del self._running[key]
        future.result()


def _work(future: Future[None], call: Callable[[], None]) -> None:
    try:
        call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(None)
