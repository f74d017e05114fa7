"""Help for the bus tests: buses as separate services have them, and handlers to look into."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from breezeblock.bus import Bus

HANG_SECONDS = 30
"""A wait that lasts longer has failed; nothing here is expected to take long."""

_numbers = itertools.count()

Service = Callable[[], Awaitable[Bus]]
"""Returns a connected bus, as one more service of the deployment has it."""


def new_topic(name: str = "work") -> str:
    """A topic that no other test of this run has used."""
    return f"{name}.{next(_numbers)}"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def until_true(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not await condition():
            await asyncio.sleep(0.05)


async def settle() -> None:
    """Time for a message that must not arrive to arrive all the same."""
    await asyncio.sleep(0.3)


class Recorder:
    """A handler that remembers its messages, in the order in which they came."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def __call__(self, body: bytes) -> None:
        self.got.append(body)


class Gate:
    """A handler that stays inside until the gate is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered: list[bytes] = []
        self.left: list[bytes] = []
        self.cancelled: list[bytes] = []

    @property
    def inside(self) -> int:
        return len(self.entered) - len(self.left) - len(self.cancelled)

    async def __call__(self, body: bytes) -> None:
        self.entered.append(body)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(body)
            raise
        self.left.append(body)
