"""A host that uses an attached volume: writes numbered blocks all the while, and reads them back.

A write is repeated until it is acknowledged, as QEMU's client does it, and kept once it was flushed
(or sent with FUA). A connection that breaks is opened again: storage daemons are killed here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from tests.crash.chaos.content import BLOCK, Content, Mark, offset_of, slots_of
from tests.crash.chaos.nbd import Connection
from tests.crash.chaos.tally import Tally

PATIENCE = 45.0
"""Seconds for which an export may be away: both volume services may be dead for a while, and one
that is frozen may hold the volume's lock."""

T = TypeVar("T")


class Unreachable(Exception):
    """The export did not come back."""


class Disk:
    """The volume as the host sees it; `close` ends the use."""

    def __init__(
        self,
        volume_id: str,
        info: Mapping[str, Any],
        content: Content,
        tally: Tally,
        choice: random.Random,
    ) -> None:
        self.volume_id = volume_id
        self.content = content
        self._info = info
        self._tally = tally
        self._choice = choice
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def write(self, slots: list[int]) -> None:
        """Write these slots anew and flush. Raises Unreachable."""
        marks = {slot: Mark.next(self.volume_id, slot) for slot in slots}
        fua = self._choice.random() < 0.5
        for slot, mark in marks.items():
            self.content.attempt(slot, mark)
            await self._persist(_writing(offset_of(slot), mark.block, fua))
        if not fua:
            await self._persist(Connection.flush)
        for slot, mark in marks.items():
            self.content.keep(slot, mark)
            self._tally.writes_kept += 1

    async def write_until(self, stop: asyncio.Event, size: Callable[[], int]) -> None:
        """Keep writing to slots of the volume, which may grow, and end with whole writes.

        Raises Unreachable.
        """
        while not stop.is_set():
            slots = self._choice.sample(slots_of(size()), 3)
            await self.write(slots)
            await asyncio.sleep(self._choice.uniform(0.0, 0.1))

    async def verify(self, size: int) -> None:
        """Read every slot; what is wrong goes to the tally. Nobody writes meanwhile."""
        for slot in slots_of(size):
            block = await self._persist(_reading(offset_of(slot)))
            self._tally.bytes_verified += BLOCK
            problem = self.content.problem(slot, block)
            if problem:
                text = f"Volume {self.volume_id}: {problem}."
                self._tally.wrong("data", self.volume_id, text)
            self.content.know(slot, block)

    async def answers(self) -> bool:
        """Whether the connection that was opened before still reads: not after a detaching."""
        if self._connection is None:
            return False
        try:
            await self._connection.read(0, BLOCK)
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _persist(self, request: Callable[[Connection], Awaitable[T]]) -> T:
        """Send the request until it is acknowledged. Raises Unreachable."""
        async with self._turn:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    if self._connection is None:
                        self._connection = await Connection.open(self._info)
                    return await request(self._connection)
                except OSError as error:  # TimeoutError is one
                    self.close()
                    if time.monotonic() > deadline:
                        raise Unreachable(f"{type(error).__name__}: {error}") from error
                    await asyncio.sleep(0.1)
                except BaseException:
                    # Cancelled in the middle of a request: its answer must not be taken for the
                    # next one's.
                    self.close()
                    raise


def _writing(offset: int, block: bytes, fua: bool) -> Callable[[Connection], Awaitable[None]]:
    return lambda connection: connection.write(offset, block, fua=fua)


def _reading(offset: int) -> Callable[[Connection], Awaitable[bytes]]:
    return lambda connection: connection.read(offset, BLOCK)
