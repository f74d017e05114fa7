"""Clients: what they wish for, one thing after the other, as long as the run lasts.

A client that uses a volume goes on writing to it while he snapshots, grows or copies it. He
attaches in the two ways of the wire: by attachments, or by the older actions on the volume.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.crash.chaos.api import Silent, Unknown
from tests.crash.chaos.disk import Disk, Unreachable
from tests.crash.chaos.owner import Owner
from tests.crash.chaos.things import Snapshot, Thing, Volume

MOST_VOLUMES = 7
MOST_GIB = 3

Wish = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Attached:
    """A volume in use: how it is reached, and the attachment's id (empty: by the actions)."""

    info: dict[str, Any]
    attachment: str = ""


class Client(Owner):
    """Somebody who uses the service."""

    async def run(self, stop: asyncio.Event) -> None:
        """Wish after wish until `stop`; what has been begun is brought to its end."""
        while not stop.is_set():
            try:
                await self.tidy_up()
                await self._wish()
            except Silent as error:
                self.tally.note(f"{self.name}: no answer to {error}")
            await asyncio.sleep(self.choice.uniform(0.0, 0.15))

    async def finish(self) -> None:
        """Let go of everything, once all is up again. Raises Silent."""
        await self.tidy_up(all_of_it=True)
        for volume in self.present():
            await self.let_go(volume)
        await self.tidy_up(all_of_it=True)

    async def _wish(self) -> None:
        idle = [one for one in self.present() if one.rested]
        wishes: list[tuple[int, Wish]] = []
        if len(self.present()) < MOST_VOLUMES:
            wishes.append((6, self._create))
        if idle:
            volume = self.choice.choice(idle)
            wishes += [
                (12, lambda: self._use(volume)),
                (2, lambda: self._snapshot(volume)),
                (2, lambda: self._extend(volume)),
                (2, lambda: self._delete_volume(volume)),
                (1, lambda: self._reset(volume)),
            ]
        if self.present_snapshots():
            snapshot = self.choice.choice(self.present_snapshots())
            wishes.append((2, lambda: self._delete_snapshot(snapshot)))
        if not wishes:
            wishes.append((1, self._rest))
        (wanted,) = self.choice.choices([one for _, one in wishes], [often for often, _ in wishes])
        await wanted()

    async def _rest(self) -> None:
        await asyncio.sleep(0.5)

    # -- volumes and snapshots ---------------------------------------------------------------------

    async def _create(self, source: Thing | None = None) -> None:
        sources: list[Thing] = [one for one in self.present() if one.rested]
        sources += self.present_snapshots()
        if source is None and sources and self.choice.random() < 0.55:
            source = self.choice.choice(sources)
        body: dict[str, Any] = {}
        if source is not None:
            body["snapshot_id" if isinstance(source, Snapshot) else "source_volid"] = source.id
        least = max(source.sizes) if source else 1
        size = self.choice.choice([least, least, min(least + 1, max(least, MOST_GIB))])
        name = self.new_name("volume")
        content, origin = self.copy_of(source)
        volume = Volume(name, content, {size}, origin)
        self.volumes.append(volume)
        self.wish("create from " + (type(source).__name__.lower() if source else "nothing"))
        made = asyncio.create_task(
            self.ask_for(volume, "volumes", {"name": name, "size": size, **body})
        )
        if self.choice.random() < 0.08:
            await self._change_of_mind(volume)
        await made

    async def _change_of_mind(self, volume: Volume) -> None:
        """Delete by force what is only being made."""
        for _ in range(20):
            if volume.id or volume.state == "gone":
                break
            await asyncio.sleep(0.05)
        if volume.state != "there":
            return
        self.wish("force-delete")
        with contextlib.suppress(Unknown):
            if self.choice.random() < 0.3:
                volume.state = "going"
                await self.act(volume, "os-reset_status", {"status": "error"})
            await self.force_delete(volume)

    async def _snapshot(self, volume: Volume) -> None:
        name = self.new_name("snapshot")
        content, origin = self.copy_of(volume)
        snapshot = Snapshot(name, content, set(volume.sizes), origin, volume=volume)
        self.snapshots.append(snapshot)
        self.wish("snapshot")
        await self.ask_for(snapshot, "snapshots", {"name": name, "volume_id": volume.id})

    async def _extend(self, volume: Volume) -> None:
        new_size = max(volume.sizes) + 1
        if new_size > MOST_GIB or not volume.rested:
            return
        self.wish("extend")
        before = set(volume.sizes)
        volume.sizes.add(new_size)
        try:
            answer = await self.act(volume, "os-extend", {"new_size": new_size})
            if not answer.good:
                volume.sizes &= before or volume.sizes
        except Unknown:
            volume.rest()
        status = await self.settled(volume, "extending")
        if status == "error_extending":
            volume.state = "going"

    async def _delete_volume(self, volume: Volume) -> None:
        self.wish("delete")
        if self.choice.random() < 0.25:
            self.wish("force-delete")
            with contextlib.suppress(Unknown):
                await self.force_delete(volume)
        await self.remove(volume)

    async def _delete_snapshot(self, snapshot: Snapshot) -> None:
        self.wish("delete snapshot")
        await self.remove(snapshot)

    async def _reset(self, volume: Volume) -> None:
        """An administrator marks a volume as broken, and thinks better of it."""
        self.wish("reset status")
        try:
            for status in ("error", "available"):
                await self.act(volume, "os-reset_status", {"status": status})
            if await self.settled(volume) == "available":
                return
        except Unknown:
            pass
        await self.remove(volume)

    # -- using a volume ----------------------------------------------------------------------------

    async def _use(self, volume: Volume) -> None:
        """Attach, write and read, do this and that meanwhile, detach."""
        by_actions = self.choice.random() < 0.3
        self.wish("use by actions" if by_actions else "use")
        try:
            attached = await (
                self._attach_by_actions(volume) if by_actions else self._attach(volume)
            )
        except Unknown:
            volume.rest()
            attached = None
        if attached is not None:
            disk = Disk(volume.id, attached.info, volume.content, self.tally, self.choice)
            try:
                await self._work(volume, disk)
                with contextlib.suppress(Unknown):
                    await self._detach(volume, attached)
            except Unreachable as error:
                await self._explain(volume, attached, error)
        status = await self.let_go(volume)
        if attached is not None and status is not None and await disk.answers():
            text = f"Volume {volume.id} is detached, but the host can still read it."
            self.tally.wrong("open-door", volume.id, text)
        if attached is not None:
            disk.close()

    async def _work(self, volume: Volume, disk: Disk) -> None:
        """Read what must be there, write, and read again. Raises Unreachable."""
        await disk.verify(volume.size)
        stop = asyncio.Event()
        writer = asyncio.create_task(disk.write_until(stop, lambda: volume.size))
        try:
            for _ in range(self.choice.choice([0, 1, 1, 2])):
                await asyncio.sleep(self.choice.uniform(0.0, 0.3))
                await self._meanwhile(volume)
            await asyncio.sleep(self.choice.uniform(0.1, 1.0))
        except Silent as error:
            self.tally.note(f"{self.name}: no answer to {error}")
        finally:
            stop.set()
            await writer
        await disk.verify(volume.size)

    async def _meanwhile(self, volume: Volume) -> None:
        """Something that is done with a volume in use."""
        match self.choice.choice(["snapshot", "extend", "copy"]):
            case "snapshot":
                await self._snapshot(volume)
            case "extend":
                await self._extend(volume)
            case "copy":
                await self._create(volume)

    async def _explain(self, volume: Volume, attached: Attached, error: Unreachable) -> None:
        """A host that is attached must reach its volume."""
        present = await self.attachments(volume)
        if not attached.attachment or attached.attachment in present:
            text = f"Volume {volume.id} is attached, but its export does not answer: {error}."
            self.tally.wrong("unreachable", volume.id, text)

    def _connector(self) -> dict[str, Any]:
        host = f"{self.name}-{self.choice.choice('abc')}"
        return {"host": host, "ip": "127.0.0.1", "initiator": f"iqn.2024-01.org.chaos:{host}"}

    async def _attach(self, volume: Volume) -> Attached | None:
        """By attachments, in one call or in two. Raises Unknown."""
        wanted: dict[str, Any] = {"volume_uuid": volume.id}
        if self.choice.random() < 0.5:
            wanted["instance_uuid"] = str(uuid4())
        in_one = self.choice.random() < 0.5
        connector = self._connector()
        if in_one:
            wanted["connector"] = connector
        answer = await self.api.create("/attachments", {"attachment": wanted})
        if not answer.good:
            return None
        ident = answer.body["attachment"]["id"]
        if not in_one:
            body = {"attachment": {"connector": connector}}
            answer = await self.api.ask("PUT", f"/attachments/{ident}", body)
            if not answer.good:
                return None
        info = answer.body["attachment"]["connection_info"]
        path = f"/attachments/{ident}/action"
        done = await self.api.ask("POST", path, {"os-complete": {}})
        return Attached(info, ident) if done.good else None

    async def _attach_by_actions(self, volume: Volume) -> Attached | None:
        """os-reserve, os-initialize_connection, os-attach. Raises Unknown."""
        connector = self._connector()
        if not (await self.act(volume, "os-reserve")).good:
            return None
        answer = await self.act(volume, "os-initialize_connection", {"connector": connector})
        if not answer.good:
            return None
        told = {"mountpoint": "/dev/vdb", "host_name": connector["host"]}
        if not (await self.act(volume, "os-attach", told)).good:
            return None
        return Attached(answer.body["connection_info"]["data"])

    async def _detach(self, volume: Volume, attached: Attached) -> None:
        """Raises Unknown. What it leaves undone `let_go` does."""
        if attached.attachment:
            await self.api.ask("DELETE", f"/attachments/{attached.attachment}")
            return
        try:
            await self.act(volume, "os-begin_detaching")
            await self.act(volume, "os-terminate_connection", {"connector": None})
            await self.act(volume, "os-detach")
        except Unknown:
            volume.rest()
            raise
