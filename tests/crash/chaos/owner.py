"""What every client does with his volumes and snapshots: find them, wait for them, remove them.

Whatever a request was answered, the client looks at what is true afterwards and goes on from there.
He repeats what is not certain until it is: a deletion until there is nothing, a detaching until
nobody is attached.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from tests.crash.chaos.api import Answer, Api, Unknown
from tests.crash.chaos.content import Content
from tests.crash.chaos.tally import Tally
from tests.crash.chaos.things import LATE, Snapshot, Thing, Volume

PASSING = frozenset(
    {"creating", "deleting", "extending", "attaching", "detaching", "reserved", "in-use"}
)
"""Statuses that a volume nobody uses must leave again."""
PATIENCE = 90.0
"""Seconds for which one thing is waited for before the client turns to something else."""
PAUSE = 0.3


class Owner:
    """A client with his things; `clients.Client` adds what he wishes for."""

    def __init__(self, name: str, project: str, api: Api, seed: int, tally: Tally) -> None:
        self.name = name
        self.project = project
        self.api = api
        self.tally = tally
        self.choice = random.Random(f"{seed} {name}")
        self.volumes: list[Volume] = []
        self.snapshots: list[Snapshot] = []
        self._names = 0

    def new_name(self, kind: str) -> str:
        self._names += 1
        return f"{self.name}-{kind}-{self._names}"

    def wish(self, kind: str) -> None:
        self.tally.wishes[kind] += 1

    @property
    def things(self) -> list[Thing]:
        return [*self.volumes, *self.snapshots]

    def present(self) -> list[Volume]:
        """Volumes that are there for sure."""
        return [one for one in self.volumes if one.state == "there"]

    def present_snapshots(self) -> list[Snapshot]:
        return [
            one for one in self.snapshots if one.state == "there" and one.volume.state == "there"
        ]

    # -- looking -----------------------------------------------------------------------------------

    async def shown(self, thing: Thing) -> dict[str, Any] | None:
        """The resource as the API shows it now; None when there is none. Raises Silent."""
        kind = "snapshot" if isinstance(thing, Snapshot) else "volume"
        body = await self.api.look(f"/{kind}s/{thing.id}")
        if body is None:
            if thing.state == "there":
                text = f"The {kind} {thing.id} is gone, though nobody has deleted it."
                self.tally.wrong("lost", thing.id, text)
            thing.went()
            return None
        resource: dict[str, Any] = body[kind]
        self._compare_size(thing, kind, resource["size"])
        return resource

    def _compare_size(self, thing: Thing, kind: str, size: int) -> None:
        if size not in thing.sizes:
            text = f"The {kind} {thing.id} has {size} GiB, it must have one of {thing.sizes}."
            self.tally.wrong("size", thing.id, text)
            thing.sizes.add(size)
        thing.sizes -= {one for one in thing.sizes if one < size}

    async def settled(self, thing: Thing, *passing: str) -> str | None:
        """The status, once it is none of those that pass; None when the thing is gone, or when
        patience is (`quiet` at the end judges that). Raises Silent."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            resource = await self.shown(thing)
            if resource is None:
                return None
            status = str(resource["status"])
            if status not in passing:
                return status
            await asyncio.sleep(PAUSE)
        self.tally.note(f"{thing.id} does not settle")
        return None

    # -- making ------------------------------------------------------------------------------------

    async def ask_for(self, thing: Thing, collection: str, body: Any) -> bool:
        """Ask for a volume or a snapshot; whether it is there as it was asked for."""
        kind = collection.removesuffix("s")
        try:
            answer = await self.api.create(f"/{collection}", {kind: body})
        except Unknown:
            if isinstance(thing, Snapshot):
                thing.volume.rest()
            return await self.adopt(thing)
        if not answer.good:
            thing.went()
            return False
        thing.id = answer.body[kind]["id"]
        thing.state = "there"
        return await self.until_made(thing)

    async def until_made(self, thing: Thing) -> bool:
        status = await self.settled(thing, "creating")
        if status == "available":
            thing.settle_content()
            return True
        if status is not None and status.startswith("error"):
            thing.state = "going"
            self.tally.wishes["made in error"] += 1
        return False

    async def adopt(self, thing: Thing) -> bool:
        """Find what was asked for without an answer, by its name. Raises Silent."""
        kind = "snapshots" if isinstance(thing, Snapshot) else "volumes"
        found = (await self.api.look(f"/{kind}/detail?name={thing.name}"))[kind]
        if len(found) > 1:
            ids = ", ".join(one["id"] for one in found)
            self.tally.wrong("made-twice", ids, f"{thing.name} was asked for once: {ids}.")
        if not found:
            return False
        thing.id = found[0]["id"]
        carried = isinstance(thing, Snapshot) and thing.volume.state != "there"
        thing.state = "going" if carried else "there"
        return await self.until_made(thing)

    # -- removing ----------------------------------------------------------------------------------

    async def remove(self, thing: Thing) -> None:
        """Delete it until it is gone, in the way that its status allows. Raises Silent."""
        thing.state = "going"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            resource = await self.shown(thing)
            if resource is None:
                return
            if resource["status"] != "deleting":
                await self._delete(thing, str(resource["status"]))
            await asyncio.sleep(PAUSE)
        self.tally.note(f"{thing.id} does not go")

    async def _delete(self, thing: Thing, status: str) -> None:
        snapshot = isinstance(thing, Snapshot)
        try:
            if status == "error_deleting" or (not snapshot and status in ("creating", "extending")):
                await self.force_delete(thing)
            elif snapshot:
                await self.api.ask("DELETE", f"/snapshots/{thing.id}")
            elif (await self._delete_with_snapshots(thing)).status in (400, 409):
                await self.let_go(thing)
        except Unknown:
            return

    async def _delete_with_snapshots(self, volume: Thing) -> Answer:
        for snapshot in self.snapshots:
            if snapshot.volume is volume and snapshot.state == "there":
                snapshot.state = "going"
        return await self.api.ask("DELETE", f"/volumes/{volume.id}?cascade=true")

    async def force_delete(self, thing: Thing) -> None:
        """As an administrator. Raises Unknown."""
        kind = "snapshots" if isinstance(thing, Snapshot) else "volumes"
        thing.state = "going"
        await self.api.ask("POST", f"/{kind}/{thing.id}/action", {"os-force_delete": {}})

    # -- letting go --------------------------------------------------------------------------------

    async def let_go(self, volume: Thing) -> str | None:
        """Detach everything from the volume, and end every reservation; its status then.

        None when it is gone, or when patience is. Raises Silent.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            resource = await self.shown(volume)
            if resource is None:
                return None
            attached = await self.attachments(volume)
            status = str(resource["status"])
            if not attached and (status not in PASSING or volume.state == "going"):
                return status
            try:
                await self._loosen(volume, status, attached)
            except Unknown:
                if isinstance(volume, Volume):
                    volume.rest()
            await asyncio.sleep(PAUSE)
        self.tally.note(f"{volume.id} cannot be let go")
        return None

    async def attachments(self, volume: Thing) -> list[str]:
        """The ids of all attachments of the volume. Raises Silent."""
        body = await self.api.look(f"/attachments?volume_id={volume.id}")
        return [one["id"] for one in body["attachments"]]

    async def _loosen(self, volume: Thing, status: str, attached: list[str]) -> None:
        """The next thing to do about a volume that is not free yet. Raises Unknown."""
        for attachment in attached:
            await self.api.ask("DELETE", f"/attachments/{attachment}")
        action = {
            "attaching": "os-unreserve",
            "detaching": "os-roll_detaching",
            "in-use": "os-detach",
        }.get(status)
        if not attached and action:
            await self.act(volume, action)

    async def act(self, volume: Thing, action: str, body: Any = None) -> Answer:
        """One action on a volume. Raises Unknown."""
        return await self.api.ask("POST", f"/volumes/{volume.id}/action", {action: body or {}})

    # -- keeping things in order -------------------------------------------------------------------

    async def tidy_up(self, *, all_of_it: bool = False) -> None:
        """Look again after what was not certain, and after what should go. Raises Silent."""
        for thing in self.things:
            if thing.state == "asked" and (all_of_it or time.monotonic() - thing.asked_at < LATE):
                await self.adopt(thing)
        doomed = [one for one in self.things if one.state == "going"]
        for thing in doomed if all_of_it else doomed[:1]:
            await self.remove(thing)
        for snapshot in self.snapshots:
            if snapshot.volume.state == "gone" and snapshot.state != "gone":
                snapshot.went()

    def copy_of(self, source: Thing | None) -> tuple[Content, Content]:
        """What a new thing will hold, and where that comes from."""
        origin = source.content if source else Content()
        return origin.begin_copy(), origin
