"""A client whose volumes go to a real guest, through the compute API.

What the guest writes goes the whole way: its kernel, QEMU, the export, the backend. The guest lives
on while the compute service is killed beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from breezeblock.compute.guest_agent import GuestAgent, GuestAgentError
from tests.crash.chaos.api import Api, Unknown
from tests.crash.chaos.clients import Client
from tests.crash.chaos.content import BLOCK, Mark, block_of, offset_of, slots_of
from tests.crash.chaos.owner import PATIENCE, PAUSE
from tests.crash.chaos.tally import Tally
from tests.crash.chaos.things import Thing, Volume


class Inside(Protocol):
    """How one gets a shell in a server's guest."""

    def __call__(self, server: str) -> AbstractAsyncContextManager[GuestAgent]: ...


class GuestClient(Client):
    """Somebody with a server."""

    def __init__(
        self,
        name: str,
        project: str,
        api: Api,
        seed: int,
        tally: Tally,
        *,
        compute: Api,
        server: str,
        inside: Inside,
    ) -> None:
        super().__init__(name, project, api, seed, tally)
        self._compute = compute
        self._server = server
        self._inside = inside

    async def _use(self, volume: Volume) -> None:
        self.wish("use in the guest")
        if await self._plug(volume):
            try:
                async with self._inside(self._server) as guest:
                    await self._work_inside(volume, guest)
            except GuestAgentError as error:
                volume.rest()
                self.tally.note(f"{self.name}: the guest: {error}")
        await self.let_go(volume)

    async def _plug(self, volume: Volume) -> bool:
        """Ask compute for it until the volume is in use, or will not be. Raises Silent."""
        body = {"volumeAttachment": {"volumeId": volume.id}}
        try:
            answer = await self._compute.ask(
                "POST", f"/servers/{self._server}/os-volume_attachments", body
            )
        except Unknown:
            volume.rest()
            return False
        if not answer.good:
            return False
        return await self.settled(volume, "reserved", "attaching", "available") == "in-use"

    async def _work_inside(self, volume: Volume, guest: GuestAgent) -> None:
        disk = await guest.find_disk(volume.id)
        await self._verify_inside(volume, guest, disk)
        for _ in range(self.choice.randint(1, 4)):
            await self._write_inside(volume, guest, disk)
            if self.choice.random() < 0.4:
                await self._snapshot(volume)
        await self._verify_inside(volume, guest, disk)

    async def _write_inside(self, volume: Volume, guest: GuestAgent, disk: str) -> None:
        """One numbered block, flushed by the guest. Raises GuestAgentError."""
        slot = self.choice.choice(slots_of(volume.size))
        mark = Mark.next(volume.id, slot)
        volume.content.attempt(slot, mark)
        octal = "".join(f"\\{byte:03o}" for byte in mark.head)
        doublings = (BLOCK // 32).bit_length() - 1
        await guest.run(
            f"printf '{octal}' > /tmp/a; i=0; while [ $i -lt {doublings} ]; do "
            "cat /tmp/a /tmp/a > /tmp/b; mv /tmp/b /tmp/a; i=$((i+1)); done; "
            f"dd if=/tmp/a of={disk} bs={BLOCK} seek={offset_of(slot) // BLOCK} "
            "conv=notrunc,fsync 2>/dev/null"
        )
        volume.content.keep(slot, mark)
        self.tally.writes_kept += 1

    async def _verify_inside(self, volume: Volume, guest: GuestAgent, disk: str) -> None:
        """Compare sums of all slots, read past the guest's cache. Raises GuestAgentError."""
        places = " ".join(str(offset_of(slot) // BLOCK) for slot in slots_of(volume.size))
        said = await guest.run(
            f"echo 3 > /proc/sys/vm/drop_caches; for s in {places}; do "
            f"dd if={disk} bs={BLOCK} skip=$s count=1 2>/dev/null | md5sum; done"
        )
        for slot, line in zip(slots_of(volume.size), said.splitlines(), strict=True):
            self.tally.bytes_verified += BLOCK
            held = volume.content.of(slot)
            sums = {hashlib.md5(block_of(one)).hexdigest() for one in held}
            if line.split()[0] not in sums and len(held) == 1:
                text = f"Volume {volume.id}: in the guest slot {slot} does not hold {held[0]}."
                self.tally.wrong("data", volume.id, text)

    async def let_go(self, volume: Thing) -> str | None:
        """First out of the guest, then as for everybody. Raises Silent."""
        path = f"/servers/{self._server}/os-volume_attachments"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            body = await self._compute.look(path)
            if body is None or all(
                one["volumeId"] != volume.id for one in body["volumeAttachments"]
            ):
                return await super().let_go(volume)
            with contextlib.suppress(Unknown):
                await self._compute.ask("DELETE", f"{path}/{volume.id}")
            await asyncio.sleep(4 * PAUSE)
        self.tally.note(f"{volume.id} does not leave the guest")
        return None
