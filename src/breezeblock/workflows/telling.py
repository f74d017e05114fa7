"""How far a step is that may last for hours: shown every few seconds.

So the step learns, too, when another worker has taken it over: then it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from breezeblock.operations.workflow import Run
from breezeblock.store.store import StoreUnavailable

INTERVAL = 2.0
"""Seconds between two reports."""


class Telling:
    """The progress of one run of a step."""

    def __init__(self, run: Run[Any]) -> None:
        self._run = run
        self._told = asyncio.get_running_loop().time()

    async def at(self, percent: float) -> None:
        """Say so now and then. Raises Fenced."""
        now = asyncio.get_running_loop().time()
        if now - self._told >= INTERVAL:
            self._told = now
            with contextlib.suppress(StoreUnavailable):
                await self._run.report(int(percent))

    async def first_half(self, percent: float) -> None:
        """As `at`, of the first of two parts."""
        await self.at(percent / 2)

    async def second_half(self, percent: float) -> None:
        """As `at`, of the second of two parts."""
        await self.at(50.0 + percent / 2)
