"""Calls that may take longer than a driver's method may block: they go on in the background.

The core repeats a call that raised StillWorking; the repeated call finds the work under way and
waits for it again. Work that dies with the process is begun anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from breezeblock.drivers.base import StillWorking

Told = Callable[[float], None]
"""Told now and then how far the work is, in percent."""


@dataclass(eq=False)
class _Running:
    """Work under way. `progress` is None until it has said how far it is."""

    future: Future[None] = field(default_factory=Future)
    progress: int | None = None

    def tell(self, percent: float) -> None:
        self.progress = min(int(percent), 99)

    def work(self, call: Callable[[Told], None]) -> None:
        try:
            call(self.tell)
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(None)


class LongCalls:
    """Runs each call on a thread of its own; one at a time for each key."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._running: dict[str, _Running] = {}

    def run(self, key: str, call: Callable[[Told], None]) -> None:
        """Do it, or wait for the one under way. Raises what it raises, StillWorking when it
        takes longer than our patience."""
        with self._guard:
            running = self._running.get(key)
            if running is None:
                running = self._running[key] = _Running()
                threading.Thread(
                    target=running.work, args=(call,), name=f"copy-{key}", daemon=True
                ).start()
        if not wait([running.future], self._patience).done:
            raise StillWorking(
                "The content is still being copied.", retry_after=1.0, progress=running.progress
            )
        with self._guard:
            if self._running.get(key) is running:
                del self._running[key]
        running.future.result()
