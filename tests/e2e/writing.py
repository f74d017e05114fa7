"""A guest that writes on and on: one number a sector, flushed, until it is told to stop.

What is asked afterwards: did a write fail, does it go on, is the last number that it counted as
written on the disk.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from breezeblock.compute.guest_agent import GuestAgent


@dataclass(frozen=True, slots=True)
class Writing:
    """The writing that goes on in a guest."""

    guest: GuestAgent
    disk: str

    @classmethod
    async def begin(cls, guest: GuestAgent, disk: str) -> Writing:
        """Returns when the first number is on the disk."""
        await guest.run(
            "(i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); printf '%08d' $i | "
            f"dd of={disk} bs=512 seek=$i conv=notrunc,fsync 2>/dev/null "
            "&& echo $i > /tmp/written || touch /tmp/failed; done) >/dev/null 2>&1 &"
        )
        await guest.run("while [ ! -e /tmp/written ]; do usleep 50000; done")
        return cls(guest, disk)

    async def written(self) -> int:
        """The last number."""
        return int(await self.guest.run("cat /tmp/written"))

    async def goes_on(self, patience: float = 60.0) -> None:
        """Return when it has written twenty more numbers."""
        before = await self.written()
        async with asyncio.timeout(patience):
            while await self.written() <= before + 20:
                await asyncio.sleep(0.1)

    async def end(self) -> None:
        """Stop it: no write has failed, and the last one is on the disk."""
        await self.guest.run("touch /tmp/stop; sleep 0.5; [ ! -e /tmp/failed ]")
        last = await self.written()
        found = await self.guest.run(
            f"dd if={self.disk} bs=512 skip={last} count=1 2>/dev/null | head -c 8"
        )
        assert int(found) == last
        await self.guest.run("rm /tmp/stop /tmp/written")
